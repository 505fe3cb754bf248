"""The caller for whom a thread waits, and how that wait ends when the caller leaves.

The thread that answers a request says for whom it waits (``waiting_for``). A store says how its own wait is cut short
(``cut_short``). The caller's end is noticed in another thread, the one that watches the connections, and the wait ends
there as if its time was over: a caller that closed only its sending side still gets its answer, sooner.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

_thread = threading.local()


class WaitingCaller:
    """The caller at the other end of one connection."""

    __slots__ = ("_end_wait", "_lock", "gone")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end_wait: Callable[[], None] | None = None
        self.gone = False
        """Whether the caller has closed the connection, or its sending side."""

    def leave(self) -> None:
        """The caller has left: the wait that is open, and each later one, ends at once."""
        with self._lock:
            self.gone = True
            if self._end_wait is not None:
                self._end_wait()

    def on_leave(self, end_wait: Callable[[], None] | None) -> None:
        """``end_wait`` ends the wait that begins now and must not block; None when that wait is over.

        Under the lock, so that ``end_wait`` is never called after the wait for which it was given.
        """
        with self._lock:
            self._end_wait = end_wait
            if end_wait is not None and self.gone:
                end_wait()


@contextlib.contextmanager
def waiting_for(caller: WaitingCaller | None) -> Iterator[None]:
    """Waits of this thread within the block are for this caller; for None where no connection is watched."""
    _thread.caller = caller
    try:
        yield
    finally:
        _thread.caller = None


@contextlib.contextmanager
def cut_short(end_wait: Callable[[], None]) -> Iterator[WaitingCaller | None]:
    """A wait that ``end_wait`` ends early, should the caller of this thread leave within the block."""
    caller: WaitingCaller | None = getattr(_thread, "caller", None)
    if caller is None:
        yield None
        return
    caller.on_leave(end_wait)
    try:
        yield caller
    finally:
        caller.on_leave(None)
