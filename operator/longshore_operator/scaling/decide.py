"""How many workers a pool should have now, and why, in one sentence. Pure: values and ``now`` in, a decision out.

The rule, for one pool; ``docs/scaling.md`` has worked examples:

1. *Wanted slots* = max(attempts that run, slots that were busy on average) + jobs that wait or are due soon, each times
   min(1, run time of its handler / target wait) + headroom. A job that runs longer than the target wait needs a slot of
   its own; of shorter ones several take turns on one slot within that time.
2. *Target* = wanted slots / slots of a worker, rounded up, within minimum and maximum; one, not zero, until the pool has
   had nothing to do for ``idle_seconds``.
3. *Up* at once, by ``up_workers`` or ``up_percent`` (what is more) every ``UP_SECONDS``. Workers that are starting are
   among the present ones, so nothing is asked for twice. Pods that find no node, that do not start, or
   that the API server refuses (a quota, a limit range, Pod Security) stop it.
4. *Down* to the highest target of the last ``window_seconds``, by ``down_percent`` at a time, every ``DOWN_SECONDS``, not
   below the workers that are busy. So whatever was needed a moment ago is still there.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

UP_SECONDS = 15.0  # as the HorizontalPodAutoscaler's own policy
DOWN_SECONDS = 5.0  # a drain and a look at what it did
TOLERANCE = 0.1  # fewer workers by less than that share are not worth a change; as the HorizontalPodAutoscaler's


class Why(StrEnum):
    """What decided."""

    STEADY = "Steady"  # as many as are wanted
    DEMAND = "Demand"  # more work, more workers
    MINIMUM = "Minimum"  # the pool's minimum
    MAXIMUM = "Maximum"  # more are wanted than there may be
    GROWTH_LIMIT = "GrowthLimit"  # more are wanted than may be added at a time
    UNSCHEDULABLE = "Unschedulable"  # more are wanted, but pods find no node
    NOT_STARTING = "NotStarting"  # more are wanted, but pods do not start: image, configuration, crash loop
    PODS_REFUSED = "PodsRefused"  # more are wanted, but the API server refuses pods: quota, limit range, Pod Security
    STABILISING = "Stabilising"  # fewer are wanted, but not for long enough
    STEP_LIMIT = "StepLimit"  # fewer are wanted than may be removed at a time
    BUSY = "Busy"  # fewer are wanted, but the others run jobs
    IDLE_TIME = "IdleTime"  # the last one waits for its idle time
    LESS_DEMAND = "LessDemand"  # less work, fewer workers
    IDLE = "Idle"  # nothing to do for so long that none is kept

    @property
    def limited(self) -> bool:
        """Whether more workers are wanted than there will be."""
        hindrances = (Why.UNSCHEDULABLE, Why.NOT_STARTING, Why.PODS_REFUSED)
        return self in (Why.MAXIMUM, Why.GROWTH_LIMIT, *hindrances)


@dataclass(frozen=True, slots=True)
class Knobs:
    """How a pool scales; times in seconds."""

    min_workers: int
    max_workers: int
    target_wait_seconds: float = 5.0
    """Time within which a waiting job should find a slot."""
    headroom_slots: int = 0
    """Slots that are kept free beyond what is wanted; with any, the pool does not go to zero."""
    window_seconds: float = 60.0
    """The highest target of so long is kept."""
    idle_seconds: float = 60.0
    """The last worker goes after so long without anything to do."""
    up_workers: int = 4
    """Workers that may be added every 15 seconds …"""
    up_percent: int = 100
    """… or this share of those that are there, if that is more."""
    down_percent: int = 25
    """Share of the workers that may be removed every 5 seconds; one always may."""
    prewarm_seconds: float = 30.0
    """Jobs whose time comes within so long count as waiting."""
    unschedulable_seconds: float = 60.0
    """Pods that have found no node, or have not been able to start, for so long stop further growth."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What there is to do for a pool."""

    running: int = 0
    """Attempts on its workers."""
    used_slots: float = 0.0
    """Slots that were busy on average in the last seconds: short jobs run between two looks."""
    waiting_jobs: float = 0.0
    """Jobs and items that could run now if there were room; a share of them where several pools serve a queue."""
    waiting_slots: float = 0.0
    """The same, each times min(1, its run time / target wait)."""
    due_jobs: float = 0.0
    """Those whose time comes soon."""
    due_slots: float = 0.0
    curious: bool = False
    """Whether jobs wait for a handler that no worker of any pool is known to have: one worker has to tell."""

    def slots(self, headroom: int = 0) -> float:
        """Slots that are wanted."""
        return max(self.running, self.used_slots) + self.waiting_slots + self.due_slots + headroom

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.running or self.waiting_jobs or self.due_jobs or self.curious)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a pool has."""

    workers: int
    """Pods that are there or will be: starting ones are among them, those that drain to go, or that the API server
    refuses, are not."""
    slots: int
    """Of one worker."""
    busy: int = 0
    """Workers that run something."""
    stuck_seconds: float = 0.0
    """For how long pods have found no node or have not been able to start; 0 without such a pod."""
    stuck: int = 0
    """How many such pods there are."""
    refused: int = 0
    """Pods that the Deployment asks for and the API server refuses."""
    why_stuck: Why = Why.UNSCHEDULABLE
    """What hinders them, if anything does: UNSCHEDULABLE, NOT_STARTING or PODS_REFUSED."""
    words: str = ""
    """The same in the cluster's own words."""

    def hindered(self, knobs: Knobs) -> bool:
        """Whether pods that do not come stop growth."""
        return self.refused > 0 or self.stuck_seconds > knobs.unschedulable_seconds


