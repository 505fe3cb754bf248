"""The simulator by itself: small loads whose end can be worked out by hand."""

import math

import pytest

from longshore_operator.scaling.arrivals import Arrival
from longshore_operator.scaling.decide import Knobs
from longshore_operator.scaling.limits import JOBS_PER_SECOND, memory_mib, peaks
from longshore_operator.scaling.simulate import HANDOVER_SECONDS, Sample, Seen, Simulation


def simulated(*arrivals: Arrival, until: float = math.inf, **knobs: float) -> Seen:
    given = Knobs(**{"min_workers": 0, "max_workers": 2, **knobs})  # type: ignore[arg-type]
    return Simulation(given, slots=1, start_seconds=5.0).run(arrivals, until=until)


def test_a_load_that_can_be_worked_out() -> None:
    seen = simulated(Arrival(10, 20), Arrival(10, 20), Arrival(12, 3))

    # The first wakes the pool, the second is seen by the next look; the third waits for the first to end.
    assert [5, 6, 23] == pytest.approx(seen.waits, abs=1.1)
    assert 43 == seen.busy_seconds
    assert 38 == pytest.approx(seen.last_end, abs=1.1)
    assert seen.last_end <= seen.end <= seen.last_end + 1
    assert 3 == seen.live
    assert Sample(9, 0, 0, 0) in seen.samples
    assert (2, 2, 1) in [(one.workers, one.busy, one.waiting) for one in seen.samples]
    assert seen.worker_seconds == pytest.approx(sum(one.workers for one in seen.samples), rel=0.05)


def test_a_slot_is_empty_between_two_jobs() -> None:
    seen = simulated(*[Arrival(50, 0.0)] * 101, min_workers=1, max_workers=1)

    assert 100 * HANDOVER_SECONDS == pytest.approx(max(seen.waits))


def test_requests_are_those_of_the_design() -> None:
    seen = simulated(Arrival(0, 1), Arrival(100, 3), min_workers=1)

    # Create, outcome and delete; and Running, for the one that runs longer than two seconds.
    assert {0: 3, 10: 4} == dict(seen.requests)
    assert {0: 1, 10: 1} == dict(seen.ended)


def test_a_handler_has_a_run_time_of_its_own() -> None:
    """One of twenty short jobs runs, the others take turns; as many long ones want a slot each, and get four more workers at first."""
    first = [Arrival(0, 0.1, "short"), Arrival(0, 30, "long")]
    most = {}
    for handler in ("short", "long"):
        load = [*first, *(Arrival(200, 1.0, handler) for _ in range(20))]
        seen = simulated(*load, until=203, min_workers=1, max_workers=30)
        most[handler] = max(one.workers for one in seen.samples if one.at > 199)

    assert {"short": 3, "long": 5} == most


def test_a_load_beyond_what_was_measured_is_told() -> None:
    rate = 2 * JOBS_PER_SECOND
    seen = simulated(*(Arrival(number / rate, 0.0) for number in range(int(30 * rate))), min_workers=8, max_workers=8)
    beyond = {peak.what: round(peak.value) for peak in peaks(seen) if peak.beyond}

    assert {"jobs/s": round(rate), "API requests/s": round(3 * rate)} == beyond
    assert not any(peak.beyond for peak in peaks(simulated(Arrival(0, 1))))


def test_memory_is_not_below_what_was_measured() -> None:
    for live, mib in ((1_000, 86.4), (5_000, 115.1), (10_000, 125.9)):  # docs/performance.md
        assert mib <= memory_mib(live) + 1
