"""What the report of tests/e2e/test_scaling_chaos.py makes of jobs and kills."""

from datetime import UTC, datetime
from typing import Any

import pytest

from e2e.chaos_report import Cut, Kill, cuts, report, tables


def at(second: float) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()


def make_job(*attempts: tuple[str, float, float, str]) -> dict[str, Any]:
    """Worker, start, end and outcome of each."""
    history = [
        {"number": number, "worker": worker, "startedAt": at(start), "finishedAt": at(end), "outcome": outcome}
        for number, (worker, start, end, outcome) in enumerate(attempts, 1)
    ]
    return {"metadata": {"name": "job"}, "status": {"phase": "Succeeded", "history": history}}


CUT = make_job(("a", 100, 104, "lost"), ("b", 107, 110, "succeeded"))


@pytest.mark.parametrize(
    ("kills", "found"),
    [
        pytest.param([Kill("worker", "a", 102)], Cut("job", "worker", 2, 5), id="by a kill of its pod"),
        pytest.param([Kill("worker", "b", 102)], Cut("job", ""), id="another pod was killed"),
        pytest.param([Kill("worker", "a", 98)], Cut("job", ""), id="it was killed before"),
        pytest.param([Kill("node", "a", 98, 120)], Cut("job", "node", 4, 7), id="it was sent to a frozen worker"),
        pytest.param(
            [Kill("shim", "a", 90, gone=101)],
            Cut("job", "shim", 4, 7),
            id="its processes were ended some time after its shim",
        ),
        pytest.param([Kill("shim", "a", 90, gone=98)], Cut("job", ""), id="its processes were ended before"),
        pytest.param([Kill("worker", "a", 105)], Cut("job", ""), id="it was killed later"),
        pytest.param([], Cut("job", ""), id="nothing was killed"),
        pytest.param([Kill("shim", "a", 101), Kill("worker", "a", 103)], Cut("job", "shim", 3, 6), id="the first one"),
        pytest.param(
            [Kill("worker", "a", 102), Kill("operator", "o", 103)], Cut("job", "worker", 2, 5, False), id="no operator"
        ),
        pytest.param(
            [Kill("apiserver", "", 99, 101), Kill("worker", "a", 102)], Cut("job", "worker", 2, 5), id="it was back"
        ),
    ],
)
def test_a_cut_is_put_down_to_what_was_killed(kills: list[Kill], found: Cut) -> None:
    assert [found] == cuts([CUT], kills)


def test_a_failure_is_no_kill() -> None:
    failed = make_job(("a", 100, 104, "failed"))

    assert [Cut("job", "")] == cuts([failed], [Kill("worker", "a", 102)])


def test_the_tables_say_what_was_found() -> None:
    kills = [Kill("worker", "a", 102), Kill("operator", "o", 109, 112.5)]
    run = report([CUT], kills, waves=1, seconds=12.4, lost=0, ended_twice=0)

    assert tables(run).splitlines() == [
        "| jobs | waves | time | kills | attempts cut off | by a scale-in | lost | ended twice | retries |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| 1 | 1 | 12 s | 2 | 1 | 0 | 0 | 0 | 0 |",
        "",
        "| killed | times | back after | attempts cut off | noticed after | run again after |",
        "| --- | --- | --- | --- | --- | --- |",
        "| worker | 1 | – | 1 | 2 s, 2 s | 5 s, 5 s |",
        "| operator | 1 | 3.5 s, 3.5 s | 0 | – | – |",
    ]
