"""A small client for the HTTP api, on the standard library alone.

::

    from longshore.client import Client

    with Client() as longshore:
        job = longshore.submit({"handler": "echo", "args": {"x": 1}}, wait=10)
        print(job["status"]["result"])
"""

import http.client
import json
import os
import secrets
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from longshore.client_connections import Connection, Connections
from longshore.client_schedules import ScheduleCalls
from longshore.job.numerals import whole
from longshore.version import __version__

DEFAULT_URL = "http://127.0.0.1:8080"
MAX_BATCH = 1000
MAX_WAIT_SECONDS = 30.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
RELOAD_SECONDS = 70.0  # the service imports the new code before it answers

Job = dict[str, Any]
Json = dict[str, Any]


class ClientError(Exception):
    """Something went wrong on the way to the service or in it."""


class ServiceUnreachable(ClientError):
    """Nobody answers at the address."""


class ApiError(ClientError):
    """The service refused: ``status`` is the HTTP status, ``code`` the last word of the problem's type."""

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"HTTP {status}"))
        self.status = status
        self.code = str(problem.get("type", "")).rpartition("/")[2]
        self.errors: list[dict[str, str]] = list(problem.get("errors", ()))
        self.retry_after = retry_after
        self.hint = ""
        """What to do next, where whoever made the request knows it."""


