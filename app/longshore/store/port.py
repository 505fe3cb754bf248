"""The verbs that the api needs of a store: one protocol, whether jobs live in SQLite or in etcd.

Documents cross it as plain JSON-shaped dictionaries (``JobDoc``: id, uid, namespace, name, labels, createdAt,
spec, status), because the api passes them through untouched. Every method may raise the errors of
``longshore.errors``; each says which beside the usual ``EngineUnavailable``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from longshore.job.attempts import Offers
from longshore.job.preconditions import NONE, Precondition

JobDoc = dict[str, object]


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key with what it stands for."""

    key: str
    """The client's key, prefixed by who sent it, so that two tenants cannot meet."""
    fingerprint: str
    """Digest of method, path and body: the same key with another one is refused."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A validated submission on its way into the store."""

    id: str
    """Name of the job (given, or generated and time-ordered)."""
    named: bool
    """Whether the submitter chose the name."""
    spec: bytes
    """camelCase JSON of the fields that were set (``job.spec.spec_json``)."""
    fingerprint: str = ""
    """Digest of the request; only named jobs need it (the same name with another one is a conflict)."""
    labels: Mapping[str, str] = field(default_factory=dict)
    traceparent: str = ""
    tracestate: str = ""
    """W3C trace context of the submitter, both of them (``job.trace_context``)."""
    source: str = "api"
    """Which door: api, cli, webhook, schedule."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Of a manifest; kept in a cluster alone."""
    after: Sequence[str] = ()
    """Names that have to succeed first, as the specification has them."""
    batch: bool = False
    """Whether it came in a batch, where a name in ``after`` that nobody has is refused."""
    at: str = ""
    """Where the specification stands in the request, as a JSON pointer: errors that come late name their field by it."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of one ``NewJob``."""

    id: str
    created: bool
    """False when an idempotency key or a name led to a job that was there already."""
    job: JobDoc | None = None
    """The whole job, when the store had it at hand (always for a submit of one)."""


@dataclass(frozen=True, slots=True)
class Query:
    """Filters of a list; empty means all. Sorted by creation, newest first."""

    phases: Sequence[str] = ()
    queue: str = ""
    handler: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    limit: int = 100
    cursor: str = ""
    """Opaque; from the previous page."""
    namespace: str = "default"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    items: list[JobDoc]
    next_cursor: str = ""
    """Empty on the last page, and only there."""


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of an attempt's output."""

    data: bytes
    offset: int
    """Where ``data`` begins in the attempt's whole output, bytes from 0."""
    next_offset: int
    """Where to go on."""
    complete: bool
    """Nothing more will come."""
    dropped: int = 0
    """Bytes between the asked offset and ``offset`` that were not kept."""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job."""

    seq: int
    """Position in the service's one sequence of events; the id of a server-sent event."""
    job: str
    type: str
    """submitted, started, progress, retrying, succeeded, failed, cancelled, suspended, resumed, redriven."""
    at: str
    """RFC 3339."""
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody whom a cluster knows."""

    name: str
    uid: str
    groups: tuple[str, ...]
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What else the authenticator knows; some authorizers decide by it."""


class Reviewer(Protocol):
    """Who answers for callers of a cluster; both methods raise StoreUnavailable."""

    def who(self, token: str) -> Subject | None:
        """Whose token it is."""
        ...

    def may(self, subject: Subject, verb: str, resource: str, namespace: str) -> bool:
        """Whether he may do this to resources of ours in the namespace."""
        ...


class ServicePort(Protocol):
    """What the api asks of any service, whatever its role."""

    @property
    def backend(self) -> str:
        """Who is behind the api: engine, kubernetes."""
        ...

    def handlers(self) -> Sequence[dict[str, object]]: ...
    def workers(self) -> Sequence[dict[str, object]]: ...
    def status(self, *, details: bool = False) -> dict[str, object]: ...
    def drain(self, *, on: bool) -> dict[str, object]: ...

    def reload(self) -> dict[str, object]:
        """Go on with the new code once nothing runs; raises Conflict with the reason when it does not start."""
        ...

    def metrics(self) -> Sequence[Mapping[str, object]]:
        """Metric families of the engine: ``{name, type, help, samples: [[name, labels, value, exemplar?]]}``."""
        ...

    def add_counts(self, changes: Sequence[object]) -> None:
        """Add what metrics of applications counted in this process (``app_metrics.changes``); shown by ``metrics``."""
        ...


class AttemptPort(ServicePort, Protocol):
    """What the attempts API of a worker asks for; documents are those of ``job.attempts``."""

    def take(self, offers: Offers) -> dict[str, object]:
        """Start attempts now, or say of each why not: a ``TakenResults``."""
        ...

    def feed(self, after: str, acknowledged: str, *, wait: float = 0) -> dict[str, object]:
        """What came after a cursor, waiting for it: a ``Feed``. Forget everything up to the cursor ``acknowledged``."""
        ...

    def stop(self, uid: str, number: int, *, index: int | None = None, grace: float | None = None) -> dict[str, object]:
        """Stop an attempt; raises NotFound when it does not run here."""
        ...

    def logs(self, uid: str, number: int, *, index: int | None = None, offset: int = 0, wait: float = 0) -> LogChunk:
        """Output of an attempt from an offset; a negative one counts from the end. Raises Gone when it is not kept."""
        ...


