"""The operator's own HTTP port: probes, metrics, and what the api asks the leader.

Start it before kopf, which cancels every task that was started later, and stop it last. It is told everything by callbacks and
decides nothing.
"""

import asyncio
import hmac
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web

from longshore.job.attempts import NAMESPACE_HEADER
from longshore_operator.callers import KEEP_SECONDS, REQUEST_SECONDS, Callers
from longshore_operator.errors import KubeUnavailable

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STAMP_SECONDS: Final = 0.5
NOT_LEADING_RETRY_AFTER: Final = "2"  # seconds; whoever asks looks up the Lease again first
STOP_SECONDS: Final = 2.0  # for requests in work; an answer takes milliseconds
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger("longshore.operator.health")


@dataclass(frozen=True, slots=True)
class Silence:
    """How long a watch has said nothing, and how long it may."""

    seconds: float
    limit_seconds: float


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Whom the port asks. The three answers are JSON objects; ``explain`` gives None for a job that is not known."""

    metrics: Callable[[], bytes]
    silences: Callable[[], Mapping[str, Silence]]
    """By kind of watch."""
    unsynced: Callable[[], Collection[str]]
    """What is not known yet after the start; empty means ready."""
    explain: Callable[[str, str], Awaitable[Json | None]]
    """Of a namespace and a name."""
    pool: Callable[[str, str], Awaitable[Json | None]]
    """The same of a pool."""
    retry_webhook: Callable[[str, str], Awaitable[bool]]
    """The same: try the delivery about a job again now; False when none waits or was given up."""
    workers: Callable[[], Awaitable[Json]]
    queues: Callable[[], Awaitable[Json]]
    elsewhere: Callable[[], str | None]
    """Identity of who leads instead, empty when nobody does; None while this operator leads, who alone knows."""


class NotLeading(Exception):
    """Asked of an operator that does not lead."""


class HealthServer:
    """One port. ``token_file`` has one or two words, each of them valid; without it the ``/v1`` paths are not there."""

    def __init__(
        self, host: str, port: int, callbacks: Callbacks, *, token_file: Path | None = None, namespace: str = "",
        tls: ssl.SSLContext | None = None, request_seconds: float = REQUEST_SECONDS, loop_limit_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """``namespace``: that of the Lease; requests that name another one are refused. ``loop_limit_seconds``: the event loop may be late so long before ``/livez`` fails; a loop that stands still cannot answer at all."""
        self._host, self._port, self._ask, self._token_file = host, port, callbacks, token_file
        self._namespace, self._tls = namespace, tls
        self._loop_limit, self._clock = loop_limit_seconds, clock
        self._request_seconds = request_seconds
        self._runner: web.AppRunner | None = None
        self._callers: Callers | None = None
        self._server: asyncio.Server | None = None
        self._stamper: asyncio.Task[None] | None = None
        self._stamp, self._late = clock(), 0.0

    @property
    def port(self) -> int:
        """The port in use, which says more than the one asked for when that was 0."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Answer from now on; OSError when the port is taken."""
        app = web.Application(middlewares=[self._counted, _problems])
        app.add_routes([
            web.get("/livez", self._livez), web.get("/readyz", self._readyz), web.get("/metrics", self._metrics),
            web.get("/v1/explain/{namespace}/{name}", self._explain),
            web.get("/v1/pools/{namespace}/{name}", self._pool),
            web.get("/v1/pools/{namespace}/{name}/load", self._load),
            web.post("/v1/webhooks/{namespace}/{name}/retry", self._retry_webhook),
            web.get("/v1/workers", self._workers), web.get("/v1/queues", self._queues),
        ])  # fmt: skip
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=STOP_SECONDS,
            keepalive_timeout=KEEP_SECONDS, lingering_time=self._request_seconds,
        )  # fmt: skip
        await self._runner.setup()
        assert self._runner.server is not None
        self._callers = Callers(self._runner.server, request_seconds=self._request_seconds)
        try:
            self._server = await self._callers.listen(self._host, self._port, self._tls)
        except OSError:
            await self._runner.cleanup()
            raise
        self._stamp = self._clock()
        self._stamper = asyncio.create_task(self._stamps(), name="loop-stamps")

    async def stop(self) -> None:
        """Answer what is asked already, then no more."""
        if self._stamper is not None:
            self._stamper.cancel()
            with suppress(asyncio.CancelledError):
                await self._stamper
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _counted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The deadline of its connection stands still while a request is answered."""
        assert self._callers is not None
        self._callers.begin(request)
        try:
            return await handler(request)
        finally:
            self._callers.done(request)

    @property
    def loop_late_seconds(self) -> float:
        """How late the event loop is now, or was at the last look."""
        return max(self._late, self._clock() - self._stamp - STAMP_SECONDS, 0.0)

    async def _stamps(self) -> None:
        while True:
            await asyncio.sleep(STAMP_SECONDS)
            now = self._clock()
            self._stamp, self._late = now, now - self._stamp - STAMP_SECONDS

    async def _livez(self, _request: web.Request) -> web.Response:
        wrong = [
            f"the watch of {kind} has been silent for {one.seconds:.0f} s, {one.limit_seconds:.0f} s are allowed"
            for kind, one in sorted(self._ask.silences().items()) if one.seconds > one.limit_seconds
        ]  # fmt: skip
        if (late := self.loop_late_seconds) > self._loop_limit:
            wrong.append(f"the event loop was {late:.0f} s late, {self._loop_limit:.0f} s are allowed")
        if wrong:
            log.error("not alive: %s", "; ".join(wrong), extra={"action": "not_alive"})
        return _json({"status": "ok"}) if not wrong else _problem(503, "not-alive", "; ".join(wrong))

    async def _readyz(self, _request: web.Request) -> web.Response:
        missing = sorted(self._ask.unsynced())
        return _json({"status": "ok"}) if not missing else _problem(503, "not-synced", f"not known yet: {', '.join(missing)}")  # fmt: skip

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._ask.metrics(), headers={"Content-Type": METRICS_TYPE})

    async def _explain(self, request: web.Request) -> web.Response:
        self._admit(request)
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        found = await self._ask.explain(namespace, name)
        return _json(found) if found is not None else _problem(404, "not-found", f"no job {namespace}/{name} is waiting or running")  # fmt: skip

    async def _pool(self, request: web.Request) -> web.Response:
        self._admit(request)
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        found = await self._ask.pool(namespace, name)
        return _json(found) if found is not None else _problem(404, "not-found", f"no Deployment in {namespace} has the label longshore.dev/pool={name}")  # fmt: skip

    async def _retry_webhook(self, request: web.Request) -> web.Response:
        self._admit(request)
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        if await self._ask.retry_webhook(namespace, name):
            return _json({"retried": True})
        return _problem(404, "not-found", f"no webhook about job {namespace}/{name} waits or was given up")

    async def _load(self, request: web.Request) -> web.Response:
        """What an autoscaler asks: no more than ``/metrics`` says, so without a token. 503 of an operator that does not lead."""
        found = await self._ask.pool(request.match_info["namespace"], request.match_info["name"])
        if found is None:
            return _problem(404, "not-found", "no such pool")
        if found["reason"] == "Starting":
            raise KubeUnavailable("this operator does not lead, or has only just begun", retry_after=2.0)
        return _json({"wantedSlots": found["demand"]["wantedSlots"], "slotsPerWorker": found["slotsPerWorker"]})

    async def _workers(self, request: web.Request) -> web.Response:
        self._admit(request)
        return _json(await self._ask.workers())

    async def _queues(self, request: web.Request) -> web.Response:
        self._admit(request)
        return _json(await self._ask.queues())

    def _admit(self, request: web.Request) -> None:
        """HTTPNotFound without tokens, HTTPUnauthorized without the right one, NotLeading where another operator knows."""
        tokens = _tokens(self._token_file)
        if not tokens:
            raise web.HTTPNotFound(text="this operator has no token file, so it answers probes and metrics only")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        # Every token is compared, and each in constant time: how long it takes tells nothing.
        fits = [hmac.compare_digest(token, given.strip().encode(errors="surrogateescape")) for token in tokens]
        if scheme.lower() != "bearer" or not any(fits):
            raise web.HTTPUnauthorized(text="a bearer token is needed", headers={"WWW-Authenticate": "Bearer"})
        meant_for = request.headers.get(NAMESPACE_HEADER, "")
        if self._namespace and meant_for and meant_for != self._namespace:
            raise web.HTTPMisdirectedRequest(text=f"this is the operator of the namespace {self._namespace}")
        if (leader := self._ask.elsewhere()) is not None:
            # A standby's desk is warm, but says nothing of free slots, and does not know what was decided last.
            raise NotLeading(f"this operator does not lead; {leader or 'nobody'} does")


def _tokens(path: Path | None) -> list[bytes]:
    """Read for every request: a rotated Secret counts at once, and the requests are few."""
    if path is None:
        return []
    try:
        return path.read_bytes().split()[:2]
    except OSError as error:
        log.error("the token file cannot be read: %s", error, extra={"action": "no_token_file"})
        return []


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error as problem+json."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        code = error.reason.lower().replace(" ", "-")
        headers = {name: value for name, value in error.headers.items() if name in ("WWW-Authenticate", "Allow")}
        return _problem(error.status, code, error.text or "", headers)
    except NotLeading as error:
        return _problem(503, "not-leading", str(error), {"Retry-After": NOT_LEADING_RETRY_AFTER})
    except KubeUnavailable as error:
        return _problem(503, "unavailable", str(error), {"Retry-After": str(max(1, round(error.retry_after)))})
    except Exception:
        log.exception("%s failed", request.path, extra={"action": "request_failed", "path": request.path})
        return _problem(500, "internal", "something went wrong here; the operator's log says what")


def _json(value: Json) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def _problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {"type": f"/problems/{code}", "title": code.replace("-", " "), "status": status, "detail": detail}
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/problem+json", headers=headers
    )
