"""The store of a laptop: writes and live questions go to the engine, lists are read from SQLite directly."""

from collections.abc import Mapping, Sequence
from typing import cast

import orjson

from longshore.errors import Gone, InvalidRequest, NotFound
from longshore.job.dependencies import chain
from longshore.job.preconditions import NONE, Precondition
from longshore.store.local_schedules import LocalSchedules
from longshore.store.port import Event, JobDoc, Key, LogChunk, NewJob, Page, Query, Submitted
from longshore.store.rpc import VERSION
from longshore.store.service import log_chunk
from longshore.store.sqlite.reader import SqliteReader


class LocalStore(LocalSchedules):
    """``JobStore`` over the engine's socket and a read-only connection per thread."""

    def __init__(self, rpc_path: str, db_path: str) -> None:
        super().__init__(rpc_path)
        self._reader = SqliteReader(db_path)

    namespace, strict_handlers = "default", True

    def in_namespace(self, namespace: str) -> "LocalStore":
        if namespace not in ("", self.namespace):
            detail = "this service has the namespace default alone"
            raise InvalidRequest(f"namespace: {detail}", errors=[{"parameter": "namespace", "detail": detail}])
        return self

    def submit(self, jobs: Sequence[NewJob], *, key: Key | None = None, wait: float = 0) -> list[Submitted]:
        body = orjson.dumps({
            "op": "submit", "v": VERSION, "wait": wait, "key": _key(key), "batch": jobs[0].batch,
            "jobs": [[job.id, job.named, orjson.Fragment(job.spec), job.fingerprint, job.labels or None,
                      job.traceparent, job.source, job.tracestate] for job in jobs],
        })  # fmt: skip
        # Sent again only under a key: without one a lost answer may not be taken for a lost request.
        answer = self._engine.call_raw(body, wait=wait, again=key is not None)
        return [Submitted(*item) for item in cast("list[list[object]]", answer)]  # type: ignore[arg-type]  # rows of Submitted's own fields

    def get(self, id: str, *, wait: float = 0, rev: int | None = None) -> JobDoc:
        return self._doc("get", wait=wait, again=True, id=id, rev=rev)

    def find(self, query: Query) -> Page:
        return self._reader.find(query)

    def count(self, query: Query) -> dict[str, int]:
        return self._reader.count(query)

    def items(self, id: str, *, after: int = -1, limit: int = 100) -> tuple[list[dict[str, object]], bool]:
        self._engine.call("get", again=True, id=id)  # tells "never was" from "was removed"
        return self._reader.items(id, after=after, limit=limit)

    def result(self, id: str) -> object:
        raise Gone(f"the result of job {id} is in its status")  # where a laptop has all of them

    def cancel(
        self, id: str, *, grace: float | None = None, key: Key | None = None, only: Precondition = NONE
    ) -> JobDoc:
        return self._doc("cancel", again=_again(only), id=id, grace=grace, key=_key(key), only=only.wire())

    def suspend(self, id: str, *, key: Key | None = None, only: Precondition = NONE) -> JobDoc:
        return self._doc("suspend", again=_again(only), id=id, key=_key(key), only=only.wire())

    def resume(self, id: str, *, key: Key | None = None, only: Precondition = NONE) -> JobDoc:
        return self._doc("resume", again=_again(only), id=id, key=_key(key), only=only.wire())

    def redrive(
        self, id: str, *, dependents: bool = False, key: Key | None = None, only: Precondition = NONE
    ) -> JobDoc:
        chain_ = chain(id, self._reader.failed_dependents()) if dependents else None
        return self._doc("redrive", again=key is not None, id=id, chain=chain_, key=_key(key), only=only.wire())

    def delete(self, id: str, *, only: Precondition = NONE) -> None:
        self._engine.call("delete", id=id, only=only.wire())

    def logs(self, id: str, *, attempt: int | None = None, index: int | None = None,
             offset: int = 0, wait: float = 0) -> LogChunk:  # fmt: skip
        return log_chunk(self._engine.call(
            "logs", wait=wait, again=True, id=id, attempt=attempt, index=index, offset=offset))  # fmt: skip

    def events(self, *, job: str | None = None, after: int = 0, wait: float = 0, limit: int = 500,
               progress: int | None = None) -> list[Event]:  # fmt: skip
        answer = self._engine.call(
            "events", wait=wait, again=True, id=job, after=after, limit=limit, progress=progress)  # fmt: skip
        return [Event(*item) for item in cast("list[list[object]]", answer)]  # type: ignore[arg-type]  # rows of Event's own fields

    def deliveries(self, *, after: str = "", limit: int = 100) -> tuple[list[dict[str, object]], str]:
        found = self._reader.deliveries(after=after, limit=limit)
        return found, str(found[-1]["id"]) if len(found) == limit else ""

    def retry_deliveries(self, jobs: Sequence[str] | None) -> int:
        return cast("int", self._engine.call("retry_deliveries", again=True, jobs=jobs))

    def explain(self, id: str) -> dict[str, object]:
        return self._doc("explain", again=True, id=id)

    def pool(self, name: str) -> dict[str, object]:
        raise NotFound(
            f"there is no pool {name}: pools are Deployments of a cluster, and this service runs its jobs itself"
        )

    def queues(self) -> list[dict[str, object]]:
        return self._docs("queues")

    def queue(self, name: str) -> dict[str, object]:
        return self._doc("queue", again=True, name=name)

    def set_queue(self, name: str, changes: Mapping[str, object], *, only: Precondition = NONE) -> dict[str, object]:
        return self._doc("set_queue", again=_again(only), name=name, changes=dict(changes), only=only.wire())


def _again(only: Precondition) -> bool:
    # Sent a second time, a change that came through would meet the state that it has made itself.
    return only == NONE


def _key(key: Key | None) -> list[str] | None:
    return [key.key, key.fingerprint] if key is not None else None
