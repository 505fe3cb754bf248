"""What a slot says, checked: a job can reach its slot's socket, so its words are bytes until they are checked.

A frame comes in as bytes and leaves as one of the reports below, or as ``BadReport``, which is the slot's failure
and never the engine's. Each limit is enforced here again, because the slot that enforces it may be a job that
writes in its place: sizes, depth of the result, the closed sets of outcomes and reasons, the range of numbers. The
``nonce`` says which attempt a frame is about: the engine draws one for each attempt, so that what a job wrote before
its end says nothing about the next one.
"""

import math
from dataclasses import dataclass
from typing import cast

import orjson

from longshore.job.nesting import SHOWN_DEPTH, deeper_than
from longshore.job.status import Outcome, Reason
from longshore.slot.frames import (
    MAX_ERROR_MESSAGE,
    MAX_ERROR_NAMES,
    MAX_ERROR_TYPE,
    MAX_PROGRESS_MESSAGE,
    MAX_TRACEBACK,
    OVERHEAD_BYTES,
    Frame,
    Taint,
    unpack,
)

MAX_PID = 1 << 22  # the kernel's own PID_MAX_LIMIT
MAX_RSS = 1 << 50  # bytes; no machine has so many
MAX_NONCE = 64  # characters
MAX_STARTUP_FRAME = 64 * 1024  # bytes; a slot without a job says little

# All that a slot may say of an attempt. That it was lost, ran out of memory or time is the engine's own finding.
REASONS = {
    Outcome.SUCCEEDED: frozenset({""}),
    Outcome.CANCELLED: frozenset({Reason.CANCELLED}),
    Outcome.FAILED: frozenset({
        Reason.UNKNOWN_HANDLER, Reason.HANDLER_ERROR, Reason.INVALID_ARGS, Reason.RESULT_TOO_LARGE,
        Reason.RESULT_NOT_JSON, Reason.COMMAND_NOT_FOUND,
    }),
}  # fmt: skip
TAINTS = frozenset({"", *Taint})


class BadReport(ValueError):
    """A frame that is none of a slot's words."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a slot says that an attempt ended; see ``attempt.Ended`` for the fields of the same name."""

    outcome: Outcome
    reason: str = ""
    error_type: str = ""
    error_message: str = ""
    traceback: str = ""
    error_names: tuple[str, ...] = ()
    exit_code: int | None = None
    result: bytes | None = None
    recycle: str = ""
    """Why the slot should not run another job; empty when it may."""
    rss: int = 0
    """Resident bytes of the slot after the attempt."""
    nonce: str = ""
    """Which attempt this is about: what only its slot was told, and a command never sees."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt is: 0 to 100 and a short text."""

    percent: float
    message: str
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Hello:
    """The slot's process id, before anything else."""

    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The slot takes jobs; its resident bytes before the first."""

    rss: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    """A hook of the application failed in a new slot, which ends."""

    traceback: str


@dataclass(frozen=True, slots=True)
class Counted:
    """What metrics of applications counted; ``Totals.apply`` checks each change."""

    changes: list[object]


Report = Done | Progress | Hello | Ready | StartFailed | Counted


def take(buffer: bytearray, max_result_bytes: int | None) -> Report | None:
    """The first report of the buffer, which it leaves; None while it is not whole. Raises ``BadReport``.

    ``max_result_bytes`` is what the running attempt may return; None while no attempt runs.
    """
    limit = MAX_STARTUP_FRAME if max_result_bytes is None else max_result_bytes + OVERHEAD_BYTES
    try:
        frame = next(unpack(buffer, limit), None)
        return None if frame is None else read(frame, max_result_bytes or 0)
    except BadReport:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise BadReport(str(error) or type(error).__name__) from None


def read(frame: Frame, max_result_bytes: int) -> Report:
    """The report that a frame is; raises ``BadReport``."""
    if (said := frame.get("done")) is not None:
        return _done(said, max_result_bytes)
    if (said := frame.get("progress")) is not None:
        return progress(said, _text(frame.get("nonce", ""), MAX_NONCE, "the nonce"))
    if (said := frame.get("counted")) is not None:
        if not isinstance(said, list):
            raise BadReport("counts are no list")
        return Counted(said)
    for word, kind, most in (("hello", Hello, MAX_PID), ("ready", Ready, MAX_RSS)):
        if (said := frame.get(word)) is not None:
            return kind(_number(said, most, word))
    if (said := frame.get("failed")) is not None:
        return StartFailed(_text(said, MAX_TRACEBACK, "the traceback"))
    raise BadReport("a word that slots do not have")


def progress(said: object, nonce: str = "") -> Progress:
    """Progress from ``[percent, message]``; raises ``BadReport``."""
    if not isinstance(said, list) or len(said) != 2:
        raise BadReport("progress is a percentage and a message")
    percent, message = said
    if not isinstance(percent, int | float) or isinstance(percent, bool) or math.isnan(percent):
        raise BadReport("progress is a number")
    if not isinstance(message, str):
        raise BadReport("the message of progress is text")
    return Progress(float(min(100, max(0, percent))), message[:MAX_PROGRESS_MESSAGE], nonce)


def _done(said: object, max_result_bytes: int) -> Done:
    if not isinstance(said, dict):
        raise BadReport("an end is an object")
    try:
        outcome = Outcome(cast("str", said.get("outcome")))
    except ValueError:
        raise BadReport("an end that is none") from None
    reason = said.get("reason", "")
    if outcome not in REASONS or reason not in REASONS[outcome]:
        raise BadReport("an end that is not for a slot to tell")
    error = said.get("error") or ("", "")
    if not isinstance(error, list | tuple) or len(error) != 2:
        raise BadReport("an error is a type and a message")
    recycle = said.get("recycle", "")
    if recycle not in TAINTS:
        raise BadReport("a reason to replace a slot that is none")
    return Done(
        outcome, reason, _text(error[0], MAX_ERROR_TYPE, "the error's type"),
        _text(error[1], MAX_ERROR_MESSAGE, "the error's message"),
        _text(said.get("traceback", ""), MAX_TRACEBACK, "the traceback"), _names(said.get("names", [])),
        result=_result(said, max_result_bytes) if outcome is Outcome.SUCCEEDED else None,
        recycle=recycle, rss=_number(said.get("rss", 0), MAX_RSS, "the memory"),
        nonce=_text(said.get("nonce", ""), MAX_NONCE, "the nonce"),
    )  # fmt: skip


def _result(said: dict[str, object], max_bytes: int) -> bytes:
    if "result" not in said:
        raise BadReport("a success without a result")
    result = orjson.dumps(said["result"])  # raises for what is nested beyond 254 levels
    if len(result) > max_bytes:
        raise BadReport(f"a result of {len(result)} bytes; at most {max_bytes} are kept")
    if deeper_than(result, SHOWN_DEPTH):
        raise BadReport(f"a result that is nested deeper than {SHOWN_DEPTH} levels")
    return result


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_ERROR_NAMES:
        raise BadReport(f"the error's classes are no list of at most {MAX_ERROR_NAMES} names")
    return tuple(_text(name, MAX_ERROR_TYPE, "the name of a class") for name in value)


def _text(value: object, longest: int, what: str) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise BadReport(f"{what} is no text of at most {longest} characters")
    return value


def _number(value: object, most: int, what: str) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise BadReport(f"{what} is no number from 0 to {most}")
    return value
