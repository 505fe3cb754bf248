"""The public client inside of a view: requests of the same application in the same process.

A request goes in as WSGI, with the address, the Authorization and the request id of the request that the view answers.
So it is parsed, limited, counted and judged by the code that answers everybody, as the same caller; and no connection and
no second thread is needed. A wait takes a place of the budget of waits, as one over HTTP does.
"""

import http.client
import io
import time
import urllib.parse
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any, cast

from flask import current_app, request

from longshore.client import MAX_WAIT_SECONDS, ApiError, Client, ClientError, Job
from longshore.client_connections import Connections
from longshore.errors import LongshoreError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

# What stays as it is in the request that the view answers: where it came from, and who waits for it.
_KEPT = (
    "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "REMOTE_ADDR", "REMOTE_PORT", "HTTP_HOST", "HTTP_AUTHORIZATION",
    "HTTP_TRACEPARENT", "HTTP_TRACESTATE", "wsgi.url_scheme", "wsgi.errors", "gunicorn.socket",
)  # fmt: skip
_EARLY_SECONDS = 0.2  # a wait that ended so much too soon was not cut short by its time


class Refusal(ApiError, LongshoreError):  # type: ignore[misc]  # here all three are of the instance
    """What the api refused; a view that lets it pass answers with the same status and problem."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.status, {"detail": str(error), "type": f"/{error.code}", "errors": error.errors})
        self.retry_after = error.retry_after


class InProcessClient(Client):
    """The client of a view."""

    def __init__(self, app: "WSGIApplication", base: Mapping[str, object], url: str) -> None:
        super().__init__(url, token="")
        self._connections = _Calls(app, base)

    def wait(self, id: str, timeout: float | None = None) -> Job:
        """The job once it ended; raises TimeoutError, at the latest after 30 seconds.

        Raises ClientError for a longer time: each view that waits holds a thread of the api. Raises ApiError (503)
        when all places for waits are taken, or the caller has left.
        """
        seconds = MAX_WAIT_SECONDS if timeout is None else timeout
        if seconds > MAX_WAIT_SECONDS:
            raise ClientError(
                f"a view waits {MAX_WAIT_SECONDS:g} seconds at most, because it holds a thread of the api: "
                "answer with the job's id, and let the caller wait for it"
            )
        limit = time.monotonic() + seconds
        job = self.get(id, wait=max(0.1, seconds))
        if job["status"]["phase"] in ("Succeeded", "Failed", "Cancelled"):
            return job
        if time.monotonic() < limit - _EARLY_SECONDS:
            detail = "no place is free for a view that waits; the setting wait_threads says how many there are"
            raise Refusal(ApiError(503, {"detail": detail, "type": "/problems/unavailable"}, 1))
        raise TimeoutError(f"job {id} is still {job['status']['phase']}")

    def _once(self, *args: Any, **more: Any) -> tuple[bytes, Mapping[str, str]]:
        try:
            return super()._once(*args, **more)
        except ApiError as error:
            raise Refusal(error) from None


def of_request() -> InProcessClient:
    """A client that asks as the caller of the view that runs in this thread."""
    environ: Mapping[str, object] = request.environ
    base = {name: environ[name] for name in _KEPT if name in environ}
    if "longshore.request_id" in environ:
        base["HTTP_X_REQUEST_ID"] = environ["longshore.request_id"]
    # As it came in from the network; the application takes a prefix of a proxy from these itself.
    app = cast("WSGIApplication", current_app.wsgi_app)
    return InProcessClient(app, base, request.host_url.rstrip("/"))


class _Calls(Connections):
    """Instead of connections: each request is a call."""

    def __init__(self, app: "WSGIApplication", base: Mapping[str, object]) -> None:
        super().__init__("", None, secure=False)
        self._app, self._base = app, base

    def take(self, timeout: float, *, fresh: bool = False) -> tuple[http.client.HTTPConnection, bool]:  # noqa: ARG002 - the client's own
        return cast("http.client.HTTPConnection", _Call(self._app, self._base)), False

    def keep(self, connection: http.client.HTTPConnection, *, taken_at: int) -> None:
        """Nothing is open."""


class _Call:
    """As much of a connection, and of its answer, as the client uses."""

    def __init__(self, app: "WSGIApplication", base: Mapping[str, object]) -> None:
        self._app, self._base = app, base
        self.status, self.headers, self._body = 0, http.client.HTTPMessage(), b""

    def request(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Call the application, as a request of its own beside the one of the view."""
        path, _, query = target.partition("?")
        environ: dict[str, object] = {
            **self._base, "REQUEST_METHOD": method, "SCRIPT_NAME": "", "QUERY_STRING": query, "RAW_URI": target,
            "PATH_INFO": urllib.parse.unquote(path, "latin-1"), "CONTENT_LENGTH": str(len(body or b"")),
            "wsgi.input": io.BytesIO(body or b""), "wsgi.version": (1, 0), "wsgi.multithread": True,
            "wsgi.multiprocess": False, "wsgi.run_once": False, "wsgi.input_terminated": True,
        }  # fmt: skip
        for name, value in headers.items():
            variable = name.upper().replace("-", "_")
            environ["CONTENT_TYPE" if variable == "CONTENT_TYPE" else f"HTTP_{variable}"] = value
        # In variables of its own: what Flask knows of the view's request is neither seen nor changed.
        Context().run(self._run, cast("WSGIEnvironment", environ))

    def _run(self, environ: "WSGIEnvironment") -> None:
        def start(status: str, headers: list[tuple[str, str]], _error: object = None) -> Callable[[bytes], object]:
            self.status = int(status.split(" ", 1)[0])
            for name, value in headers:
                self.headers.add_header(name, value)
            return parts.append

        parts: list[bytes] = []
        answer = self._app(environ, start)
        try:
            parts.extend(answer)
        finally:
            if (close := getattr(answer, "close", None)) is not None:
                close()
        self._body = b"".join(parts)

    def getresponse(self) -> "_Call":
        """The answer is there already."""
        return self

    def read(self) -> bytes:
        """The body."""
        return self._body

    def close(self) -> None:
        """Nothing is open."""
