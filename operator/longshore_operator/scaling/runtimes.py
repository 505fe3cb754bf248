"""How long jobs run, by handler, and how many slots they keep busy. Pure; learnt from attempts that ended."""

from collections import OrderedDict, deque
from typing import Final

WEIGHT: Final = 0.2  # of the latest run in the average: five runs on, it has two thirds of the say
MAX_HANDLERS: Final = 1000
BUSY_SECONDS: Final = 10.0


class RunTimes:
    """Seconds that jobs of a handler run, as a moving average; the handlers that ran latest are remembered."""

    def __init__(self) -> None:
        self._seconds: OrderedDict[str, float] = OrderedDict()

    def ran(self, handler: str, seconds: float) -> None:
        """An attempt has ended by itself."""
        before = self._seconds.pop(handler, seconds)
        self._seconds[handler] = before + WEIGHT * (max(0.0, seconds) - before)
        if len(self._seconds) > MAX_HANDLERS:
            self._seconds.popitem(last=False)

    def seconds(self, handler: str) -> float | None:
        """The average; None for a handler that has not been seen."""
        return self._seconds.get(handler)

    def share(self, handler: str, target_wait: float) -> float:
        """Slots that one waiting job of the handler wants, so that none waits longer: min(1, run time / target wait).

        An unknown handler wants a whole slot.
        """
        seconds = self._seconds.get(handler)
        return 1.0 if seconds is None or seconds >= target_wait else seconds / target_wait


class Busy:
    """Slot-seconds that ended in the last ``BUSY_SECONDS``, by whole seconds: short jobs are seen though they run between two looks."""

    def __init__(self) -> None:
        self._cells: deque[tuple[int, float]] = deque()

    def ran(self, now: float, seconds: float) -> None:
        """An attempt that ran so long has ended; no more than the window of it counts. ``now`` is monotonic."""
        cell = int(now)
        seconds = min(max(0.0, seconds), BUSY_SECONDS)
        if self._cells and self._cells[-1][0] == cell:
            seconds += self._cells.pop()[1]
        self._cells.append((cell, seconds))
        while self._cells[0][0] <= cell - BUSY_SECONDS:
            self._cells.popleft()

    def slots(self, now: float) -> float:
        """Slots that were busy on average."""
        while self._cells and self._cells[0][0] <= int(now) - BUSY_SECONDS:
            self._cells.popleft()
        return sum(seconds for _, seconds in self._cells) / BUSY_SECONDS
