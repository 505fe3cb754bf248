"""A pool under a load, without any pod: arrivals, run times and the operator's own ``decide`` rule, on a clock of its own.

Pure. What it leaves out: how the operator slows down under load (``limits`` tells when that matters), nodes that have no
room, rollouts, jobs that fail, limits of queues.
"""

import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from longshore_operator.scaling.arrivals import Arrival
from longshore_operator.scaling.decide import Capacity, Decision, Demand, History, Knobs, decide
from longshore_operator.scaling.runtimes import Busy, RunTimes

TICK_SECONDS = 1.0
DRAIN_SECONDS = 3.0  # from the choice of an idle worker until its pod is going: drain, probe, watch, scale
HANDOVER_SECONDS = 0.01  # from the end of a slot's job to the begin of its next; `bench.node`, create → body starts
RUNNING_PATCH_SECONDS = 2.0  # a job that runs longer is told to be Running, which is a request more
LOAD_SECONDS = 10  # the operator's load is told as an average over so long


class Sample(NamedTuple):
    """The pool after one look of the scaler."""

    at: float
    """Seconds since the begin."""
    workers: int
    """That are paid: starting, ready and leaving ones."""
    busy: int
    """Workers that run a job."""
    waiting: int
    """Jobs."""


@dataclass(slots=True)
class Seen:
    """What happened; times in seconds since the begin."""

    waits: list[float] = field(default_factory=list)
    """From arrival to start, of every job; the shortest first, once it is over."""
    workers: list[tuple[float, int]] = field(default_factory=list)
    """Time and number of workers, starting ones included, at every change."""
    decisions: list[tuple[float, Capacity, Demand, Decision]] = field(default_factory=list)
    """All of them, if they were asked for."""
    samples: list[Sample] = field(default_factory=list)
    """One of each look, a second apart."""
    ended: Counter[int] = field(default_factory=Counter)
    """Jobs that ended, by stretch of ``LOAD_SECONDS``."""
    requests: Counter[int] = field(default_factory=Counter)
    """To the API server, by the same: create, Running when it runs long, outcome, delete (which comes later, at its time to live)."""
    live: int = 0
    """Jobs that waited or ran at one time, at most."""
    busy_seconds: float = 0.0
    """Of all slots."""
    last_end: float = 0.0
    """When the last job ended."""
    end: float = 0.0
    """Of the simulation."""

    def waited(self, percent: float) -> float:
        """So many seconds, at most, did this share of the jobs wait; there must have been one."""
        return self.waits[min(len(self.waits) - 1, int(len(self.waits) * percent / 100))]

    @property
    def worker_seconds(self) -> float:
        """What is paid for."""
        ends = itertools.chain((at for at, _ in self.workers[1:]), (self.end,))
        return sum(count * (until - at) for (at, count), until in zip(self.workers, ends, strict=True))


class Simulation:
    """One pool. ``start_seconds`` is from a new replica to a worker that takes jobs, ``handover_seconds`` from the end of a
    slot's job to the begin of its next.
    """

    def __init__(self, knobs: Knobs, *, slots: int = 4, start_seconds: float = 10.0, handover_seconds: float = HANDOVER_SECONDS,
                 keep: bool = False) -> None:  # fmt: skip
        self._knobs, self._slots, self._keep = knobs, slots, keep
        self._start, self._handover = start_seconds, handover_seconds
        self._events: list[tuple[float, int, str, object]] = []
        self._order = itertools.count()
        self._free: dict[int, int] = {}
        """Free slots of the workers that are ready and stay, by worker."""
        self._with: list[dict[int, None]] = [{} for _ in range(slots + 1)]
        """The same workers by their number of free slots."""
        self._replicas = knobs.min_workers
        self._leaving = 0
        self._names = itertools.count()
        self._coming = True
        self._queue: deque[Arrival] = deque()
        self._waiting: Counter[str] = Counter()
        """The same jobs by handler."""
        self._running = 0
        self._times, self._busy = RunTimes(), Busy()
        self.seen = Seen()

    def run(self, arrivals: Iterable[Arrival], *, until: float) -> Seen:
        """``arrivals`` are in the order of time. With ``until`` infinite: to the end of the last job, if there may be workers."""
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
                self._arrived(what)  # type: ignore[arg-type]  # by kind
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
            if kind == "tick":
                self._sample(now)
                if math.isinf(until) and not (self._coming or self._queue or self._running):
                    until = now
        self.seen.end = until
        self.seen.waits.sort()
        return self.seen

    def _set(self, worker: int, free: int) -> None:
        if worker in self._free:
            del self._with[self._free[worker]][worker]
        self._free[worker] = free
        self._with[free][worker] = None

    def _at(self, when: float, kind: str, what: object) -> None:
        heapq.heappush(self._events, (when, next(self._order), kind, what))

    def _next(self, source: Iterator[Arrival]) -> None:
        arrival = next(source, None)
        self._coming = arrival is not None
        if arrival is not None:
            self._at(arrival.at, "arrival", arrival)

    def _arrived(self, job: Arrival) -> None:
        self._queue.append(job)
        self._waiting[job.handler] += 1
        self.seen.live = max(self.seen.live, len(self._queue) + self._running)
        self.seen.requests[int(job.at) // LOAD_SECONDS] += 1

    def _dispatch(self, now: float) -> None:
        while self._queue:
            able = next((workers for workers in reversed(self._with[1:]) if workers), None)
            if able is None:
                return
            worker = next(iter(able))  # the emptiest, as the dispatcher's choice
            job = self._queue.popleft()
            self._waiting[job.handler] -= 1
            self._set(worker, self._free[worker] - 1)
            self._running += 1
            self.seen.waits.append(now - job.at)
            self._at(now + job.seconds + self._handover, "end", (worker, job))

    def _ended(self, now: float, worker: int, job: Arrival) -> None:
        self._running -= 1
        self._set(worker, self._free[worker] + 1)
        self._times.ran(job.handler, job.seconds)
        self._busy.ran(now, job.seconds)
        self.seen.busy_seconds += job.seconds
        self.seen.last_end = now - self._handover
        stretch = int(now) // LOAD_SECONDS
        self.seen.ended[stretch] += 1
        self.seen.requests[stretch] += 2 if job.seconds <= RUNNING_PATCH_SECONDS else 3

    def _sample(self, now: float) -> None:
        busy = len(self._free) - len(self._with[self._slots])
        self.seen.samples.append(Sample(now, self._replicas + self._leaving, busy, len(self._queue)))

    def demand(self, now: float) -> Demand:
        """As the operator would see it."""
        target = self._knobs.target_wait_seconds
        slots = sum(jobs * self._times.share(handler, target) for handler, jobs in self._waiting.items())
        return Demand(
            running=self._running, used_slots=self._busy.slots(now), waiting_jobs=len(self._queue), waiting_slots=slots
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
