"""The attempts API as values: what the operator says to a worker, and what a worker says back.

Requests refuse unknown fields, because a worker that silently ignored one (a limit, say) would run the attempt wrongly.
Answers ignore unknown fields, so that an operator can talk to a worker of a later release of the same version.
Times are RFC 3339, sizes bytes.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from longshore.job.spec import (
    INTEGRAL,
    MAX_ARGS_BYTES,
    MAX_ITEMS,
    MAX_ITEMS_BYTES,
    MAX_MEMORY_BYTES,
    CommandLine,
    Env,
    Frozen,
    HandlerName,
    Int,
    Name,
    QueueName,
    Retry,
    Seconds,
    Time,
    small_json,
)
from longshore.job.status import JobError, Outcome, Progress
from longshore.job.trace_context import MAX_LENGTH

VERSION = 1
MAX_ATTEMPTS = 100  # of one POST
NAMESPACE_HEADER = "Longshore-Namespace"
"""Names the namespace of the worker (or operator) that a request is meant for; another one refuses it."""

UID = r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$"
CURSOR = r"^[0-9a-f]{8}:[0-9]{1,15}$"
TRACEPARENT = r"^([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?$"

Uid = Annotated[str, Field(pattern=UID)]
Index = Annotated[int, Field(ge=0, lt=MAX_ITEMS), INTEGRAL]
Number = Annotated[int, Field(ge=1, le=999_999_999), INTEGRAL]


class Taken(StrEnum):
    """What a worker says to an attempt that it is handed; only the first two say that its outcome will come."""

    ACCEPTED = "accepted"  # it has been given to a slot
    KNOWN = "known"  # it runs here already, or its outcome waits in the feed
    STALE = "stale"  # a later attempt of the job has been here, or this one's outcome was acknowledged
    FULL = "full"  # no slot is free now
    DRAINING = "draining"  # the worker takes nothing more
    UNKNOWN_HANDLER = "unknown-handler"  # no such handler here, or a command where commands are switched off


# -- requests -------------------------------------------------------------------------------------------------


class Offer(Frozen):
    """An attempt that the operator hands over."""

    uid: Uid
    """Uid of the job."""
    job: Name
    """Name of the job."""
    namespace: QueueName
    """Namespace of the job."""
    index: Index | None = None
    """Item of an array job; absent for any other."""
    number: Number
    """Number of the attempt, which grows with every attempt of the job (or item) and fences off earlier ones."""
    handler: HandlerName | None = None
    """Registered Python function; exactly one of handler and command."""
    command: CommandLine | None = None
    """Program and arguments; exactly one of handler and command."""
    args: Annotated[dict[str, Any], AfterValidator(small_json(MAX_ARGS_BYTES + MAX_ITEMS_BYTES))] = Field(
        default_factory=dict
    )
    """Arguments of the handler, the item's own already laid over the job's."""
    env: Env = Field(default_factory=dict)
    """Environment variables of a command."""
    timeout_seconds: Seconds | None = None
    """Longest run; without one the handler's own, if it has one."""
    memory_bytes: Annotated[int, Field(ge=1, le=MAX_MEMORY_BYTES), INTEGRAL] | None = None
    """Most memory of the process and all below it; without one no limit of its own."""
    idempotency_key: Annotated[str, Field(max_length=512)] = ""
    """Equal in all attempts of one job (or item); handed to the handler."""
    traceparent: Annotated[str, Field(pattern=TRACEPARENT)] = ""
    """W3C trace context; handed to the handler."""
    tracestate: Annotated[str, Field(max_length=MAX_LENGTH, pattern=r"^[ -~]*$")] = ""
    """The other half of the trace context; for workers alone that say that they accept it."""
    runner: Literal["slot", "process", "command"] | None = None
    """A warm slot or a process of its own; without one what the handler asks for. Of a command only `command`."""

    @model_validator(mode="after")
    def _whole(self) -> "Offer":
        if (self.handler is None) == (self.command is None):
            raise ValueError("exactly one of handler and command must be given")
        if self.runner is not None and (self.command is not None) != (self.runner == "command"):
            raise ValueError("runner command belongs to a command, the others to a handler")
        return self


class Offers(Frozen):
    """Body of ``POST /v1/attempts``."""

    version: Literal[1]
    """Version of this API that the operator speaks."""
    attempts: Annotated[tuple[Offer, ...], Field(min_length=1, max_length=MAX_ATTEMPTS)]
    """Attempts to start now, at most 100; each is answered for itself."""