@dataclass(frozen=True, slots=True)
class History:
    """What has to be remembered from one decision to the next; times are monotonic."""

    targets: tuple[tuple[float, int], ...]
    """Time and target of each moment that is not overtaken by a later, higher one: falling, the highest first."""
    up_from: tuple[float, int]
    """When the present window of growth began, and with how many."""
    down_at: float
    """When workers were removed last."""
    active_at: float
    """When there was last something to do."""

    @classmethod
    def begin(cls, workers: int, now: float) -> "History":
        """Of a pool that is seen for the first time: nothing is removed before a whole window has been seen."""
        return cls(((now, workers),), (now, workers), now, now)

    def seen(self, target: int, now: float, window: float) -> "History":
        """With one more target."""
        kept = tuple(entry for entry in self.targets if entry[1] > target and entry[0] > now - window)
        return replace(self, targets=(*kept, (now, target)))


@dataclass(frozen=True, slots=True)
class Decision:
    """How many workers, and why."""

    workers: int
    wanted: int
    """Without any limit."""
    why: Why
    message: str


def decide(knobs: Knobs, demand: Demand, capacity: Capacity, history: History, now: float) -> tuple[Decision, History]:
    """The number of workers from now on, and what to remember. ``now`` is monotonic."""
    wanted = workers_for(demand.slots(knobs.headroom_slots), capacity.slots)
    if demand.any:
        wanted = max(1, wanted)
        history = replace(history, active_at=now)
    target = min(max(wanted, knobs.min_workers), knobs.max_workers)
    idle = now - history.active_at
    if target == 0 and capacity.workers and idle < knobs.idle_seconds:
        target = 1
    history = history.seen(target, now, knobs.window_seconds)
    if now - history.up_from[0] >= UP_SECONDS or capacity.workers < history.up_from[1]:
        history = replace(history, up_from=(now, capacity.workers))
    if target > capacity.workers:
        workers, why = _up(knobs, target, wanted, capacity, history)
    elif target < capacity.workers:
        workers, why = _down(knobs, capacity, history, now, wanted)
    else:
        workers, why = target, _standing(knobs, target, wanted, capacity, idle)
    if workers < capacity.workers:
        history = replace(history, down_at=now)
    message = _hindrance(why, knobs, demand, max(wanted, target), capacity.words) or _sentence(
        why, knobs, demand, wanted, workers
    )
    return Decision(workers, wanted, why, message), history


def workers_for(slots: float, of_one: int) -> int:
    """Workers that have so many slots; less than a millionth of a slot is rounding."""
    return math.ceil(slots / max(1, of_one) - 1e-6)


def _standing(knobs: Knobs, target: int, wanted: int, capacity: Capacity, idle: float) -> Why:
    if target > capacity.workers - capacity.stuck and capacity.hindered(knobs):
        return capacity.why_stuck  # there are as many as are wanted, but not all of them can work
    if wanted > target:
        return Why.MAXIMUM
    if wanted == 0 and target == 1 and knobs.min_workers == 0 and idle < knobs.idle_seconds:
        return Why.IDLE_TIME
    if wanted < target:
        return Why.MINIMUM
    return Why.IDLE if target == 0 else Why.STEADY


