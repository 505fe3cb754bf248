"""How many workers: tables of single decisions, and properties of whole days under loads that nobody chose."""

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshore_operator.scaling.arrivals import Arrival
from longshore_operator.scaling.decide import (
    DOWN_SECONDS,
    UP_SECONDS,
    Capacity,
    Decision,
    Demand,
    History,
    Knobs,
    Why,
    decide,
)
from longshore_operator.scaling.simulate import Seen, Simulation

KNOBS = Knobs(min_workers=0, max_workers=10)


def once(
    demand: Demand, capacity: Capacity, knobs: Knobs = KNOBS, *, since: float = 0.0, idle: float = 0.0
) -> Decision:
    """A decision about a pool that has been so for ``since`` seconds, with nothing to do for ``idle``."""
    now = 1000.0
    history = History.begin(capacity.workers, now - max(since, idle))
    return decide(knobs, demand, capacity, history, now)[0]


def waiting(jobs: int, seconds: float = 5.0, running: int = 0) -> Demand:
    """Jobs that run for ``seconds`` each, under a target wait of 5 s."""
    return Demand(running=running, waiting_jobs=jobs, waiting_slots=jobs * min(1.0, seconds / 5.0))


TABLE = [
    ("the first job wakes a pool at zero", waiting(1, 0.001), Capacity(0, 4), KNOBS, 1, Why.DEMAND),
    ("short jobs take turns on a slot", waiting(1000, 0.02), Capacity(0, 4), KNOBS, 1, Why.DEMAND),
    ("long jobs want a slot each", waiting(9, 60), Capacity(1, 4), KNOBS, 3, Why.DEMAND),
    ("running jobs count", waiting(1, 60, running=4), Capacity(1, 4, 1), KNOBS, 2, Why.DEMAND),
    ("no more than the maximum", waiting(60, 60), Capacity(8, 4), KNOBS, 10, Why.MAXIMUM),
    ("at the maximum already", waiting(60, 60), Capacity(10, 4), KNOBS, 10, Why.MAXIMUM),
    ("no more than four at first", waiting(40, 60), Capacity(0, 4), KNOBS, 4, Why.GROWTH_LIMIT),
    ("the minimum is there at once", Demand(), Capacity(0, 4), Knobs(9, 10), 9, Why.MINIMUM),
    ("pods without a node stop growth", waiting(40, 60), Capacity(2, 4, 0, 61, 1), KNOBS, 2, Why.UNSCHEDULABLE),
    ("pods that do not start stop it too", waiting(9, 60), Capacity(1, 4, 0, 61, 1, 0, Why.NOT_STARTING), KNOBS, 1, Why.NOT_STARTING),
    ("not before their time", waiting(9, 60), Capacity(1, 4, 0, 59, 1, 0, Why.NOT_STARTING), KNOBS, 3, Why.DEMAND),
    ("enough pods that cannot work are not enough", waiting(1, 60), Capacity(1, 4, 0, 61, 1, 0, Why.NOT_STARTING), KNOBS, 1, Why.NOT_STARTING),
    ("the others do the work", waiting(1, 60), Capacity(2, 4, 0, 61, 1, 0, Why.NOT_STARTING), KNOBS, 2, Why.STABILISING),
    ("refused pods stop growth at once", waiting(40, 60), Capacity(1, 4, refused=2, why_stuck=Why.PODS_REFUSED), KNOBS, 3, Why.PODS_REFUSED),
    ("no more than needed are asked for", waiting(5, 60), Capacity(1, 4, refused=4, why_stuck=Why.PODS_REFUSED), KNOBS, 2, Why.PODS_REFUSED),
    ("refused pods that nobody wants limit nothing", Demand(), Capacity(0, 4, refused=2, why_stuck=Why.PODS_REFUSED), KNOBS, 0, Why.IDLE),
    ("headroom is kept free", waiting(0, running=4), Capacity(1, 4, 1), Knobs(0, 10, headroom_slots=2), 2, Why.DEMAND),
    ("what ran between two looks counts", Demand(used_slots=7.5), Capacity(1, 4), KNOBS, 2, Why.DEMAND),
    ("jobs that are due soon count", Demand(due_jobs=8, due_slots=8), Capacity(0, 4), KNOBS, 2, Why.DEMAND),
    ("somebody has to tell which handlers there are", Demand(curious=True), Capacity(0, 4), KNOBS, 1, Why.DEMAND),
    ("slots that are not known count as one", waiting(3, 60), Capacity(0, 0), KNOBS, 3, Why.DEMAND),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "demand", "capacity", "knobs", "workers", "why"), TABLE, ids=[row[0] for row in TABLE]
)
def test_a_decision_by_itself(
    name: str, demand: Demand, capacity: Capacity, knobs: Knobs, workers: int, why: Why
) -> None:
    found = once(demand, capacity, knobs)
    assert (workers, why) == (found.workers, found.why), found.message


