"""What applications want to be done when a process of the service begins and ends.

There are three kinds of processes that import applications: the template, once, before it forks the first slot;
each slot; the api process. Start hooks run in the order of their definition, stop hooks in reverse. All hooks of one process
share one limit of time, ``hook_seconds``, because a start that hangs is worse than one that is refused by name.
"""

import inspect
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from longshore.errors import AppError

Hook = Callable[[], object]

STOP_SECONDS = 5.0
"""For all stop hooks of an api process; gunicorn ends it 10 s after its SIGTERM."""
_AGAIN_SECONDS = 1.0  # for a hook that catches everything

TEMPLATE_STARTS: list[Hook] = []
"""In the template, when all applications are imported and before it forks."""

SLOT_STARTS: list[Hook] = []
"""In each slot, before its first job."""

SLOT_STOPS: list[Hook] = []
"""In each slot, after its last job."""

API_STARTS: list[Hook] = []
"""In the api process, before its first request."""

API_STOPS: list[Hook] = []
"""In the api process, after its last request."""

STARTED: set[str] = set()
"""Kinds of start hooks that are done in this process, or in the one that it was forked from."""


class TookTooLong(BaseException):
    """Raised inside a hook whose time is over."""


def on_template_start(function: Hook) -> Hook:
    """Register what is done once, before slots are forked: read models and tables that all slots share.

    No connection and no thread may begin here; neither survives a fork. Raising stops the start.
    """
    return _add(TEMPLATE_STARTS, function)


def on_slot_start(function: Hook) -> Hook:
    """Register what each slot does before its first job: open connections, start clients. Raising ends the slot."""
    return _add(SLOT_STARTS, function)


def on_slot_stop(function: Hook) -> Hook:
    """Register what a slot does after its last job, before ``atexit``; not when it crashes or is killed."""
    return _add(SLOT_STOPS, function)


def on_api_start(function: Hook) -> Hook:
    """Register what the api process does before its first request: open what views need. Raising stops the start."""
    return _add(API_STARTS, function)


def on_api_stop(function: Hook) -> Hook:
    """Register what the api process does after its last request; not when it crashes or is killed."""
    return _add(API_STOPS, function)


def _add(hooks: list[Hook], function: Hook) -> Hook:
    if inspect.iscoroutinefunction(function):
        raise ValueError(f"{function.__qualname__} is async: a slot has no event loop between jobs; use asyncio.run")
    if function not in hooks:
        hooks.append(function)
    return function


def start(kind: str, hooks: Sequence[Hook], seconds: float) -> None:
    """Run them, in ``seconds`` in all; raises AppError that names the one which raised or took too long.

    Only in the main thread of a process: an alarm ends what takes too long, so that nothing has to wait in a thread.
    """
    limit = time.monotonic() + seconds
    for hook in hooks:
        try:
            with _limited(limit - time.monotonic()):
                hook()
        except TookTooLong:
            raise AppError(
                f"{name_of(kind, hook)} is not done within the {seconds:g} seconds of all {kind} hooks; "
                "the setting hook_seconds can be more"
            ) from None
        except BaseException as error:
            first = next(iter(str(error).strip().splitlines()), "")
            raise AppError(f"{name_of(kind, hook)} raised {type(error).__name__}: {first}"[:1000]) from error
    STARTED.add(kind)


def stop(kind: str, hooks: Sequence[Hook], seconds: float) -> None:
    """Run them in reverse, in ``seconds`` in all; what one raises is printed, and the others get their turn."""
    limit = time.monotonic() + seconds
    for hook in reversed(hooks):
        try:
            with _limited(limit - time.monotonic()):
                hook()
        except BaseException:
            print(f"{name_of(kind, hook)} failed:\n{traceback.format_exc()}", flush=True)  # noqa: T201 - the log of a process that ends


def name_of(kind: str, hook: Hook) -> str:
    """The hook as its author knows it."""
    return f"@{kind} {getattr(hook, '__qualname__', hook)} of {getattr(hook, '__module__', '?')}"


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def late(_number: int, _frame: FrameType | None) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), _AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