class Client(ScheduleCalls):
    """What a service can be asked; one client may be used by several threads at a time.

    ``url`` and ``token`` are read from ``LONGSHORE_URL`` and ``LONGSHORE_TOKEN`` where they are not given. ``timeout`` is
    how long one step of a request may take, and ``patience`` how long it is tried again while the service is away or
    full, both in seconds.
    """

    def __init__(
        self, url: str | None = None, *, token: str | None = None, timeout: float = 10.0, patience: float = 0.0,
        user_agent: str = "",
    ) -> None:  # fmt: skip
        url = os.environ.get("LONGSHORE_URL") or DEFAULT_URL if url is None else url
        token = os.environ.get("LONGSHORE_TOKEN", "") if token is None else token
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ClientError(f"{url!r} is no http or https address: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClientError(f"{url!r} is no http or https address")
        self.url, self._timeout, self.patience = url, timeout, patience
        self._connections = Connections(parts.hostname, port, secure=parts.scheme == "https")
        self._prefix = parts.path.rstrip("/")
        self._headers = {"User-Agent": user_agent or f"longshore-client/{__version__}", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """End the connections; the next call opens another."""
        self._connections.close()

    # -- jobs ------------------------------------------------------------------------------------------------

    def submit(self, job: Mapping[str, Any], *, wait: float = 0.0, key: str = "") -> Job:
        """Submit one job (fields of the specification, or a manifest) and return it; with ``wait``, once it ended.

        Sent under an idempotency key, a fresh one by default, so that it may be sent again when the answer is lost.
        """
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        if wait:
            headers["Prefer"] = f"wait={int(min(wait, MAX_WAIT_SECONDS))}"
        return self.call("POST", "/v1/jobs", job, headers=headers, wait=wait)

    def submit_many(self, jobs: Sequence[Mapping[str, Any]], *, labels: Mapping[str, str] | None = None,
                    key: str = "") -> list[str]:  # fmt: skip
        """Submit any number of jobs in batches and return their ids; each batch is kept whole or not at all."""
        key = key or secrets.token_hex(16)
        ids: list[str] = []
        for at in range(0, len(jobs), MAX_BATCH):
            body: Json = {"jobs": list(jobs[at : at + MAX_BATCH])}
            if labels:
                body["labels"] = dict(labels)
            answer = self.call("POST", "/v1/jobs:batch", body, headers={"Idempotency-Key": f"{key}-{at}"})
            ids += [item["id"] for item in answer["items"]]
        return ids

    def get(self, id: str, *, wait: float = 0.0) -> Job:
        """The job; with ``wait``, once it ended or after so many seconds (at most 30)."""
        query = f"?wait={wait:g}" if wait else ""
        return self.call("GET", f"/v1/jobs/{_quoted(id)}{query}", wait=wait)

    def wait(self, id: str, timeout: float | None = None) -> Job:
        """The job once it ended; raises TimeoutError."""
        limit = None if timeout is None else time.monotonic() + timeout
        while True:
            left = MAX_WAIT_SECONDS if limit is None else limit - time.monotonic()
            began = time.monotonic()
            job = self.get(id, wait=max(0.1, min(20.0, left)))
            if job["status"]["phase"] in ("Succeeded", "Failed", "Cancelled"):
                return job
            if limit is not None and time.monotonic() >= limit:
                raise TimeoutError(f"job {id} is still {job['status']['phase']}")
            if time.monotonic() - began < FIRST_PAUSE_SECONDS:  # the service has no place for waits: do not storm it
                time.sleep(FIRST_PAUSE_SECONDS)

    def list(self, **filters: object) -> Iterator[Job]:
        """Jobs, newest first, page after page; filters: phase, queue, handler, label, limit (of a page)."""
        cursor = ""
        while True:
            query = [(name, str(value)) for name, values in filters.items() for value in _each(values)]
            if cursor:
                query.append(("cursor", cursor))
            page = self.call("GET", f"/v1/jobs?{urllib.parse.urlencode(query)}")
            yield from page["items"]
            cursor = page["nextCursor"]
            if not cursor:
                return

    def count(self, **filters: object) -> dict[str, int]:
        """How many jobs match, by phase."""
        query = [(name, str(value)) for name, values in filters.items() for value in _each(values)]
        found: dict[str, int] = self.call("GET", f"/v1/jobs:count?{urllib.parse.urlencode(query)}")["counts"]
        return found

    def cancel(self, id: str, *, grace_seconds: float | None = None) -> Job:
        """Ask the job to end."""
        return self._verb(id, "cancel", {} if grace_seconds is None else {"graceSeconds": grace_seconds})

    def redrive(self, id: str, *, dependents: bool = False) -> Job:
        """Send a failed job round again; with ``dependents`` also those that failed because of it, named in ``redriven``."""
        return self._verb(id, "redrive", {"dependents": True} if dependents else {})

    def suspend(self, id: str) -> Job:
        """Keep a waiting job waiting."""
        return self._verb(id, "suspend", {})

    def resume(self, id: str) -> Job:
        """Let a suspended job go on."""
        return self._verb(id, "resume", {})

    def delete(self, id: str) -> None:
        """Forget an ended job."""
        self.call("DELETE", f"/v1/jobs/{_quoted(id)}")

    def explain(self, id: str) -> Json:
        """Why the job stands where it stands."""
        return self.call("GET", f"/v1/jobs/{_quoted(id)}/explain")

    def result(self, id: str) -> Any:
        """What the handler of a job that has succeeded returned."""
        return self.call("GET", f"/v1/jobs/{_quoted(id)}/result")

    def items(self, id: str) -> Iterator[Json]:
        """Items of an array job that were ever started, by index (in a cluster: those that have ended)."""
        after: int | None = -1
        while after is not None:
            page = self.call("GET", f"/v1/jobs/{_quoted(id)}/items?after={after}&limit={MAX_BATCH}")
            yield from page["items"]
            after = page["nextAfter"]

    def logs(self, id: str, *, follow: bool = False, attempt: int | None = None, index: int | None = None,
             offset: int = 0) -> Iterator[bytes]:  # fmt: skip
        """Output of an attempt, the last by default; with ``follow`` until the attempt has ended."""
        while True:
            query = {"offset": offset, "attempt": attempt, "index": index, "wait": 10 if follow else None}
            path = urllib.parse.urlencode({name: value for name, value in query.items() if value is not None})
            data, headers = self._request("GET", f"/v1/jobs/{_quoted(id)}/logs?{path}", None, {}, 15.0)
            if data:
                yield data
            offset = int(headers["Longshore-Next-Offset"])
            if headers["Longshore-Complete"] == "true" or (not follow and not data):
                return
            attempt = int(headers["Longshore-Attempt"]) or attempt

    def events(self, id: str = "", *, after: int = 0) -> Iterator[Json]:
        """Events of a job, or of all, for ever; stop reading when you have seen enough."""
        path = f"/v1/jobs/{_quoted(id)}/events" if id else "/v1/events"
        while True:
            page = self.call("GET", f"{path}?after={after}&wait=20", wait=20)
            yield from page["items"]
            after = page["next"]

    def _verb(self, id: str, verb: str, body: Json) -> Job:
        return self.call(
            "POST", f"/v1/jobs/{_quoted(id)}:{verb}", body, headers={"Idempotency-Key": secrets.token_hex(16)}
        )

    def deliveries(self) -> Iterator[Json]:
        """Webhooks that wait to be delivered or were given up, page after page."""
        after = ""
        while True:
            page = self.call("GET", f"/v1/webhooks?limit={MAX_BATCH}&after={_quoted(after)}")
            yield from page["items"]
            if not (after := page["nextAfter"]):
                return

    def retry_deliveries(self, jobs: Sequence[str] | None = None) -> int:
        """Try the webhooks of these jobs again now, or all; returns how many."""
        body: Json = {"all": True} if jobs is None else {"jobs": list(jobs)}
        return int(self.call("POST", "/v1/webhooks:retry", body)["count"])

    # -- the service -----------------------------------------------------------------------------------------

    def handlers(self) -> Sequence[Json]:
        """What can be run."""
        return self._items("/v1/handlers")

    def workers(self) -> Sequence[Json]:
        """Who runs jobs."""
        return self._items("/v1/workers")

    def pool(self, name: str) -> Json:
        """A pool of workers, and why it has as many as it has."""
        return self.call("GET", f"/v1/pools/{_quoted(name)}")

    def queues(self) -> Sequence[Json]:
        """All queues."""
        return self._items("/v1/queues")

    def change_queue(self, name: str, changes: Mapping[str, Any]) -> Json:
        """Lay fields over a queue's policy."""
        return self.call("PATCH", f"/v1/queues/{_quoted(name)}", changes)

    def status(self, *, details: bool = False) -> Json:
        """Capacity, counts, age, version."""
        return self.call("GET", "/v1/status/details" if details else "/v1/status")

    def drain(self, *, on: bool = True) -> Json:
        """Take no new jobs, or take them again."""
        return self.call("POST", "/v1/admin:drain" if on else "/v1/admin:undrain", {})

    def reload(self) -> Json:
        """Go on with the code that the applications have now, without closing the door; raises with the reason."""
        return self.call("POST", "/v1/admin:reload", {}, wait=RELOAD_SECONDS)

    def openapi(self) -> Json:
        """The service's own description."""
        return self.call("GET", "/openapi.json")

    def _items(self, path: str) -> Sequence[Json]:
        found: Sequence[Json] = self.call("GET", path)["items"]
        return found

    # -- HTTP ------------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, *,
             headers: Mapping[str, str] | None = None, wait: float = 0.0) -> Json:  # fmt: skip
        """One request and its JSON answer, tried again while ``patience`` lasts; raises ApiError, ServiceUnreachable."""
        try:
            data = None if body is None else json.dumps(body, allow_nan=False).encode()
        except ValueError as error:
            raise ClientError(f"the request is no JSON: {error}") from None
        own = {**(headers or {}), **({"Content-Type": "application/json"} if data is not None else {})}
        answer, _ = self._request(method, path, data, own, self._timeout + wait)
        try:
            return json.loads(answer) if answer else {}
        except ValueError:
            raise ClientError(f"what answers at {self.url} is no Longshore service") from None

    def _request(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str],
                 timeout: float) -> tuple[bytes, Mapping[str, str]]:  # fmt: skip
        limit = time.monotonic() + self.patience
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._once(method, path, data, headers, timeout)
            except (ServiceUnreachable, ApiError) as error:
                asked = error.retry_after if isinstance(error, ApiError) else None
                again = isinstance(error, ServiceUnreachable) or error.status in (429, 503)
                if not again or time.monotonic() + pause > limit:
                    raise
                time.sleep(min(asked or pause, LONGEST_PAUSE_SECONDS))
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _once(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], timeout: float, *,
              fresh: bool = False) -> tuple[bytes, Mapping[str, str]]:  # fmt: skip
        closings = self._connections.closings
        connection, kept = self._connections.take(timeout, fresh=fresh)
        try:
            status, answer, found = self._exchange(connection, method, path, data, headers)
        except BaseException as error:
            connection.close()  # whatever interrupted it, its answer may still come
            if kept and isinstance(error, OSError | http.client.HTTPException) and not isinstance(error, TimeoutError):
                # A kept connection may have been closed since; everything we send may be sent again.
                return self._once(method, path, data, headers, timeout, fresh=True)
            if isinstance(error, OSError | http.client.HTTPException):
                raise ServiceUnreachable(f"nobody answers at {self.url}: {error}") from error
            if isinstance(error, ValueError):
                raise ClientError(f"this cannot be sent: {error}") from None
            raise
        self._connections.keep(connection, taken_at=closings)
        if status >= 400:
            raise ApiError(status, _problem(answer), whole(found.get("Retry-After", "")))
        return answer, found

    def _exchange(self, connection: Connection, method: str, path: str, data: bytes | None,
                  headers: Mapping[str, str]) -> tuple[int, bytes, Mapping[str, str]]:  # fmt: skip
        connection.request(method, self._prefix + path, data, {**self._headers, **headers})
        response = connection.getresponse()
        answer = response.read()
        return response.status, answer, response.headers  # type: ignore[return-value]  # a Message is a mapping for our needs


def _problem(answer: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _each(values: object) -> Sequence[object]:
    if values is None or values == "":
        return ()
    return values if isinstance(values, list | tuple) else (values,)
