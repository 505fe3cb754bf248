"""The budget of requests that wait: each holds a thread, and the others must stay free for those who do not."""

import contextlib
import threading
from collections.abc import Iterator

from flask import request

from longshore.api.connections.outgoing import Outgoing
from longshore.errors import Unavailable
from longshore.store.waiting_caller import WaitingCaller, waiting_for


def caller_of_request() -> WaitingCaller | None:
    """The caller who may leave; None where no poller watches the connection, as in Flask's test client."""
    out = request.environ.get("gunicorn.socket")
    return out.caller() if isinstance(out, Outgoing) else None


class Budget:
    """At most so many waits at a time; the rest is answered at once."""

    def __init__(self, size: int) -> None:
        self._free = threading.BoundedSemaphore(size) if size else None
        self.open_streams = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def wait(self, seconds: float) -> Iterator[float]:
        """The seconds that may be waited: those asked for, or 0 when the budget is used up.

        Waits within the block end early when the caller leaves.
        """
        if not seconds or self._free is None or not self._free.acquire(blocking=False):
            yield 0.0
            return
        try:
            with waiting_for(caller_of_request()):
                yield seconds
        finally:
            self._free.release()

    def open_stream(self) -> None:
        """Take a place for a stream; raises Unavailable when there is none."""
        if self._free is None or not self._free.acquire(blocking=False):
            raise Unavailable("all places for streams and waits are taken", retry_after=5)
        with self._lock:
            self.open_streams += 1

    def close_stream(self) -> None:
        """Give it back."""
        assert self._free is not None
        self._free.release()
        with self._lock:
            self.open_streams -= 1
