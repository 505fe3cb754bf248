"""A job that has not ended, as the engine holds it in memory."""

import secrets
from typing import cast

import orjson

from longshore.engine.attempt import Attempt, AttemptKey
from longshore.job.items import ArrayState
from longshore.job.status import Phase
from longshore.store.ledger import JobRow, LiveRow, Standing, StoredJob

Spec = dict[str, object]  # the stored JSON of the specification, validated long ago


class Live:
    """One live job. ``standing`` is what the store shall hold of it; ``running`` is what runs of it here."""

    __slots__ = (
        "array", "attempts", "dirty", "item_attempts", "item_budgets", "progress", "ready_at", "rev", "row", "running",
        "standing",
    )  # fmt: skip

    def __init__(self, row: JobRow, *, attempts: int = 0, rev: int = 1, standing: Standing | None = None) -> None:
        self.row = row
        self.attempts = attempts
        self.rev = rev
        self.standing = standing or Standing(phase=Phase.PENDING.value)
        self.running: dict[AttemptKey, Attempt] = {}
        self.array: ArrayState | None = None
        self.item_attempts: dict[int, int] = {}
        """Attempts of each item of an array that was ever started."""
        self.item_budgets: dict[int, tuple[int, int]] = {}
        """Retries and disruptions of each item that has spent any."""
        self.dirty = True
        """Whether the row in the store is older than ``standing``."""
        self.ready_at = row.created_at
        self.progress: tuple[int, float, str] | None = None
        """How often it was reported, percent, message."""

    @classmethod
    def restored(cls, found: LiveRow) -> "Live":
        """As it was found at start."""
        live = cls(found.job, attempts=found.attempts, standing=found.standing)
        live.dirty = False
        return live

    @property
    def uid(self) -> str:
        """The identity that is never used twice."""
        return self.row.uid

    @property
    def id(self) -> str:
        """The name."""
        return self.row.id

    def spec(self) -> Spec:
        """The specification as it was stored; parsed anew, because most jobs wait most of their life."""
        spec: Spec = orjson.loads(self.row.spec)
        return spec

    def stored(self) -> StoredJob:
        """The same as the store would answer."""
        return StoredJob(self.row, self.attempts, self.rev, self.standing)


def new_uid() -> str:
    """A random UUID (version 4), as the API server gives to objects."""
    text = secrets.token_hex(16)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _compact(data: bytes) -> bytes:
    """A copy of its own size: orjson's buffer is 4 KiB at least, and waiting jobs are many."""
    return bytes(memoryview(data))


def new_row(job: list[object], now: float) -> JobRow:
    """The row of a job that comes in, as the api sends it: id, named, spec, fingerprint, labels, traceparent, source, tracestate."""
    id, _named, spec, fingerprint, labels, traceparent, source, tracestate = job
    fields = cast("Spec", spec)
    return JobRow(
        uid=new_uid(), id=str(id), spec=_compact(orjson.dumps(fields)), queue=str(fields.get("queue") or "default"),
        handler=str(fields.get("handler") or ""), priority=cast("int", fields.get("priority") or 0), created_at=now,
        labels=cast("dict[str, str]", labels or {}), fingerprint=str(fingerprint), traceparent=str(traceparent),
        source=str(source), array="items" in fields or "count" in fields, tracestate=str(tracestate),
    )  # fmt: skip