DOWN = [
    ("not before the window is over", Demand(), Capacity(8, 4), 59, 8, Why.STABILISING),
    ("a quarter at a time", Demand(running=1), Capacity(8, 4, 1), 61, 6, Why.LESS_DEMAND),
    ("busy workers stay", Demand(running=8), Capacity(8, 4, 8), 61, 8, Why.BUSY),
    ("a little too many is not worth it", Demand(running=37), Capacity(10, 4, 10), 61, 10, Why.STEADY),
    ("the last one goes", Demand(), Capacity(1, 4), 61, 0, Why.IDLE),
    ("the last one waits for its time", Demand(), Capacity(1, 4), 30, 1, Why.IDLE_TIME),
]


@pytest.mark.parametrize(("name", "demand", "capacity", "since", "workers", "why"), DOWN, ids=[row[0] for row in DOWN])
def test_fewer(name: str, demand: Demand, capacity: Capacity, since: float, workers: int, why: Why) -> None:
    found = once(demand, capacity, since=since)
    assert (workers, why) == (found.workers, found.why), found.message


def test_a_maximum_that_was_lowered_removes_idle_workers_without_a_window() -> None:
    found = once(waiting(99, 60), Capacity(8, 4, 2), Knobs(0, 4), since=1)
    assert (8, Why.STEP_LIMIT) == (found.workers, found.why)
    found = once(waiting(99, 60), Capacity(8, 4, 2), Knobs(0, 4), since=6)
    assert (6, Why.MAXIMUM) == (found.workers, found.why)


def test_every_sentence_is_one() -> None:
    for _, demand, capacity, knobs, *_ in TABLE:
        message = once(demand, capacity, knobs).message
        assert message
        assert "\n" not in message


# -- loads ---------------------------------------------------------------------------------------------------

Arrivals = Iterator[Arrival]


