"""Threads that jobs leave behind: those of a client that waits for its next request, and those that still work."""

import sys
import sysconfig
import threading
import time
from types import FrameType

MAX_KEPT = 16  # threads beyond those that the slot began with
SETTLE_SECONDS = 0.05  # a thread that is at its end is given so long to get there

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_WAITS = {("threading.py", "wait"), ("threading.py", "_wait_for_tstate_lock"), ("queue.py", "get"),
          ("selectors.py", "select"), ("thread.py", "_worker")}  # fmt: skip
_BEGINNINGS = {"_bootstrap", "_bootstrap_inner", "run"}


class Threads:
    """Tells what a job may leave from what it may not.

    A client (of a database, a broker, an error tracker) keeps a thread that waits; to make a slot anew for it would
    make the client anew for each job. So a thread is kept that would not hold up the end of the process (a daemon,
    or an executor's worker) and waits or runs a library's code alone. Any other goes on with the job's work
    beside the next job: the slot is replaced.
    """

    def __init__(self) -> None:
        self._known = set(threading.enumerate())
        self._first = len(self._known)

    def taint(self) -> bool:
        """Whether a thread was left that cannot stay; those that can are known from now on."""
        if threading.active_count() <= len(self._known):
            return False
        limit = time.monotonic() + SETTLE_SECONDS
        while (
            not (kept := self._all_wait()) and time.monotonic() < limit and threading.active_count() > len(self._known)
        ):
            time.sleep(0.001)
        found = set(threading.enumerate())
        if (not kept and found - self._known) or len(found) > self._first + MAX_KEPT:
            return True
        self._known = found
        return False

    def _all_wait(self) -> bool:
        frames = sys._current_frames()
        return all(
            _may_stay(thread, frames.get(thread.ident or 0)) for thread in set(threading.enumerate()) - self._known
        )


def _may_stay(thread: threading.Thread, frame: FrameType | None) -> bool:
    if not (thread.daemon or _of_executor(thread)):
        return False
    if frame is None:
        return True  # it is no thread of Python's
    code = frame.f_code
    if (code.co_filename.rpartition("/")[2], code.co_name) in _WAITS:
        return True
    own = []
    while frame is not None:
        if frame.f_code.co_name not in _BEGINNINGS or not frame.f_code.co_filename.endswith("threading.py"):
            own.append(frame.f_code.co_filename)
        frame = frame.f_back
    return bool(own) and all(name.startswith(_LIBRARIES) for name in own)


def _of_executor(thread: threading.Thread) -> bool:
    executors = sys.modules.get("concurrent.futures.thread")
    return executors is not None and thread in executors._threads_queues


def started_at_import() -> list[str]:
    """Threads beside the main one; a fork does not take them along, and whoever waits for them there waits for ever."""
    return sorted(
        f"{thread.name} ({_whose(thread)})" for thread in threading.enumerate() if thread is not threading.main_thread()
    )


def _whose(thread: threading.Thread) -> str:
    target = getattr(thread, "_target", None)
    return f"{getattr(target, '__module__', '') or type(thread).__module__}.{getattr(target, '__qualname__', '') or type(thread).__qualname__}"
