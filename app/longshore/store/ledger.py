"""The engine's side of the store: rows, and the few verbs with which one loop turn becomes durable.

The engine decides in memory with the pure functions of ``longshore.job`` and hands over what has to be true
afterwards; the ledger refuses by itself (``WHERE attempts = ?``) whatever a late or foreign voice says.
Times are seconds since the epoch (float, UTC) here; ``None`` means not yet or none.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from longshore.job.status import MAX_HISTORY_MESSAGE


class JobRow(NamedTuple):
    """A job at its birth."""

    uid: str
    id: str
    spec: bytes  # camelCase JSON of the fields that were set
    queue: str
    handler: str  # "" for a command job
    priority: int
    created_at: float
    labels: Mapping[str, str]
    fingerprint: str  # digest of the request; named jobs only
    traceparent: str
    source: str
    array: bool
    tracestate: str = ""


class Standing(NamedTuple):
    """Everything that may change in a job's row, as it shall be from now on."""

    phase: str
    reason: str = ""
    message: str = ""
    retries: int = 0
    disruptions: int = 0
    redrives: int = 0
    not_before: float | None = None
    worker: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None  # when retention may remove it
    error_type: str = ""
    error_message: str = ""
    log_tail: str = ""
    result: bytes | None = None  # JSON, passed through untouched
    items: bytes | None = None  # JSON of job.status.ItemsStatus, arrays only
    cancel: bool = False
    suspend: bool = False
    redrive: int = 0  # spec.redrive as raised through the api


class ClaimRow(NamedTuple):
    """An attempt that is about to start; refused unless the job stands at ``number - 1`` and may run."""

    uid: str
    idx: int | None  # item of an array
    number: int
    worker: str
    at: float


class EndRow(NamedTuple):
    """An attempt that ended; refused unless it is the one that runs. A refused end writes nothing at all."""

    uid: str
    idx: int | None  # item of an array
    number: int
    worker: str
    started_at: float
    finished_at: float
    outcome: str
    reason: str
    exit_code: int | None
    standing: Standing  # of the job, from now on
    item: "ItemRow | None" = None
    log: "LogRow | None" = None

    @property
    def error(self) -> tuple[str, str]:
        """Type and message of what the attempt failed of, as its history keeps them; empty for a success."""
        of = self.item or self.standing
        return of.error_type, of.error_message[:MAX_HISTORY_MESSAGE]


class ChangeRow(NamedTuple):
    """A change without an attempt: cancel while waiting, suspend, redrive, a deadline; refused from another phase."""

    uid: str
    from_phase: str
    standing: Standing


class ItemRow(NamedTuple):
    """One item of an array job, as it shall be from now on."""

    uid: str
    idx: int
    state: str  # pending, running, succeeded, failed, cancelled
    attempts: int
    retries: int
    disruptions: int
    not_before: float | None = None
    error_type: str = ""
    error_message: str = ""
    result: bytes | None = None


class LogRow(NamedTuple):
    """Output of one attempt: the first bytes, the last bytes, how many there were in all."""

    uid: str
    idx: int | None  # item of an array
    number: int
    head: bytes
    tail: bytes  # begins at byte ``total - len(tail)``
    total: int


class EventRow(NamedTuple):
    """Something that happened; ``seq`` is given by the engine and only grows."""

    seq: int
    uid: str
    id: str
    type: str
    at: float
    data: bytes  # JSON object, b"" for none


class KeyRow(NamedTuple):
    """An idempotency key and the jobs that it led to."""

    key: str
    fingerprint: str
    ids: tuple[str, ...]
    at: float


class DeliveryRow(NamedTuple):
    """A webhook that has to be sent."""

    id: str  # the webhook-id header: stable over retries
    uid: str
    url: str
    secret_ref: str
    body: bytes
    attempts: int
    next_at: float | None  # None: given up or delivered; the row goes
    last_error: str = ""


class ToldRow(NamedTuple):
    """What became of the last delivery about a job; it goes with the job."""

    uid: str
    id: str  # of the delivery
    state: str  # a job.webhook.DeliveryState
    attempts: int
    at: float
    detail: str  # of the last try
    url: str
    secret_ref: str
    body: bytes  # empty once it is delivered: nobody sends it again
    revision: int = 0  # grows with each change; the store counts


class ScheduleRow(NamedTuple):
    """A schedule as it is kept."""

    name: str
    uid: str
    origin: str  # who declares it: a ScheduleOrigin
    labels: bytes  # JSON object
    spec: bytes  # camelCase JSON
    status: bytes  # JSON of job.schedule.ScheduleStatus without the active jobs, which are known by themselves
    created_at: float
    generation: int  # grows with each change of the specification
    paused: bool | None = None  # of a declared one, in place of its spec.suspend; None: as that says


class ScheduledJob(NamedTuple):
    """What a schedule has to know of one of its jobs."""

    uid: str
    id: str
    phase: str
    created_at: float
    finished_at: float | None


