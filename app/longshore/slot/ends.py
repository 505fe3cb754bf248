"""How an attempt ended, as a slot tells it: the ``done`` of its last frame."""

import traceback
from collections.abc import Iterator

import orjson
from pydantic import ValidationError

from longshore import json_form
from longshore.job.status import Outcome, Reason
from longshore.job.wording import sentence
from longshore.slot.frames import MAX_ERROR_MESSAGE, MAX_ERROR_NAMES, MAX_ERROR_TYPE, MAX_TRACEBACK, Frame


def returned(value: object, limit: int) -> Frame:
    """The handler returned; a failure when JSON cannot carry that, or it takes more than ``limit`` bytes."""
    try:
        body = json_form.encode(value)
    except TypeError as error:
        said = f"a handler returns what JSON can carry: {error}"
        return failure(Reason.RESULT_NOT_JSON, Reason.RESULT_NOT_JSON, said)
    if len(body) > limit:
        said = f"the result takes {len(body)} bytes of JSON; at most {limit} are kept"
        return failure(Reason.RESULT_TOO_LARGE, Reason.RESULT_TOO_LARGE, said)
    return {"outcome": Outcome.SUCCEEDED.value, "result": orjson.Fragment(body)}


def failure(reason: str, kind: str, message: str, trace: str = "") -> Frame:
    """The attempt failed."""
    return {
        "outcome": Outcome.FAILED.value,
        "reason": reason,
        "error": [text(kind), text(message[:MAX_ERROR_MESSAGE])],
        "traceback": text(trace),
    }


def stopped(error: BaseException) -> Frame:
    """The attempt was told to stop, and did."""
    said = text(str(error))[:MAX_ERROR_MESSAGE]
    return {"outcome": Outcome.CANCELLED.value, "reason": Reason.CANCELLED, "error": ["JobCancelled", said]}


def text(said: str) -> str:
    """What can be sent of it: file names may hold bytes that are no UTF-8."""
    return said if said.isascii() else said.encode("utf-8", "replace").decode()


def invalid(error: ValidationError, name: str) -> Frame:
    """Arguments that do not fit; an error of the handler's own validation is an error like any other."""
    if error.title != name:
        return raised(error)
    where = "; ".join(
        f"{'.'.join(str(part).removeprefix('field_') for part in e['loc']) or 'args'}: {sentence(e['type'], e['msg'])}"
        for e in error.errors()
    )
    return failure(Reason.INVALID_ARGS, Reason.INVALID_ARGS, where)


def raised(error: BaseException) -> Frame:
    """The handler raised."""
    trace = "".join(traceback.format_exception(error, limit=-50))
    if len(trace) > MAX_TRACEBACK:  # the lines that lead there, and the end of a message that is too long
        half = MAX_TRACEBACK // 2 - 3
        trace = f"{trace[:half]}\n...\n{trace[-half:]}"
    done = failure(Reason.HANDLER_ERROR, _name(type(error))[:MAX_ERROR_TYPE], _message(error), trace)
    names = [text(name[:MAX_ERROR_TYPE]) for name in dict.fromkeys(_names(error))]
    return done | {"names": names[:MAX_ERROR_NAMES]}


def _name(kind: type[BaseException]) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception as broken:  # an exception of the job's own that cannot even be printed
        return f"(its message cannot be read: {type(broken).__name__})"
    if isinstance(error, BaseExceptionGroup):  # what went wrong is what its members say
        members = [f"{_name(type(one))}: {_message(one)}" for one in error.exceptions[:10]]
        return f"{message}: {'; '.join(members)}"
    return message


def _names(error: BaseException) -> Iterator[str]:
    """Names that retry.on and retry.except may call it by: its class, bases, and the same of a group's members."""
    members: list[BaseException] = [error]
    bases: list[type] = []
    for one in members:  # grows while it is walked through
        yield from (_name(type(one)), type(one).__name__)
        bases += type(one).__mro__[1:-1]
        if isinstance(one, BaseExceptionGroup):
            members += one.exceptions
        if len(members) > MAX_ERROR_NAMES:
            break
    for base in bases:
        yield from (_name(base), base.__name__)