def _up(knobs: Knobs, target: int, wanted: int, capacity: Capacity, history: History) -> tuple[int, Why]:
    here = capacity.workers
    if capacity.hindered(knobs):
        # The Deployment goes on asking for those that were refused: the API server may let them in.
        return min(target, here + capacity.refused), capacity.why_stuck
    base = history.up_from[1]
    most = base + max(knobs.up_workers, base * knobs.up_percent // 100)
    workers = max(here, min(target, max(most, knobs.min_workers)))
    if workers < target:
        return workers, Why.GROWTH_LIMIT
    if wanted > target:
        return workers, Why.MAXIMUM
    return workers, Why.DEMAND if wanted >= target else Why.MINIMUM


def _down(knobs: Knobs, capacity: Capacity, history: History, now: float, wanted: int) -> tuple[int, Why]:
    here = capacity.workers
    target = min(history.targets[0][1], knobs.max_workers)
    if target >= here:
        return here, Why.STABILISING
    over = here > knobs.max_workers
    if target > max(knobs.min_workers, 1) and here - target <= here * TOLERANCE and not over:
        return here, Why.STEADY
    if now - history.down_at < DOWN_SECONDS:
        return here, Why.STEP_LIMIT
    step = max(1, here * knobs.down_percent // 100)
    # A worker that is busy is never removed, not even above the maximum: it is waited for.
    workers = min(here, max(target, here - step, capacity.busy))
    if workers == here:
        return here, Why.BUSY
    return workers, Why.IDLE if workers == 0 else Why.MAXIMUM if wanted > knobs.max_workers else Why.LESS_DEMAND


def _sentence(why: Why, knobs: Knobs, demand: Demand, wanted: int, workers: int) -> str:
    """One sentence; figures that change with every look are left out where nothing is decided by them."""
    work = _work(demand)
    match why:
        case Why.DEMAND | Why.LESS_DEMAND:
            return f"{_count(workers, 'worker')} for {work}"
        case Why.STEADY:
            return f"{_count(workers, 'worker')}, as many as the work wants"
        case Why.MINIMUM:
            return f"{_count(workers, 'worker')}, the minimum"
        case Why.MAXIMUM:
            return f"{work} want {_count(wanted, 'worker')}; the maximum is {knobs.max_workers}"
        case Why.GROWTH_LIMIT:
            return f"{work} want {_count(wanted, 'worker')}; {workers} now, more within {UP_SECONDS:g} seconds"
        case Why.STABILISING:
            return (
                f"fewer than {_count(workers, 'worker')} are wanted, but not yet for {knobs.window_seconds:g} seconds"
            )
        case Why.STEP_LIMIT:
            return f"fewer than {_count(workers, 'worker')} are wanted; {knobs.down_percent} % go at a time"
        case Why.BUSY:
            return f"fewer than {_count(workers, 'worker')} are wanted; the others run jobs"
        case Why.IDLE_TIME:
            return f"nothing to do; the last worker goes after {knobs.idle_seconds:g} seconds of that"
        case Why.IDLE:
            return "nothing to do, so no worker"
    raise AssertionError(f"{why} has a sentence of its own")


def _hindrance(why: Why, knobs: Knobs, demand: Demand, wanted: int, words: str) -> str:
    """What keeps workers away that the pool may have, with the cluster's words; empty for every other reason."""
    match why:
        case Why.UNSCHEDULABLE:
            what = f"pods have found no node for {knobs.unschedulable_seconds:g} seconds or longer"
        case Why.NOT_STARTING:
            what = "pods do not start"
        case Why.PODS_REFUSED:
            what = "the API server refuses pods"
        case _:
            return ""
    return f"{_work(demand)} want {_count(wanted, 'worker')}, but {what}" + (f": {words}" if words else "")


def _work(demand: Demand) -> str:
    parts = [_count(number, "job") + f" that {verb}{'s' if number == 1 else ''}" for number, verb in
             ((demand.running, "run"), (math.ceil(demand.waiting_jobs), "wait")) if number]  # fmt: skip
    if due := math.ceil(demand.due_jobs):
        parts.append(f"{_count(due, 'job')} due soon")
    if demand.curious:
        parts.append("jobs whose handler no worker has told yet")
    if demand.used_slots > demand.running and not parts:
        parts.append("short jobs")
    return ", ".join(parts) or "the minimum and the headroom"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
