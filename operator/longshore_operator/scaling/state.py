"""What the leader remembers of a pool from one look to the next, and how it measures what is there."""

from dataclasses import dataclass, field

from longshore_operator.desk import Worker
from longshore_operator.recover import UNSCHEDULABLE, Pod
from longshore_operator.scaling.decide import Capacity, Decision, Demand, History, Why
from longshore_operator.scaling.demand import Offer
from longshore_operator.scaling.pool import Pool
from longshore_operator.scaling.runtimes import Busy
from longshore_operator.scaling.victims import Victims


@dataclass(slots=True)
class State:
    """One Deployment, and what the leader remembers of it."""

    pool: Pool
    victims: Victims
    busy: Busy = field(default_factory=Busy)
    history: History | None = None
    handlers: frozenset[str] | None = None
    slots: int = 0
    """Of one worker, as they say; 0 while none has."""
    demand: Demand = field(default_factory=Demand)
    capacity: Capacity = field(default_factory=lambda: Capacity(0, 1))
    decision: Decision | None = None
    refused: tuple[str, str] | None = None
    """Why it is not scaled, in a word and a sentence."""
    seen_version: int = 0
    stuck_since: float = 0.0
    shrunk_at: float = float("-inf")
    told: tuple[str, str, str] = ("", "", "")
    """The annotations desired-replicas, scaling and handlers, as they were written last."""
    told_why: str | None = None
    """What limits the pool by the annotation reason, as it was written last; None with a new leader."""

    running: int = 0
    """Attempts on its workers."""

    @property
    def slots_of_one(self) -> int:
        """Of one worker: as they say, else as the template says."""
        return self.slots or self.pool.slots

    def measure(self, workers: dict[str, Worker], now: float) -> None:
        """Take note of what its workers are; ``now`` is monotonic."""
        if heard := [worker for worker in workers.values() if worker.boot]:
            self.slots = max(worker.slots for worker in heard)
        for worker in heard:
            if worker.handlers is not None:
                told = worker.handlers | ({""} if worker.commands else set())
                self.handlers = told | (self.handlers or frozenset())
        staying = [one for uid, one in workers.items() if uid not in self.victims.draining and not one.pod.ending]
        troubled = [one.pod for one in staying if one.pod.trouble and not one.boot]
        self.stuck_since = (self.stuck_since or now) if troubled else 0.0
        # The scheduler's word on one pod matters less than the kubelet's on another, which has a node.
        placed = [pod for pod in troubled if pod.stage != UNSCHEDULABLE]
        words = [pod.trouble for pod in placed or troubled]
        self.victims.warn(workers)
        self.running = sum(len(worker.held) for worker in workers.values())
        self.capacity = Capacity(
            workers=max(0, self.pool.replicas - self.pool.refused - self.leaving(workers)),
            slots=self.slots_of_one, busy=sum(bool(worker.held) for worker in staying),
            stuck_seconds=now - self.stuck_since if troubled else 0.0, stuck=len(troubled), refused=self.pool.refused,
            why_stuck=_why(self.pool.refused, placed), words=self.pool.refusal or next(iter(words), ""),
        )  # fmt: skip

    def leaving(self, workers: dict[str, Worker]) -> int:
        """Pods that replicas count and that take nothing more: those drained to go, and those that somebody drained by hand."""
        draining = self.victims.draining
        return len(draining) + sum(
            one.pod.drained and not one.pod.ending for uid, one in workers.items() if uid not in draining
        )

    def offer(self) -> Offer:
        """What it could do for waiting jobs."""
        knobs, slots = self.pool.knobs, max(1, self.capacity.slots)
        hindered = knobs is not None and self.capacity.hindered(knobs)
        able = self.capacity.workers - (self.capacity.stuck if hindered else 0)
        free = max(0, able * slots - self.running)
        if knobs is None:
            return Offer(self.pool, self.handlers, free, 0)
        grows = self.refused is None and not hindered
        room = max(0, knobs.max_workers - self.capacity.workers) * slots if grows else 0
        return Offer(self.pool, self.handlers, free, room, knobs.target_wait_seconds, knobs.prewarm_seconds)


def _why(refused: int, placed: list[Pod]) -> Why:
    """What hinders pods: the API server, the kubelet or the scheduler."""
    return Why.PODS_REFUSED if refused else Why.NOT_STARTING if placed else Why.UNSCHEDULABLE