def load(shape: str, seed: int, rate: float, seconds: float, until: float) -> Arrivals:
    """Arrivals of a random load: ``rate`` jobs a second on average of its busy parts, each running for about ``seconds``."""
    chance = random.Random(seed)
    now = 0.0
    while now < until:
        share = {
            "square": 1.0 if int(now // 120) % 2 == 0 else 0.0,
            "ramp": now / until,
            "spike": 10.0 if 100 <= now < 110 else 0.1,
            "noise": 1.0,
        }[shape]
        if share == 0.0:
            now = (now // 120 + 1) * 120
            continue
        now += chance.expovariate(rate * share)
        if now < until:
            yield Arrival(now, chance.expovariate(1 / seconds))


def run(shape: str, seed: int, *, rate: float, seconds: float, knobs: Knobs = KNOBS, slots: int = 4) -> Seen:
    simulation = Simulation(knobs, slots=slots, start_seconds=5.0, keep=True)
    return simulation.run(load(shape, seed, rate, seconds, 400.0), until=900.0)


LOADS = {
    "shape": st.sampled_from(["square", "ramp", "spike", "noise"]), "seed": st.integers(0, 2**32),
    "rate": st.sampled_from([0.1, 1.0, 8.0]), "seconds": st.sampled_from([0.02, 1.0, 20.0]),
    "least": st.integers(0, 3), "most": st.integers(3, 12), "slots": st.sampled_from([1, 4]),
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(**LOADS)
def test_limits_hold_under_any_load(
    shape: str, seed: int, rate: float, seconds: float, least: int, most: int, slots: int
) -> None:
    knobs = Knobs(least, most)
    seen = run(shape, seed, rate=rate, seconds=seconds, knobs=knobs, slots=slots)
    grown_at = -math.inf
    shrunk_at = -math.inf
    for now, capacity, _, decision in seen.decisions:
        assert decision.workers >= min(capacity.busy, capacity.workers), "a busy worker would be removed"
        assert least <= decision.workers <= most
        if decision.workers > capacity.workers:
            grown_at = now
        if decision.workers < capacity.workers:
            assert now - grown_at >= knobs.window_seconds, "it grew and shrank within the window: it flaps"
            assert now - shrunk_at >= DOWN_SECONDS
            assert capacity.workers - decision.workers <= max(1, capacity.workers // 4)
            shrunk_at = now


@settings(max_examples=60, deadline=None)
@given(**LOADS)
def test_growth_is_bounded(
    shape: str, seed: int, rate: float, seconds: float, least: int, most: int, slots: int
) -> None:
    decisions = run(shape, seed, rate=rate, seconds=seconds, knobs=Knobs(least, most), slots=slots).decisions
    for at, (now, capacity, _, _) in enumerate(decisions):
        within = [d.workers for when, _, _, d in decisions[at:] if when < now + UP_SECONDS]
        # Two windows may touch within 15 seconds, each from its own begin.
        once = capacity.workers + max(4, capacity.workers)
        assert max(within) <= max(least, once + max(4, once))


@settings(max_examples=100, deadline=None)
@given(jumps=st.lists(st.sampled_from([0.0, 1.0, 60.0, 86_400.0]), min_size=1, max_size=30), busy=st.integers(0, 8),
       waits=st.integers(0, 100))  # fmt: skip
def test_a_machine_that_stood_still_keeps_what_is_busy_and_grows_at_once(
    jumps: list[float], busy: int, waits: int
) -> None:
    now, here = 1000.0, 8
    history = History.begin(here, now)
    for jump in jumps:
        now += jump
        decision, history = decide(KNOBS, Demand(running=busy), Capacity(here, 1, busy), history, now)
        assert busy <= decision.workers <= here
        here = decision.workers
    now += UP_SECONDS
    decision, _ = decide(KNOBS, waiting(waits, 60, running=busy), Capacity(here, 1, busy), history, now)
    assert decision.workers >= min(KNOBS.max_workers, here + min(4, waits + busy - here))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), rate=st.sampled_from([0.5, 2.0]), seconds=st.sampled_from([0.1, 2.0, 10.0]))
def test_a_steady_load_comes_to_rest_and_an_ended_one_to_zero(seed: int, rate: float, seconds: float) -> None:
    seen = run("noise", seed, rate=rate, seconds=seconds, knobs=Knobs(0, 50))
    assert 0 == seen.decisions[-1][3].workers, "nothing to do for minutes, and workers are there"
    assert len(seen.waits) == sum(1 for _ in load("noise", seed, rate, seconds, 400.0)), "a job was never started"
    changes = [at for (at, before, _, after) in seen.decisions if 200 <= at < 400 and before.workers != after.workers]
    assert len(changes) <= 12, f"{len(changes)} changes in 200 s of a steady load"


@settings(max_examples=200, deadline=None)
@given(jobs=st.integers(0, 500), workers=st.integers(0, 30), slots=st.integers(1, 8), most=st.integers(1, 40))
def test_a_load_that_stands_still_is_met_and_kept(jobs: int, workers: int, slots: int, most: int) -> None:
    """``jobs`` run for ever; workers follow at once."""
    knobs, now = Knobs(0, most), 0.0
    history, here = History.begin(workers, now), workers
    counts = []
    for _ in range(400):
        now += 1.0
        running = min(jobs, here * slots)
        demand = Demand(running=running, waiting_jobs=jobs - running, waiting_slots=float(jobs - running))
        busy = min(here, math.ceil(running / slots))
        decision, history = decide(knobs, demand, Capacity(here, slots, busy), history, now)
        here = decision.workers
        counts.append(here)
    target = min(most, math.ceil(jobs / slots))
    stay = min(workers, math.ceil(jobs / slots))  # above the maximum, but they run jobs
    assert target <= here <= max(target, target / 0.9, stay), (target, here)
    assert len(set(counts[-50:])) == 1


def test_jobs_wait_less_when_more_time_is_not_allowed() -> None:
    """The target wait is a real knob: more workers and shorter waits, or fewer and longer ones."""
    short, long = (
        run("noise", 1, rate=8.0, seconds=2.0, knobs=Knobs(0, 50, target_wait_seconds=target)) for target in (2, 60)
    )
    assert sum(short.waits) < sum(long.waits)
    assert short.worker_seconds > long.worker_seconds