# -- answers --------------------------------------------------------------------------------------------------


class Answer(Frozen):
    """What a worker says; fields of later releases are ignored."""

    model_config = ConfigDict(extra="ignore")


class Attempted(Answer):
    """Which attempt."""

    uid: Uid
    """Uid of the job."""
    index: Index | None = None
    """Item of an array job."""
    number: Number
    """Number of the attempt."""


class TakenResult(Attempted):
    """The answer to one attempt."""

    result: Taken
    """What became of it."""


class TakenResults(Answer):
    """Answer of ``POST /v1/attempts``."""

    version: Literal[1]
    """Version of this API."""
    boot: str
    """Boot id of the worker process; another one means that all attempts before it are lost."""
    results: tuple[TakenResult, ...]
    """In the order of the request."""
    free: Int
    """Slots that are free after this request."""


class EndedEntry(Attempted):
    """An attempt that is over: its process is gone, or its slot has said so and is clean."""

    kind: Literal["ended"]
    """Always `ended`."""
    seq: Int
    """Position in the feed."""
    outcome: Outcome
    """How it ended."""
    reason: str = ""
    """Why, in one word; empty for a success."""
    error: JobError | None = None
    """Why, for people; absent for a success."""
    error_names: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    """errorNames are the classes that the error belongs to, its bases and the members of a group among them; `retry` goes by them."""
    exit_code: Int | None = None
    """Exit status of the process, negative for a signal; absent when the process lives on."""
    result: Any | None = None
    """What the handler returned; successes only."""
    result_ref: Annotated[str, Field(max_length=1024)] | None = None
    """Name of the result in the results directory, when the worker has put it there instead."""
    started_at: Time
    """When a slot got it."""
    finished_at: Time
    """When it was known to be gone."""
    log_tail: str = ""
    """Last lines of output, at most 4 KiB; not for successes."""


class ProgressEntry(Attempted):
    """How far a running attempt says it is; replaces its earlier ones, and goes when it ends."""

    kind: Literal["progress"]
    """Always `progress`."""
    seq: Int
    """Position in the feed."""
    progress: Progress
    """How far."""


Entry = Annotated[EndedEntry | ProgressEntry, Field(discriminator="kind")]


class RunningAttempt(Attempted):
    """An attempt that runs now, or waits for its own process."""

    started_at: Time | None = None
    """When a slot got it; absent while its process is being made."""
    progress: Progress | None = None
    """How far it says it is."""


class Slots(Answer):
    """Capacity."""

    total: Int
    """Attempts that can run at a time."""
    free: Int
    """Attempts that could start this instant."""


class HandlerDefaults(Answer):
    """What a handler wants for jobs that say nothing."""

    timeout_seconds: Seconds | None = None
    """Longest run of one attempt."""
    max_retries: Int | None = None
    """Attempts after the first that failures may cost."""
    retry: Retry | None = None
    """Back-off and filters of retries."""


class Feed(Answer):
    """Answer of ``GET /v1/attempts``."""

    version: Literal[1]
    """Version of this API."""
    release: str
    """Release of the worker."""
    worker: str
    """Name of the worker: its host name, which in a cluster is the pod's."""
    boot: str
    """Boot id of the worker process; another one means that all attempts before it are lost."""
    cursor: Annotated[str, Field(pattern=CURSOR)]
    """Where to go on; asking `after` it acknowledges every entry up to here."""
    entries: tuple[Entry, ...]
    """What happened, oldest first. Large ones may be left for the next request, which is then answered at once."""
    slots: Slots
    """Capacity now."""
    draining: bool
    """Whether new attempts are refused."""
    handlers: tuple[str, ...] | None = None
    """Names of what can be run; when they are imported, and then only when it may have changed since the cursor that was asked for."""
    handler_defaults: dict[str, HandlerDefaults] | None = None
    """What those of the handlers want that want something; comes with `handlers`."""
    commands: bool = False
    """Whether command jobs are taken."""
    accepts: tuple[str, ...] = ()
    """Fields of an attempt that came after the first release of this version, and that this worker takes."""
    running: tuple[RunningAttempt, ...]
    """What runs now."""


class Stopping(Attempted):
    """Answer of ``DELETE /v1/attempts/{uid}/{number}``: its outcome will come through the feed."""
