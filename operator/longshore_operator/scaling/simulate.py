"""A pool under a load, without any pod: arrivals, run times and the operator's own ``decide`` rule, on a clock of its own.

Pure. What it leaves out: the time that the operator itself takes (milliseconds a job), nodes that have no room, rollouts,
jobs that fail, limits of queues.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from longshore_operator.scaling.decide import Capacity, Decision, Demand, History, Knobs, decide
from longshore_operator.scaling.runtimes import Busy, RunTimes

TICK_SECONDS = 1.0
DRAIN_SECONDS = 3.0  # from the choice of an idle worker until its pod is going: drain, probe, watch, scale
HANDLER = "job"


@dataclass(slots=True)
class Seen:
    """What happened; times in seconds since the begin."""

    waits: list[float] = field(default_factory=list)
    """From arrival to start, of every job."""
    workers: list[tuple[float, int]] = field(default_factory=list)
    """Time and number of workers, starting ones included, at every change."""
    decisions: list[tuple[float, Capacity, Demand, Decision]] = field(default_factory=list)
    """All of them, if they were asked for."""
    busy_seconds: float = 0.0
    """Of all slots."""
    end: float = 0.0

    @property
    def worker_seconds(self) -> float:
        """What is paid for."""
        ends = itertools.chain((at for at, _ in self.workers[1:]), (self.end,))
        return sum(count * (until - at) for (at, count), until in zip(self.workers, ends, strict=True))


class Simulation:
    """One pool. ``arrivals`` are (time, run time) in seconds, by time; ``start_seconds`` is from replica to ready."""

    def __init__(self, knobs: Knobs, *, slots: int = 4, start_seconds: float = 10.0, keep: bool = False) -> None:
        self._knobs, self._slots, self._start, self._keep = knobs, slots, start_seconds, keep
        self._events: list[tuple[float, int, str, object]] = []
        self._order = itertools.count()
        self._free: dict[int, int] = {}
        """Free slots of the workers that are ready and stay, by worker."""
        self._with: list[dict[int, None]] = [{} for _ in range(slots + 1)]
        """The same workers by their number of free slots."""
        self._replicas = knobs.min_workers
        self._leaving = 0
        self._names = itertools.count()
        self._queue: deque[tuple[float, float]] = deque()
        self._running = 0
        self._times, self._busy = RunTimes(), Busy()
        self.seen = Seen()

    def run(self, arrivals: Iterable[tuple[float, float]], *, until: float) -> Seen:
        """To the end."""
        source = iter(arrivals)
        self._next(source)
        for _ in range(self._replicas):
            self._set(next(self._names), self._slots)
        self.seen.workers.append((0.0, self._replicas))
        history = History.begin(self._replicas, 0.0)
        self._at(0.0, "tick", history)
        while self._events and self._events[0][0] <= until:
            now, _, kind, what = heapq.heappop(self._events)
            if kind == "arrival":
                self._queue.append((now, what))  # type: ignore[arg-type]  # by kind
                self._next(source)
                if not self._replicas:  # the first job does not wait for a tick
                    history = self._decide(history, now)
            elif kind == "end":
                self._ended(now, *what)  # type: ignore[misc]
            elif kind == "ready":
                self._set(next(self._names), self._slots)
            elif kind == "gone":
                self._leaving -= 1
            else:
                history = self._decide(history, now)
                self._at(now + TICK_SECONDS, "tick", None)
            self._dispatch(now)
        self.seen.end = until
        return self.seen

    def _set(self, worker: int, free: int) -> None:
        if worker in self._free:
            del self._with[self._free[worker]][worker]
        self._free[worker] = free
        self._with[free][worker] = None

    def _at(self, when: float, kind: str, what: object) -> None:
        heapq.heappush(self._events, (when, next(self._order), kind, what))

    def _next(self, source: Iterable[tuple[float, float]]) -> None:
        for when, seconds in source:
            self._at(when, "arrival", seconds)
            return

    def _dispatch(self, now: float) -> None:
        while self._queue:
            able = next((workers for workers in reversed(self._with[1:]) if workers), None)
            if able is None:
                return
            worker = next(iter(able))  # the emptiest, as the dispatcher's choice
            arrived, seconds = self._queue.popleft()
            self._set(worker, self._free[worker] - 1)
            self._running += 1
            self.seen.waits.append(now - arrived)
            self._at(now + seconds, "end", (worker, seconds))

    def _ended(self, now: float, worker: int, seconds: float) -> None:
        self._running -= 1
        self._set(worker, self._free[worker] + 1)
        self._times.ran(HANDLER, seconds)
        self._busy.ran(now, seconds)
        self.seen.busy_seconds += seconds

    def demand(self, now: float) -> Demand:
        """As the operator would see it."""
        waiting = len(self._queue)
        share = self._times.share(HANDLER, self._knobs.target_wait_seconds)
        return Demand(
            running=self._running, used_slots=self._busy.slots(now), waiting_jobs=waiting, waiting_slots=waiting * share
        )

    def _decide(self, history: History, now: float) -> History:
        busy = len(self._free) - len(self._with[self._slots])
        capacity, demand = Capacity(self._replicas, self._slots, busy), self.demand(now)
        decision, history = decide(self._knobs, demand, capacity, history, now)
        if self._keep:
            self.seen.decisions.append((now, capacity, demand, decision))
        for _ in range(decision.workers - self._replicas):
            self._at(now + self._start, "ready", None)
        surplus = self._replicas - decision.workers
        idle = list(itertools.islice(self._with[self._slots], max(0, surplus)))
        for name in idle:  # only those that are there and do nothing; starting ones are waited for
            del self._free[name], self._with[self._slots][name]
            self._leaving += 1
            self._at(now + DRAIN_SECONDS, "gone", None)
        self._replicas = max(decision.workers, self._replicas - len(idle))
        paid = self._replicas + self._leaving
        if paid != self.seen.workers[-1][1]:
            self.seen.workers.append((now, paid))
        return history
