"""The engine's event loop: file descriptors, timers, nothing else. One thread, no wake-up without a cause."""

import heapq
import itertools
import selectors
import socket
import time
from collections.abc import Callable

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class Timer:
    """A call that is due at a monotonic time; ``cancel`` is free and lazy."""

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """The call will not happen."""
        self.call = None


class Loop:
    """Waits for whatever comes first and calls back. Callbacks never block."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._tie = itertools.count()
        self.turns = 0

    def watch(self, fd: int, events: int, call: Callable[[int], None]) -> None:
        """Call ``call(ready_events)`` whenever ``fd`` is ready; replaces an earlier watch of the same fd."""
        try:
            self._selector.modify(fd, events, call)
        except KeyError:
            self._selector.register(fd, events, call)

    def unwatch(self, fd: int) -> None:
        """Forget ``fd``; harmless when it is not watched. Do it before closing the descriptor."""
        try:
            self._selector.unregister(fd)
        except KeyError:
            pass  # never watched, or forgotten already: both are what the caller wants

    def at(self, when: float, call: Callable[[], None]) -> Timer:
        """Call once at monotonic time ``when``."""
        timer = Timer(when, call)
        heapq.heappush(self._timers, (when, next(self._tie), timer))
        return timer

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call once, so many seconds from now."""
        return self.at(time.monotonic() + seconds, call)

    def turn(self, *, block: bool = True, at_most: float | None = None) -> int:
        """Run what is ready; with ``block`` wait for the first cause, at most so many seconds. How many callbacks ran."""
        self.turns += 1
        ran = 0
        for key, events in self._selector.select(self._patience(at_most) if block else 0):
            # A callback may have closed or rewatched a later one of the same round, whose number may be another's by
            # now. What is still ready then comes again in the next turn.
            if self._selector.get_map().get(key.fd) is key:
                key.data(events)
                ran += 1
        return ran + self._run_timers()

    def _patience(self, at_most: float | None) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return at_most
        first = max(0.0, self._timers[0][0] - time.monotonic())
        return first if at_most is None else min(first, at_most)

    def _run_timers(self) -> int:
        ran = 0
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            call = heapq.heappop(self._timers)[2].call
            if call is not None:
                call()
                ran += 1
        return ran

    def close(self) -> None:
        """Release the selector; watched descriptors stay open."""
        self._selector.close()


def receive(sock: socket.socket, size: int) -> bytes | None:
    """What has come by now, at most ``size`` bytes; None when nothing has, ``b""`` when the other end is gone."""
    try:
        return sock.recv(size)
    except BlockingIOError:
        return None
    except OSError:
        return b""