@dataclass(slots=True)
class Batch:
    """What one loop turn wants to be true; applied whole, in this order, or not at all."""

    jobs: list[JobRow] = field(default_factory=list)
    keys: list[KeyRow] = field(default_factory=list)
    ends: list[EndRow] = field(default_factory=list)
    changes: list[ChangeRow] = field(default_factory=list)
    items: list[ItemRow] = field(default_factory=list)  # opened again by a redrive; ends bring their own
    claims: list[ClaimRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    deliveries: list[DeliveryRow] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)  # delivery ids that are done with
    told: list[ToldRow] = field(default_factory=list)
    removed: list[tuple[str, str, float]] = field(default_factory=list)  # uid, id, when: leaves a tombstone
    queues: list[tuple[str, bytes]] = field(default_factory=list)  # name, JSON of the run-time overrides
    schedules: list[tuple[str, ScheduleRow | None]] = field(default_factory=list)  # by name, None: it is deleted

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


def kept_of(batch: Batch, refused: Collection[tuple[str, int | None, int]]) -> Batch:
    """The batch without events and deliveries of jobs of which the ledger refused something: they tell what is not so."""
    if not refused:
        return batch
    uids = {uid for uid, _, _ in refused}
    return replace(
        batch, events=[row for row in batch.events if row.uid not in uids],
        deliveries=[row for row in batch.deliveries if row.attempts or row.uid not in uids],
    )  # fmt: skip


class LiveRow(NamedTuple):
    """A job that has not ended, as found at start, oldest first."""

    job: JobRow
    attempts: int
    standing: Standing


class StoredJob(NamedTuple):
    """A job as it is kept."""

    job: JobRow
    attempts: int
    rev: int
    standing: Standing


class AttemptRow(NamedTuple):
    """An attempt as it is kept; ``outcome`` is empty while it runs."""

    idx: int | None  # item of an array
    number: int
    worker: str
    started_at: float
    finished_at: float | None
    outcome: str
    reason: str
    exit_code: int | None
    error_type: str = ""
    error_message: str = ""


class Ledger(Protocol):
    """What the engine needs to remember. One writer; every method is called from the engine's only thread."""

    def commit(self, batch: Batch, *, durable: bool = True) -> set[tuple[str, int | None, int]]:
        """Make the batch true. Returns what was refused as (uid, idx, number; 0 for a ChangeRow).

        ``durable=False`` may skip the fsync (it survives a crash of the process, not of the machine): enough for
        claims. Raises StoreUnavailable when the disk refuses; then nothing of the batch holds, and the same batch
        may be handed over again.
        """
        ...

    def probe(self) -> None:
        """Write to the disk what changes nothing. Raises StoreUnavailable when it refuses."""
        ...

    def live(self) -> Iterator[LiveRow]:
        """All jobs that have not ended, oldest first."""
        ...

    def rev(self, uid: str) -> int:
        """How often the job's row changed, from 1."""
        ...

    def live_items(self, uid: str) -> list[ItemRow]:
        """Items of an array job that were ever started."""
        ...

    def job(self, id: str) -> StoredJob | None: ...
    def spec(self, uid: str) -> bytes: ...
    def removed(self, id: str) -> bool:
        """Whether a job of that id was here and was removed."""
        ...

    def attempts(self, uid: str, *, last: int = 10) -> list[AttemptRow]:
        """The last ended attempts, oldest first."""
        ...

    def item_attempts(self, uid: str, idx: int) -> int:
        """How many attempts an item of an array has had; 0 for one that was never started."""
        ...

    def log(self, uid: str, idx: int | None, number: int | None) -> LogRow | None:
        """Output of an ended attempt, the last one when ``number`` is None."""
        ...

    def key(self, key: str) -> KeyRow | None: ...
    def last_seq(self) -> int: ...
    def events(self, *, uid: str | None, after: int, limit: int) -> list[EventRow]: ...
    def deliveries(self) -> list[DeliveryRow]: ...
    def given_up(self) -> list[ToldRow]:
        """Deliveries that nobody tries any more, of jobs that are kept."""
        ...

    def told(self, uid: str) -> ToldRow | None:
        """What became of the last delivery about a job; None while none was tried."""
        ...

    def queues(self) -> dict[str, bytes]: ...
    def schedules(self) -> list[ScheduleRow]: ...
    def scheduled(self, label: str, uid: str) -> list[ScheduledJob]:
        """Jobs that the schedule of that uid has made and that are kept; ``label`` is their label's value."""
        ...

    def expired(self, now: float, *, limit: int = 500) -> list[tuple[str, str]]:
        """(uid, id) of ended jobs past their time, or beyond the number or the bytes that are kept: the work of one round.

        Those whose time comes first go first.
        """
        ...

    @property
    def overfull(self) -> bool:
        """Whether more ended jobs, or more bytes of results and output, are kept than should be."""
        ...

    def lighten(self, now: float) -> bool:
        """Drop a part of the output of the next job to go when it has more than a round can remove; False when it has not."""
        ...

    def next_expiry(self) -> float | None: ...
    def trim(self, now: float, *, limit: int = 500) -> int:
        """Forget old idempotency keys, tombstones and events, so many of each at most; how many rows went."""
        ...

    def shrink(self) -> bool:
        """Give free pages back to the file system for a moment; whether there is more to give."""
        ...

    def counts(self) -> dict[str, int]:
        """Number of kept jobs by phase; costs nothing."""
        ...

    def close(self) -> None: ...
