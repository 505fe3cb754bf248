"""``longshore simulate``: the operator's limits, the cost, real jobs as a trace, and the picture."""

import itertools
import os
import sys
from pathlib import Path

import pytest

from command_line import FAILED, USAGE, Cli
from longshore.cli import plot
from longshore_operator.scaling.arrivals import Arrival
from longshore_operator.scaling.decide import Knobs
from longshore_operator.scaling.simulate import Seen, Simulation

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Enough looks that several share a column of the picture."""
    load = [Arrival(float(at), 20.0) for at in range(0, 600, 7)] + [Arrival(3000.0, 60.0)] * 50
    return Simulation(Knobs(0, 5), slots=2).run(load, until=5000.0)


def test_the_operators_limits_and_the_cost_are_told(longshore: Cli, tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("".join(f"{number / 300:.3f},0.01,{number % 2}\n" for number in range(9000)))
    text = longshore.ok("simulate", "--trace", "trace.csv", "--min", "8", "--price", "3600")
    paid = float(text.split("paid: ")[1].split()[0])
    cost = float(text.split("cost: ")[1].split(";")[0].replace(",", ""))

    assert cost == pytest.approx(3600 * paid, rel=0.1)
    assert "300 jobs/s of 112" in text
    assert "WARNING: 300 jobs/s are more than the 112 that were measured" in text
    assert "WARNING" not in longshore.ok("simulate", "--hours", "0.1")


def test_real_jobs_are_a_trace(longshore: Cli, tmp_path: Path) -> None:
    for _ in range(3):
        longshore.ok("wait", longshore.id("sleep", "seconds=0.25", "--label", "recorded=yes"))
    jobs = longshore.ok("list", "--label", "recorded=yes", "-o", "json")
    longshore.ok("simulate", "--trace", "-", "--save-trace", "trace.csv", stdin=jobs)
    rows = [line.split(",") for line in (tmp_path / "trace.csv").read_text().splitlines()]

    assert ["sleep"] * 3 == [handler for _, _, handler in rows]
    assert 0 == float(rows[0][0])
    assert all(float(late[0]) - float(early[0]) >= 0.25 for early, late in itertools.pairwise(rows))
    assert all(0.25 <= float(ran) < 5 for _, ran, _ in rows)
    assert "3 jobs started" in longshore.ok("simulate", "--trace", "trace.csv")


@pytest.mark.parametrize("text", ["", '{"items": []}'])
def test_a_trace_without_a_job_is_refused(longshore: Cli, text: str) -> None:
    refused = longshore("simulate", "--trace", "-", stdin=text)

    assert USAGE == refused.code
    assert "no job" in refused.err


def test_a_picture_is_drawn(longshore: Cli, tmp_path: Path) -> None:
    longshore.ok("simulate", "--hours", "0.1", "--png", "pool.png")
    picture = (tmp_path / "pool.png").read_bytes()

    assert picture.startswith(PNG)
    assert len(picture) > 10_000


def test_the_extra_is_named_where_it_is_missing(longshore: Cli, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError('none here')")
    refused = longshore("simulate", "--png", "pool.png", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))

    assert FAILED == refused.code
    assert "pip install 'longshore[plot]'" in refused.err
    assert not refused.out, "told before the work, not after it"


def test_what_is_drawn_is_what_was_simulated(seen: Seen) -> None:
    pods, waiting, waits = plot.figure(seen).axes
    found = plot.series(seen)

    assert (found.times, found.workers) == tuple(map(list, pods.lines[0].get_data()))
    assert (found.times, found.waiting) == tuple(map(list, waiting.lines[0].get_data()))
    assert (found.shares, found.waits) == tuple(map(list, waits.lines[0].get_data()))
    assert {(at, float(busy)) for at, busy in zip(found.times, found.busy, strict=True)} <= {
        (float(x), float(y)) for x, y in pods.collections[0].get_paths()[0].vertices
    }


def test_no_peak_is_lost(seen: Seen) -> None:
    found = plot.series(seen)

    assert len(found.times) <= plot.POINTS < len(seen.samples)
    assert [max(getattr(one, what) for one in seen.samples) for what in ("workers", "busy", "waiting")] == [
        max(found.workers), max(found.busy), max(found.waiting)
    ]  # fmt: skip
    assert max(found.waiting) > 30
    assert (max(seen.waits), 100) == (found.waits[-1], found.shares[-1])
    assert sorted(found.waits) == found.waits
