"""What there is to do for each pool, read off the desk. Nothing is decided and nothing kept here.

Jobs that may not start now are no demand: those of a paused queue, suspended ones, those that wait for others, those beyond
the limits of their queue or key, or beyond its rate.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from longshore.job.limits import QueuePolicy
from longshore.job.line import Line
from longshore.job.waiting import Held
from longshore_operator.desk import Desk
from longshore_operator.job import Job, Json
from longshore_operator.scaling.decide import Demand
from longshore_operator.scaling.pool import Key, Pool
from longshore_operator.scaling.runtimes import RunTimes

Coming = tuple[float, str, Json]
"""A job that a schedule will make: when (seconds since the epoch), in which namespace, and its specification."""
RATE_SECONDS = 5.0  # of a queue with a rate, what may start within so long counts as waiting


@dataclass(frozen=True, slots=True)
class Offer:
    """What a pool could do."""

    pool: Pool
    handlers: frozenset[str] | None
    """What its workers run, '' for commands; None while none of them has told."""
    free: float
    """Slots that are free or starting."""
    room: float
    """Slots that it may have beyond those."""
    target_wait_seconds: float = 5.0
    prewarm_seconds: float = 30.0

    def may_run(self, handler: str) -> bool:
        """Whether it runs the handler, as far as is known."""
        return self.handlers is None or handler in self.handlers


@dataclass(slots=True)
class _Work:
    """Jobs of one queue, by handler."""

    waiting: Counter[str] = field(default_factory=Counter)
    due: list[tuple[float, str, int]] = field(default_factory=list)
    """When, handler, how many."""


def demands(
    desk: Desk, offers: Iterable[Offer], times: RunTimes, now: float, coming: Iterable[Coming] = ()
) -> dict[Key, Demand]:
    """Waiting and due work of each pool; ``now`` is seconds since the epoch. What runs is added by the caller."""
    offers = list(offers)
    free = {offer.pool.key: offer.free for offer in offers}
    room = {offer.pool.key: offer.room for offer in offers}
    found = {offer.pool.key: Demand() for offer in offers}
    soon = max((offer.prewarm_seconds for offer in offers), default=0.0)
    for key, line in desk.lines.items():
        serving = [offer for offer in offers if offer.pool.serves(*key)]
        if not serving or not len(line) or line.policy.paused:
            continue
        work = _work(desk, line, now, soon)
        share = _allowed(line, now, work.waiting.total())
        for handler, count in work.waiting.items():
            _assign(found, serving, handler, count * share, times, free, room)
        for when, handler, count in work.due:
            able = [offer for offer in serving if when <= now + offer.prewarm_seconds]
            _assign(found, able, handler, count, times, free, room, due=True)
    for when, namespace, spec in coming:
        queue = str(spec.get("queue", "default"))
        policy = desk.policies.get((namespace, queue), QueuePolicy())
        if when <= now or policy.paused:
            continue  # its job is on its way already, or will wait
        able = [
            offer for offer in offers if offer.pool.serves(namespace, queue) and when <= now + offer.prewarm_seconds
        ]
        _assign(found, able, str(spec.get("handler") or ""), _planned(spec), times, free, room, due=True)
    return found


def _planned(spec: Json) -> int:
    """Attempts that a job of that specification could start at once."""
    size = len(spec["items"]) if spec.get("items") else int(spec.get("count") or 1)
    return min(size, int(spec.get("parallelism") or size))


def _work(desk: Desk, line: Line, now: float, soon: float) -> _Work:
    work, by_key, waiting = _Work(), Counter[str](), dict[str, int]()
    most, latest = line.policy.key_concurrency, now + soon
    for (
        entry
    ) in line.entries():  # a hundred thousand, maybe, and once a second: the plain ones are counted without their jobs
        if entry.not_before > latest or (entry.place == "held" and entry.why != Held.HANDLER):
            continue
        count = _items(desk.jobs.get(entry.uid)) if entry.many else 1
        if most is not None and (key := entry.concurrency_key):
            count = min(count, most - line.key_running(key) - by_key[key])
            by_key[key] += max(0, count)
        if count <= 0:
            continue
        if entry.not_before > now:
            work.due.append((entry.not_before, entry.lane, count))
        else:
            waiting[entry.lane] = waiting.get(entry.lane, 0) + count
    work.waiting.update(waiting)
    return work


def _items(job: Job | None) -> int:
    """Of an array job, that could start within its parallelism."""
    if job is None or (array := job.array) is None:
        return 0
    left = array.size - len(array.succeeded) - len(array.failed) - len(array.running)
    return min(left, array.parallelism - len(array.running))


def _allowed(line: Line, now: float, waiting: int) -> float:
    """The share of the waiting jobs that the queue's limits let start."""
    policy: QueuePolicy = line.policy
    most: float = waiting
    if policy.concurrency is not None:
        most = min(most, policy.concurrency - line.running)
    if (rate := policy.rate_limit) is not None:
        most = min(
            most,
            math.ceil(rate.jobs * RATE_SECONDS / rate.per_seconds)
            if line.rate_ready_at(now) <= now + RATE_SECONDS
            else 0,
        )
    return max(0.0, most) / waiting if waiting else 0.0


def _assign(found: dict[Key, Demand], serving: list[Offer], handler: str, jobs: float, times: RunTimes,
            free: dict[Key, float], room: dict[Key, float], *, due: bool = False) -> None:  # fmt: skip
    """To the pools that may run it: first where slots are free, then by the room that each has left, then in equal parts."""
    able = [offer for offer in serving if offer.may_run(handler)]
    if not able:
        for offer in serving if jobs else ():  # its worker has to be there to say that it does not know the handler
            found[offer.pool.key] = replace(found[offer.pool.key], curious=True)
        return
    for source in (free, room):
        there = {offer.pool.key: source[offer.pool.key] for offer in able if source[offer.pool.key] > 0}
        total = sum(there.values())
        if jobs <= 0 or total <= 0:
            continue
        want = {offer.pool.key: times.share(handler, offer.target_wait_seconds) for offer in able}
        # The jobs that all of them can take, each its part; of the last source everything, so that nobody's work is lost.
        taken = jobs if source is room else min(jobs, sum(slots / want[key] for key, slots in there.items()))
        for key, slots in there.items():
            part = taken * slots / total
            found[key] = _more(found[key], part, part * want[key], due=due)
            source[key] = max(0.0, slots - part * want[key])
        jobs -= taken
    # Nowhere is room, as far as we know: others may scale these pools. Each is told its part, so that all of them may grow.
    for offer in able if jobs > 0 else ():
        part = jobs / len(able)
        found[offer.pool.key] = _more(
            found[offer.pool.key], part, part * times.share(handler, offer.target_wait_seconds), due=due
        )


def _more(demand: Demand, jobs: float, slots: float, *, due: bool) -> Demand:
    if due:
        return replace(demand, due_jobs=demand.due_jobs + jobs, due_slots=demand.due_slots + slots)
    return replace(demand, waiting_jobs=demand.waiting_jobs + jobs, waiting_slots=demand.waiting_slots + slots)