class JobStore(ServicePort, Protocol):
    """Everything that the HTTP api asks for where jobs are kept."""

    def submit(self, jobs: Sequence[NewJob], *, key: Key | None = None, wait: float = 0) -> list[Submitted]:
        """Keep all jobs or none, durably, before returning; with ``wait`` (one job) until it ended or so many seconds.

        Raises KeyReused, Conflict (name taken), UnknownQueue, QuotaExceeded, QueueFull, Draining, StoreUnavailable.
        """
        ...

    @property
    def namespace(self) -> str:
        """Namespace of the jobs."""
        ...

    @property
    def strict_handlers(self) -> bool:
        """Whether a handler that is not known here is known nowhere."""
        ...

    def in_namespace(self, namespace: str) -> "JobStore":
        """The jobs of another namespace, of the own one for an empty name; raises InvalidRequest."""
        ...

    def get(self, id: str, *, wait: float = 0, rev: int | None = None) -> JobDoc:
        """The job; with ``wait`` not before it ended (or, given ``rev``, changed since) or so many seconds passed.

        The document carries ``rev``, an integer that grows with every change. Raises NotFound, Gone.
        """
        ...

    def find(self, query: Query) -> Page:
        """One page; raises InvalidRequest for a cursor that is none."""
        ...

    def count(self, query: Query) -> dict[str, int]:
        """How many jobs match, by phase."""
        ...

    def items(self, id: str, *, after: int = -1, limit: int = 100) -> tuple[list[dict[str, object]], bool]:
        """Items of an array job by index: ``{index, phase, result, error}``, and ``attempts`` where they are kept; and whether
        there are more, which may be with fewer than ``limit``: a page is cut by bytes.

        A store without room for all results names the rest, ``resultRef``, or says why one is lost, ``resultNotKept``.
        Raises NotFound, Gone.
        """
        ...

    def result(self, id: str) -> object:
        """The result of a job whose document names it (``resultRef``) and does not have it; raises Gone with the reason."""
        ...

    # ``only`` is judged in the step that makes the change; what does not hold raises PreconditionFailed.

    def cancel(
        self, id: str, *, grace: float | None = None, key: Key | None = None, only: Precondition = NONE
    ) -> JobDoc:
        """Ask the job to end; the answer may still be running. Raises NotFound, Gone, Conflict (ended already)."""
        ...

    def suspend(self, id: str, *, key: Key | None = None, only: Precondition = NONE) -> JobDoc: ...
    def resume(self, id: str, *, key: Key | None = None, only: Precondition = NONE) -> JobDoc: ...

    def redrive(
        self, id: str, *, dependents: bool = False, key: Key | None = None, only: Precondition = NONE
    ) -> JobDoc:
        """Send a failed job round again, with ``dependents`` also those that failed because of it, in order.

        The document then has ``redriven``, their names. Raises Conflict for a job that is not failed, and for one that waits
        for another that is.
        """
        ...

    def delete(self, id: str, *, only: Precondition = NONE) -> None:
        """Remove an ended job; raises Conflict (still active), NotFound, Gone."""
        ...

    def logs(self, id: str, *, attempt: int | None = None, index: int | None = None,
             offset: int = 0, wait: float = 0) -> LogChunk:  # fmt: skip
        """Output of an attempt (the last by default) from an offset; a negative offset counts from the end."""
        ...

    def events(self, *, job: str | None = None, after: int = 0, wait: float = 0, limit: int = 500,
               progress: int | None = None) -> Sequence[Event]:  # fmt: skip
        """Events beyond ``after``, waiting up to ``wait`` seconds for the first.

        With ``progress``, the ``report`` number of the last such event that the caller has seen (0: none), a later report of
        the job comes last, as an event of type progress whose ``seq`` is that of the event before it.
        """
        ...

    def deliveries(self, *, after: str = "", limit: int = 100) -> tuple[list[dict[str, object]], str]:
        """One page of webhooks that wait or were given up, and the ``after`` of the next page, empty after the last one."""
        ...

    def retry_deliveries(self, jobs: Sequence[str] | None) -> int:
        """Try the webhooks of jobs again now, of all for None; how many. Raises NotFound when one has none."""
        ...

    def explain(self, id: str) -> dict[str, object]:
        """Why the job stands where it stands (``job.explain``)."""
        ...

    def pool(self, name: str) -> dict[str, object]:
        """A pool of workers: how many, how many are wanted, and why; NotFound where there are no pools."""
        ...

    def queues(self) -> Sequence[dict[str, object]]: ...
    def queue(self, name: str) -> dict[str, object]: ...

    def set_queue(self, name: str, changes: Mapping[str, object], *, only: Precondition = NONE) -> dict[str, object]:
        """Lay ``changes`` over the queue's policy, durably; a null resets a field to the file's value.

        ``only`` is about the first word of the queue's tag (``job.preconditions``).
        """
        ...
