"""One run of a job on this worker: what goes into a slot and what comes out."""

import time
from dataclasses import dataclass, field

import orjson

from longshore.job.output import Output
from longshore.job.status import Outcome


@dataclass(frozen=True, slots=True)
class AttemptKey:
    """``uid / item index / number``: the fencing token of everything said about the attempt."""

    uid: str
    index: int | None
    number: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """Everything that a runner needs to know."""

    key: AttemptKey
    job: str
    """Name of the job."""
    handler: str = ""
    args: bytes = b"{}"
    """JSON object, item already merged."""
    command: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    runner: str = "slot"
    """slot, process or command."""
    timeout_seconds: float | None = None
    memory_bytes: int | None = None
    max_result_bytes: int = 1024 * 1024
    idempotency_key: str = ""
    """Stable over the attempts of one job (or item)."""
    traceparent: str = ""
    tracestate: str = ""
    ready_at: float | None = None
    """Since when it could have run, seconds since the epoch, where that is known."""
    namespace: str = "default"


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended. Only made when its processes are gone or its slot has said so and is clean."""

    key: AttemptKey
    outcome: Outcome
    started_at: float
    """Seconds since the epoch."""
    finished_at: float
    run_seconds: float
    """By the monotonic clock."""
    reason: str = ""
    error_type: str = ""
    error_message: str = ""
    traceback: str = ""
    """For the service's own log and for those allowed; never in an ordinary response."""
    error_names: tuple[str, ...] = ()
    """Classes that the error belongs to, its bases and the members of a group among them: what retries look at."""
    exit_code: int | None = None
    result: bytes | None = None
    """JSON of what the handler returned."""
    output: Output = field(default_factory=Output)


def run_frame(attempt: Attempt, nonce: str) -> dict[str, object]:
    """What a slot is told of it; ``nonce`` is what the slot has to repeat at the end."""
    frame: dict[str, object] = {
        "job": attempt.job, "uid": attempt.key.uid, "number": attempt.key.number, "index": attempt.key.index,
        "handler": attempt.handler, "args": orjson.Fragment(attempt.args), "timeout": attempt.timeout_seconds,
        "max_result": attempt.max_result_bytes, "key": attempt.idempotency_key, "traceparent": attempt.traceparent,
        "nonce": nonce,
    }  # fmt: skip
    if attempt.ready_at is not None:
        frame["waited"] = max(0.0, time.time() - attempt.ready_at)
    if attempt.tracestate:
        frame["tracestate"] = attempt.tracestate
    if attempt.command:
        frame |= {"command": attempt.command, "env": attempt.env}
    return frame
