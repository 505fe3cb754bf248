"""Talks to workers: hands attempts over, follows feeds, asks for ends. The only room that speaks HTTP to workers."""

from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlencode

import aiohttp
import orjson
from pydantic import ValidationError

from longshore.job.attempts import NAMESPACE_HEADER, VERSION, Answer, Feed, Offer, TakenResults
from longshore.tls import ClientTls, worker_name
from longshore_operator.errors import ConfigError, WorkerUnreachable
from longshore_operator.journal import DebugLog
from longshore_operator.pool_tokens import PoolTokens
from longshore_operator.recover import Pod

debug = DebugLog("attempts")

TIMEOUT_SECONDS = 5.0
WAIT_SECONDS = 10.0  # of one poll: a connection that died without a word is noticed so late at the latest
TOLD_OF_ENTRIES = {"kind", "uid", "index", "number", "outcome", "reason"}
"""Fields of a feed's entries that debug lines have: no results and no output."""
MAX_BYTES = 64 * 1024 * 1024

Said = TypeVar("Said", bound=Answer)


class WorkerRefused(WorkerUnreachable):
    """The worker answered, and it was no: a wrong token, another version, a request that it does not understand."""

    def __init__(self, detail: str, status: int = 0) -> None:
        """``status`` is that of its answer; 0 when it was not even asked."""
        super().__init__(detail)
        self.status = status


class AttemptsClient:
    """One session for all workers. Each is sent the token of its own namespace and no other."""

    def __init__(self, tokens: PoolTokens, tls: ClientTls | None = None) -> None:
        """With ``tls``, a worker that cannot show the name of its namespace's workers is sent nothing, no token either."""
        self._tokens, self._tls = tokens, tls
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Before the first request; raises ConfigError for a token that cannot be had."""
        self._tokens.of(self._tokens.own)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=75),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, sock_connect=2),
            headers={"User-Agent": "longshore-operator", "Accept-Encoding": "identity"},
            auto_decompress=False,  # a few bytes of a worker, which runs strangers' code, would become gigabytes
        )

    async def close(self) -> None:
        """After the last one."""
        if self._session is not None:
            await self._session.close()

    async def offer(self, pod: Pod, offers: Sequence[Offer]) -> TakenResults:
        """Hand attempts over; each is answered for itself."""
        body = {"version": VERSION, "attempts": [
            offer.model_dump(mode="json", by_alias=True, exclude_unset=True) for offer in offers]}  # fmt: skip
        return _read(TakenResults, await self._ask("POST", pod, "/v1/attempts", body))

    async def feed(self, pod: Pod, cursor: str, recorded: str, wait: float) -> Feed:
        """What happened since the cursor; everything up to ``recorded``, a cursor too, is forgotten by the worker."""
        path = f"/v1/attempts?wait={wait:g}&after={cursor}&ack={recorded}"
        found = _read(Feed, await self._ask("GET", pod, path, wait=wait))
        if debug:
            debug("feed_read", worker=pod.name, boot=found.boot, after=cursor, recorded=recorded, cursor=found.cursor,
                  free=found.slots.free, running=len(found.running), draining=found.draining, entries=[
                      entry.model_dump(mode="json", include=TOLD_OF_ENTRIES, exclude_none=True)
                      for entry in found.entries])  # fmt: skip
        return found

    async def stop(self, pod: Pod, uid: str, number: int, index: int | None, grace: float | None = None) -> bool:
        """Ask for the end of an attempt, which its feed will tell; False when the worker does not have it.

        ``grace``: seconds between SIGTERM and SIGKILL; the worker's own without one.
        """
        asked = {name: value for name, value in (("index", index), ("graceSeconds", grace)) if value is not None}
        path = f"/v1/attempts/{uid}/{number}" + (f"?{urlencode(asked)}" if asked else "")
        try:
            await self._ask("DELETE", pod, path)
        except WorkerRefused as error:
            if error.status == 404:
                return False
            raise
        return True

    async def drain(self, pod: Pod, *, on: bool) -> None:
        """Make a worker refuse new attempts, or take them again; what runs goes on."""
        await self._ask("POST" if on else "DELETE", pod, "/v1/admin:drain")

    async def _ask(self, method: str, pod: Pod, path: str, body: object = None, wait: float = 0.0) -> bytes:
        try:
            tokens = self._tokens.of(pod.namespace)
        except ConfigError as error:
            raise WorkerRefused(str(error)) from error
        for token in tokens[:-1]:
            try:
                return await self._ask_once(method, pod, path, body, wait, token)
            except WorkerRefused as error:
                # In the middle of a rotation the worker may know the older value alone.
                if error.status != 401:
                    raise
        return await self._ask_once(method, pod, path, body, wait, tokens[-1])

    async def _ask_once(self, method: str, pod: Pod, path: str, body: object, wait: float, token: str) -> bytes:
        assert self._session is not None
        address = pod.address
        headers = {"Authorization": f"Bearer {token}"}
        if pod.namespace:
            headers[NAMESPACE_HEADER] = pod.namespace
        if body is not None:
            headers["Content-Type"] = "application/json"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS + wait, sock_connect=2)
        try:
            async with self._session.request(
                method,
                f"{'http' if self._tls is None else 'https'}://{address}{path}",
                data=orjson.dumps(body) if body is not None else None,
                allow_redirects=False,  # a worker that sends us elsewhere is not followed
                headers=headers,
                timeout=timeout,
                ssl=True if self._tls is None else self._tls.context(),
                server_hostname=None if self._tls is None else worker_name(pod.namespace or self._tokens.own),
            ) as answer:
                text = await _body(answer)
                if answer.status >= 300:
                    said = text[:200].decode("utf-8", "replace")
                    raise WorkerRefused(f"{answer.status} from {address}: {said}", answer.status)
                return text
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, ConnectionRefusedError)
            detail = f"{address}: {error.os_error or error}"
            raise WorkerUnreachable(detail, refused=refused) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise WorkerUnreachable(f"{address}: {error or type(error).__name__}") from error


def _read(kind: type[Said], text: bytes) -> Said:
    """What a worker said; raises ValidationError. By orjson, which reads deeper than pydantic: results are anybody's."""
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        said = None
    return kind.model_validate(said, strict=False, by_alias=True)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    if (packed := answer.headers.get("Content-Encoding", "identity")) != "identity":
        raise WorkerRefused(f"an answer packed as {packed[:20]!r}, which nobody asked for, from {answer.host}")
    parts, size = [], 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_BYTES:
            raise WorkerRefused(f"an answer of more than {MAX_BYTES} bytes from {answer.host}")
    return b"".join(parts)


def readable(error: ValidationError) -> str:
    """What is wrong with a worker's answer, in a line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"its answer cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}"
