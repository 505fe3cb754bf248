"""What became of a job: the half that only Longshore writes."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from longshore.job.spec import Frozen, Int, Time

MAX_HISTORY_MESSAGE = 256  # characters; ten of them are in every status
MAX_HISTORY = 10
MAX_ITEM_ERRORS = 20
MAX_LOG_TAIL_BYTES = 4 * 1024


class Phase(StrEnum):
    """Where a job stands; the last three are terminal."""

    PENDING = "Pending"  # waits: for its turn, its time, a limit, a back-off; the schema's default
    RUNNING = "Running"  # at least one attempt is on a worker
    SUCCEEDED = "Succeeded"  # ended well; its record never changes again
    FAILED = "Failed"  # ended badly; only a redrive opens it again
    CANCELLED = "Cancelled"  # somebody asked for the end, and nothing runs any more

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self in TERMINAL


TERMINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED})
RESTORING = "longshore.dev/restoring"  # annotation of a Job whose status `longshore restore` has yet to write


class Outcome(StrEnum):
    """How one attempt ended."""

    SUCCEEDED = "succeeded"  # the handler returned, the command exited 0
    FAILED = "failed"  # an exception, a non-zero exit, a crash of its own making
    TIMED_OUT = "timed_out"  # ran longer than timeoutSeconds and was ended
    CANCELLED = "cancelled"  # ended because the job was cancelled
    OOM = "oom"  # went over its memory limit and was ended; a disruption when it was the limit of its whole container
    LOST = "lost"  # disruption: its worker or process went away through no fault of the job
    DRAINED = "drained"  # disruption: its worker had to stop before it was done


class Reason:
    """The machine-readable reasons that Longshore itself writes (a handler's exception adds its class name)."""

    STARTED_TOO_LATE = "StartDeadlineExceeded"
    TIMED_OUT = "TimedOut"
    CANCELLED = "Cancelled"
    OUT_OF_MEMORY = "OutOfMemory"
    CONTAINER_OUT_OF_MEMORY = "ContainerOutOfMemory"  # the kernel chose it, or ended all: a disruption
    EXITED = "Exited"  # the process ended by itself with a code
    SIGNALLED = "Signalled"  # the process was ended by a signal that it brought on itself
    SLOT_BROKEN = "SlotBroken"  # something in the process wrote on the slot's own socket
    SLOT_KILLED = "SlotKilled"  # somebody else's SIGKILL: a disruption
    WORKER_LOST = "WorkerLost"
    DRAINED = "Drained"
    HANDLER_ERROR = "HandlerError"
    UNKNOWN_HANDLER = "UnknownHandler"
    INVALID_SPEC = "InvalidSpec"  # the API server took what the model refuses; never on a laptop
    INVALID_ARGS = "InvalidArguments"
    RESULT_TOO_LARGE = "ResultTooLarge"
    RESULT_NOT_JSON = "ResultNotSerializable"
    RESULT_NOT_KEPT = "ResultNotKept"  # the results directory did not take it; another attempt may find room
    RETRIES_EXHAUSTED = "RetriesExhausted"
    DISRUPTIONS_EXHAUSTED = "DisruptionsExhausted"
    ITEMS_FAILED = "ItemsFailed"
    DEPENDENCY_FAILED = "DependencyFailed"
    DEPENDENCY_MISSING = "DependencyMissing"
    COMMAND_NOT_FOUND = "CommandNotFound"
    RESTORED = "Restored"  # it had ended in the copy that its resource was restored from; never on a laptop


def disrupted(outcome: Outcome, reason: str) -> bool:
    """Whether an attempt that ended so spends ``maxDisruptions`` instead of ``maxRetries``."""
    # Whose memory filled a container is not known, so it counts against no job.
    whole_container = outcome is Outcome.OOM and reason == Reason.CONTAINER_OUT_OF_MEMORY
    return whole_container or outcome in (Outcome.LOST, Outcome.DRAINED)


# Another attempt cannot change these: they are never retried, whatever `retry.on` says.
NEVER_RETRIED = frozenset(
    {Reason.UNKNOWN_HANDLER, Reason.INVALID_ARGS, Reason.RESULT_TOO_LARGE, Reason.RESULT_NOT_JSON,
     Reason.COMMAND_NOT_FOUND}
)  # fmt: skip


class JobError(Frozen):
    """Why an attempt failed, in two words that are safe to show."""

    type: Annotated[str, Field(max_length=200)]
    """Class name of the exception, or the reason."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """What it said, cut at 1,024 characters."""


class Progress(Frozen):
    """How far a running attempt says it is."""

    percent: Annotated[float, Field(ge=0, le=100)]
    """0 to 100."""
    message: Annotated[str, Field(max_length=256)] = ""
    """What it is doing."""


class HistoryEntry(Frozen):
    """One ended attempt."""

    number: Int
    """Number of the attempt; never used twice for a job (for an array: for an item)."""
    index: Int | None = None
    """Item of an array job."""
    worker: str = ""
    """Where it ran."""
    started_at: Time | None = None
    """When it was given to the worker."""
    finished_at: Time | None = None
    """When it was known to be gone."""
    outcome: Outcome
    """How it ended."""
    reason: Annotated[str, Field(max_length=200)] = ""
    """Why, in one word."""
    exit_code: Int | None = None
    """Exit status of the process, negative for a signal; absent when the process lives on."""
    error: JobError | None = None
    """Why the attempt failed, its message cut at 256 characters; absent for a success."""


class ItemError(Frozen):
    """One failed item of an array job."""

    index: Int
    """Which item."""
    error: JobError
    """Why."""


class ItemsStatus(Frozen):
    """How the items of an array job stand."""

    succeeded: Int = 0
    """How many ended well."""
    failed: Int = 0
    """How many ended badly."""
    running: Int = 0
    """How many are on a worker now."""
    succeeded_indexes: str = ""
    """Which ended well, as ranges: `0-97,99`."""
    failed_indexes: str = ""
    """Which ended badly, as ranges."""
    unkept_indexes: str = ""
    """Which of those that ended well returned something that was not kept, for want of a results directory; as ranges."""
    errors: Annotated[tuple[ItemError, ...], Field(max_length=MAX_ITEM_ERRORS)] = ()
    """The last 20 failures."""


class Condition(Frozen):
    """A Kubernetes condition."""

    type: Literal["Complete", "Failed", "Finished", "WebhookDelivered"]
    """`Complete` for success, `Failed` for failure, `Finished` for every end."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: str = ""
    """Why, in one word."""
    message: str = ""
    """Why, in a sentence."""
    last_transition_time: Time
    """When it last turned."""


class JobStatus(Frozen):
    """Everything that is known of a job beside what was asked for."""

    phase: Phase = Phase.PENDING
    """Where the job stands."""
    reason: Annotated[str, Field(max_length=200)] = ""
    """Why it stands there, in one word."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why it stands there, in a sentence."""
    attempts: Int = 0
    """How many attempts have been started, ever; for an array, of all items together."""
    retries: Int = 0
    """Attempts that failures have cost since the last redrive."""
    disruptions: Int = 0
    """Attempts lost through no fault of the job since the last redrive."""
    redrives: Int = 0
    """How often the job was sent round again."""
    not_before: Time | None = None
    """Back-off: no attempt before this time."""
    worker: Annotated[str, Field(max_length=253)] = ""
    """Where the job runs, or last ran."""
    started_at: Time | None = None
    """Start of the first attempt since the last redrive."""
    finished_at: Time | None = None
    """When the job ended."""
    result: Any | None = None
    """What the handler returned (JSON)."""
    result_ref: Annotated[str, Field(max_length=1024)] | None = None
    """Name, in the results directory, of a result that is too large for the status."""
    error: JobError | None = None
    """Why the last attempt failed."""
    log_tail: Annotated[str, Field(max_length=MAX_LOG_TAIL_BYTES)] = ""
    """Last lines of output, failures only."""
    progress: Progress | None = None
    """How far the running attempt says it is; of an array job, how many of its items have ended."""
    history: Annotated[tuple[HistoryEntry, ...], Field(max_length=MAX_HISTORY)] = ()
    """The last ten ended attempts."""
    items: ItemsStatus | None = None
    """How the items of an array job stand."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=4)] = ()
    """Kubernetes conditions; `Finished` turns True for every end."""
