"""Health checks of applications are bounded, run side by side, and counted for a while."""

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from longshore.api.checks import OK, Checks
from longshore.health_checks import HEALTH_CHECKS, Check, health_check


def checks(**functions: Callable[[], object]) -> Checks:
    named = {
        name: Check(name, call, "readiness", timeout_seconds=0.05 if "hang" in name else 20.0, cache_seconds=0.0)
        for name, call in functions.items()
    }
    return Checks(named)


def running(name: str) -> int:
    return sum(thread.name == f"health check {name}" for thread in threading.enumerate())


def test_a_check_that_hangs_has_failed_and_holds_one_thread() -> None:
    end = threading.Event()
    found = checks(hangs_here=end.wait, fine=lambda: None)
    told = [found.all() for _ in range(5)]
    assert [{"hangs_here": "failed: no answer in 0.05 s", "fine": OK}] * 5 == told
    assert 1 == running("hangs_here")
    end.set()

    while found.all()["hangs_here"] != OK:  # the next run, which does not hang
        pass


def test_checks_run_side_by_side() -> None:
    both = threading.Barrier(2)

    assert {"one": OK, "two": OK} == checks(one=both.wait, two=both.wait).all()


def test_whoever_asks_while_a_check_runs_gets_what_it_found_last() -> None:
    turn, begun, end = itertools.count(), threading.Event(), threading.Event()

    def first_fails_then_takes_long() -> None:
        if not next(turn):
            raise RuntimeError("the first time")
        begun.set()
        end.wait()

    found = checks(it=first_fails_then_takes_long)
    assert ["it"] == found.failed("readiness")
    other = threading.Thread(target=found.all)
    other.start()
    begun.wait()
    assert ["it"] == found.failed("readiness")
    end.set()
    other.join()
    assert [] == found.failed("readiness")


def test_a_result_counts_for_its_time() -> None:
    calls: list[int] = []
    found = Checks({"it": Check("it", lambda: calls.append(1), None, cache_seconds=3600.0)})

    assert [{"it": OK}] * 3 == [found.all() for _ in range(3)]
    assert [1] == calls
    assert [] == found.failed("readiness") == found.failed("liveness")


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt(), RuntimeError("a secret")])
def test_whatever_a_check_raises_is_a_failure_by_its_name_alone(error: BaseException) -> None:
    def broken() -> None:
        raise error

    assert {"it": f"failed: {type(error).__name__}"} == checks(it=broken).all()


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"kind": "startup"}, "not 'startup'"),
        ({"timeout_seconds": 0}, "timeout_seconds of a health check"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds of a health check"),
        ({"cache_seconds": -1}, "cache_seconds of a health check"),
    ],
)
def test_a_check_that_cannot_be_is_refused(said: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        health_check(**said)


def test_an_async_check_is_refused_and_a_bare_one_decides_nothing() -> None:
    async def later() -> None: ...

    def bare() -> None: ...

    with pytest.raises(ValueError, match="is async"):
        health_check(later)
    assert bare is health_check(bare)
    assert HEALTH_CHECKS.pop(f"{__name__}.bare").kind is None
