"""Raw JSON to and from the API server: aiohttp and orjson, because the official client costs four times the CPU."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import aiohttp
import orjson

from longshore.job.numerals import whole
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.kube.config import KubeConfig

Json = dict[str, Any]

GROUP, VERSION = "longshore.dev", "v1alpha1"
API = f"/apis/{GROUP}/{VERSION}"
CONCURRENCY = 48  # requests at a time: far below what the API server queues for one account, enough to keep it busy
PAGE = 500
TIMEOUT_SECONDS = 15.0
MAX_BYTES = 1024 * 1024 * 1024  # a page of the largest objects that etcd takes is within it
LARGE_PAUSE_SECONDS = 30.0
JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"


def path_of(plural: str, namespace: str = "", name: str = "", subresource: str = "", *, api: str = API) -> str:
    """The path of a resource, of all namespaces when none is given."""
    parts = [api, *(("namespaces", namespace) if namespace else ()), plural, name, subresource]
    return "/".join(part for part in parts if part)


class KubeClient:
    """One session. ``counted(kind, result)`` is told of every request."""

    def __init__(self, config: KubeConfig, counted: Callable[[str, str], None] = lambda _kind, _result: None,
                 excluded: Sequence[str] = (), ours: Callable[[str], bool] = lambda _namespace: True) -> None:  # fmt: skip
        """Lists show nothing of namespaces that are ``excluded`` or not ``ours``; the first are not even sent."""
        self.config = config
        self._excluded, self._ours = excluded, ours
        self._counted = counted
        self._session: aiohttp.ClientSession | None = None
        self._places = asyncio.Semaphore(CONCURRENCY)

    async def open(self) -> None:
        """Before the first request."""
        connector = aiohttp.TCPConnector(limit=CONCURRENCY + 8, keepalive_timeout=75, ssl=self.config.ssl_context())
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, sock_connect=3),
            json_serialize=lambda value: orjson.dumps(value).decode(), headers={"User-Agent": "longshore-operator"},
        )  # fmt: skip

    async def close(self) -> None:
        """After the last one."""
        if self._session is not None:
            await self._session.close()

    async def request(self, method: str, path: str, body: object = None, *, kind: str = "",
                      content_type: str = "application/json", params: Mapping[str, str] | None = None) -> Json:  # fmt: skip
        """One request; raises KubeError for a refusal and KubeUnavailable for what may be tried again."""
        assert self._session is not None
        kind = kind or method.lower()
        async with self._places:
            headers = self._credentials() | ({"Content-Type": content_type} if body is not None else {})
            data = orjson.dumps(body) if body is not None else None
            try:
                async with self._session.request(
                    method, self.config.server + path, data=data, headers=headers, params=params
                ) as answer:
                    status, text = answer.status, await _body(answer)
                    retry_after = answer.headers.get("Retry-After", "")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._counted(kind, "unreachable")
                raise KubeUnavailable(f"{method} {path}: {error or type(error).__name__}") from error
        self._counted(kind, str(status))
        if status < 300:
            return _parsed(text) if text else {}
        raise self._refusal(status, text, retry_after, f"{method} {path}")

    async def changed(self, path: str, version: str, label_selector: str, seconds: int) -> bool:
        """Wait for a change of a list since ``version``; whether one came within the time. Raises as ``request``.

        What changed is not told, because the caller lists again: the watch may as well say that the version is too old.
        """
        assert self._session is not None
        params = {
            "watch": "1",
            "resourceVersion": version,
            "labelSelector": label_selector,
            "timeoutSeconds": str(seconds),
        }
        limit = aiohttp.ClientTimeout(total=seconds + TIMEOUT_SECONDS, sock_connect=3)
        try:
            async with self._session.get(
                self.config.server + path, params=params, headers=self._credentials(), timeout=limit
            ) as answer:
                if answer.status >= 300:
                    raise self._refusal(answer.status, await _body(answer), "", f"WATCH {path}")
                return bool(await answer.content.readany())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeUnavailable(f"WATCH {path}: {error or type(error).__name__}") from error

    def _credentials(self) -> dict[str, str]:
        """As headers; the token is looked at for each request, because it is rotated."""
        token = self.config.bearer()
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    def _refusal(self, status: int, text: bytes, retry_after: str, what: str) -> Exception:
        try:
            said = orjson.loads(text)
        except orjson.JSONDecodeError:
            said = {}
        message = str(said.get("message", "")) if isinstance(said, dict) else ""
        if status == 401:
            self.config.refresh()
        if status in (401, 429) or status >= 500:
            return KubeUnavailable(f"{what}: {status} {message}"[:500], whole(retry_after) or 0)
        causes = (said.get("details") or {}).get("causes") or ()
        fields = tuple(str(cause.get("field", "")) for cause in causes)
        return KubeError(status, str(said.get("reason", "")), message[:500], fields)

    async def pages(self, path: str, *, field_selector: str = "", label_selector: str = "") -> AsyncIterator[Json]:
        """A whole list, page by page; each page is the List object."""
        params = {"limit": str(PAGE)}
        if selector := outside(self._excluded, field_selector):
            params["fieldSelector"] = selector
        if label_selector:
            params["labelSelector"] = label_selector
        while True:
            page = await self.request("GET", path, kind="list", params=params)
            page["items"] = [one for one in page["items"] if self._ours(one["metadata"].get("namespace", ""))]
            yield page
            more = page.get("metadata", {}).get("continue", "")
            if not more:
                return
            params["continue"] = more
            await asyncio.sleep(0)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """All of it, unpacked; raises KubeUnavailable beyond MAX_BYTES."""
    text = bytearray()
    async for part in answer.content.iter_any():
        text += part
        if len(text) > MAX_BYTES:
            raise KubeUnavailable(f"an answer of more than {MAX_BYTES} bytes", LARGE_PAUSE_SECONDS)
    return bytes(text)


def outside(namespaces: Sequence[str], selector: str = "") -> str:
    """The field selector, narrowed to what is outside of the namespaces: the API server leaves the rest out."""
    return ",".join([selector] * bool(selector) + [f"metadata.namespace!={name}" for name in namespaces])


def _parsed(text: bytes) -> Json:
    try:
        found: Json = orjson.loads(text)
    except orjson.JSONDecodeError:  # it stops at 1,024 levels, and the API server takes more
        found = json.loads(text)
    return found
