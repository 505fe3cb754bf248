"""What happened to jobs, made out from how they changed: the events of a cluster.

Only what this process saw since it started, at most ``KEPT`` events. The number of an event is the version of the
resource that told of it, so it means the same to every api process. One change is one event, the weightiest.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from longshore.errors import Draining
from longshore.job.spec import rfc3339_at
from longshore.store.kubernetes.documents import Resource, version
from longshore.store.port import Event
from longshore.store.waiting_caller import cut_short

KEPT = 10_000
ENDS = {"Succeeded": "succeeded", "Failed": "failed", "Cancelled": "cancelled"}


class Known(NamedTuple):
    """The few words of a job that say what a change was."""

    uid: str
    phase: str
    attempts: int
    suspend: bool
    cancel: bool


class History:
    """Written by the watch, read by requests."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Known] = {}
        self._events: deque[tuple[str, Event]] = deque(maxlen=KEPT)
        self._changed = threading.Condition()
        self._closed = False

    def close(self) -> None:
        """Let nobody wait any more: from now on who would gets Draining."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def learn(self, jobs: Iterable[Resource]) -> None:
        """What the jobs that may still change are like now; nothing is told of what was missed."""
        self._known = {_key(job): _known(job) for job in jobs}

    def change(self, kind: str, job: Resource, seq: int) -> None:
        """A job was ADDED, MODIFIED or DELETED."""
        key, now = _key(job), _known(job)
        before = self._known.pop(key, None)
        if kind == "DELETED":
            return
        if now.phase not in ("Succeeded", "Cancelled"):
            self._known[key] = now
        if before is not None and before.uid != now.uid:
            before = None
        type_ = "submitted" if kind == "ADDED" else _type(before, now) if before is not None else ""
        if type_:
            with self._changed:
                self._events.append((key[0], event(type_, job, seq)))
                self._changed.notify_all()

    def after(self, namespace: str, job: str | None, after: int, limit: int, wait: float = 0.0) -> list[Event]:
        """Events beyond ``after``, oldest first, waiting for the first one at most so many seconds; raises Draining."""
        end = time.monotonic() + wait
        with cut_short(self._wake) as caller, self._changed:
            while True:
                found = self._find(namespace, job, after, limit)
                left = end - time.monotonic()
                if found or left <= 0 or (caller is not None and caller.gone):
                    return found
                if self._closed:
                    raise Draining(retry_after=1)
                self._changed.wait(left)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _find(self, namespace: str, job: str | None, after: int, limit: int) -> list[Event]:
        found: list[Event] = []
        for where, event in reversed(self._events):  # from the newest: who follows is never far behind
            if event.seq <= after:
                break
            if where == namespace and job in (None, event.job):
                found.append(event)
        return found[::-1][:limit]


def event(type_: str, job: Resource, seq: int | None = None) -> Event:
    """An event of a job, dated by what its status says."""
    status, metadata = job.get("status") or {}, job["metadata"]
    field = {"started": "startedAt"} | dict.fromkeys(ENDS.values(), "finishedAt")
    at = metadata["creationTimestamp"] if type_ == "submitted" else status.get(field.get(type_, ""))
    data = {name: status[name] for name in ("phase", "reason", "message", "attempts") if status.get(name)}
    return Event(seq or version(job), metadata["name"], type_, at or rfc3339_at(time.time()), data)


def _type(before: Known, now: Known) -> str:
    if now.phase != before.phase:
        if now.phase == "Pending":
            return "redriven" if before.phase == "Failed" else "retrying"
        return ENDS.get(now.phase) or "started"
    if now.attempts > before.attempts:
        return "retrying" if now.phase == "Pending" else "started"
    if now.cancel and not before.cancel:
        return "cancelling"
    if now.suspend != before.suspend:
        return "suspended" if now.suspend else "resumed"
    return ""


def _key(job: Resource) -> tuple[str, str]:
    return job["metadata"]["namespace"], job["metadata"]["name"]


def _known(job: Resource) -> Known:
    spec, status = job.get("spec") or {}, job.get("status") or {}
    return Known(job["metadata"]["uid"], status.get("phase", "Pending"), status.get("attempts", 0),
                 bool(spec.get("suspend")), bool(spec.get("cancel")))  # fmt: skip
