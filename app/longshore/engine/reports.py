"""What a slot says, checked: a job can reach its slot's socket, so nothing that comes from there is taken on trust."""

import math
from dataclasses import dataclass
from typing import cast

import orjson

from longshore.job.status import Outcome
from longshore.slot.frames import Frame

MAX_PROGRESS_MESSAGE = 256


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
    exit_code: int | None = None
    result: bytes | None = None
    recycle: str = ""
    """Why the slot should not run another job; empty when it may."""
    rss: int = 0
    """Resident bytes of the slot after the attempt."""
    secret: str = ""
    """Of a command that could not be run: what only its slot was told, and the command itself never sees."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt is: 0 to 100 and a short text."""

    percent: float
    message: str


@dataclass(frozen=True, slots=True)
class Hello:
    """The slot's process id, before anything else."""

    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The slot takes jobs; its resident bytes before the first."""

    rss: int


Report = Done | Progress | Hello | Ready


def read(frame: Frame) -> Report:
    """The report that a frame is; raises ``BadReport``."""
    if (said := frame.get("done")) is not None:
        return _done(said)
    if (said := frame.get("progress")) is not None:
        return progress(said)
    for word, kind in (("hello", Hello), ("ready", Ready)):
        if type(said := frame.get(word)) is int and said >= 0:
            return kind(said)
    raise BadReport("a word that slots do not have")


def progress(said: object) -> Progress:
    """Progress from ``[percent, message]``; raises ``BadReport``."""
    if not isinstance(said, list) or len(said) != 2:
        raise BadReport("progress is a percentage and a message")
    percent, message = said
    if not isinstance(percent, int | float) or isinstance(percent, bool) or math.isnan(percent):
        raise BadReport("progress is a number")
    if not isinstance(message, str):
        raise BadReport("the message of progress is text")
    return Progress(float(min(100, max(0, percent))), message[:MAX_PROGRESS_MESSAGE])


def _done(said: object) -> Done:
    if not isinstance(said, dict):
        raise BadReport("an end is an object")
    error = said.get("error") or ("", "")
    texts = [said.get(name, "") for name in ("reason", "traceback", "recycle", "secret")]
    numbers = (said.get("exit"), said.get("rss", 0))
    if (
        not isinstance(error, list | tuple)
        or len(error) != 2
        or not all(isinstance(text, str) for text in (*error, *texts))
        or not all(number is None or type(number) is int for number in numbers)
    ):
        raise BadReport("an end with fields that are none")
    try:
        outcome = Outcome(cast("str", said.get("outcome")))
    except ValueError:
        raise BadReport("an end that is none") from None
    reason, trace, recycle, secret = texts
    result = orjson.dumps(said["result"]) if "result" in said else None
    kind, message = error
    return Done(outcome, reason, kind, message, trace, numbers[0], result, recycle, numbers[1] or 0, secret)
