"""A pool grows and shrinks under waves of jobs while its parts are killed −9 in turn.

``make chaos-node`` runs it at full size; `CHAOS_JOBS` says how many jobs, `CHAOS_REPORT` where what was seen is written.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from e2e import chaos_report
from e2e.chaos import OFTEN, SELDOM, Chaos, turns
from e2e.images import ROOT
from e2e.release import Object, Release

JOBS = int(os.environ.get("CHAOS_JOBS", "60"))
REPORT = Path(os.environ.get("CHAOS_REPORT", ROOT / ".build/chaos-node.json"))
WAVE = max(30, int(4 * JOBS**0.5))  # more of them, and larger ones: 25 of 400 at full size
KILL_SECONDS = 2.0
LIMIT_SECONDS = 300 + JOBS  # twice what it takes where others have the processors too
VALUES = {"pools": {"default": {
    "minWorkers": 0, "maxWorkers": 5, "slots": 2 if JOBS < 300 else 4, "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
    "autoscaling": {"scaleDownWindowSeconds": 2, "idleSeconds": 1, "scaleDownPercent": 50},
}}}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def pool(release: Release) -> None:
    """At zero."""
    release.upgrade(VALUES)


@pytest.mark.timeout(LIMIT_SECONDS + 240)
def test_no_kill_and_no_scale_in_loses_a_job(release: Release) -> None:
    chaos, began = Chaos(release, JOBS, WAVE), time.monotonic()
    try:
        run_all(release, chaos)
    finally:
        jobs = chaos.jobs()
        run = report(chaos, jobs, time.monotonic() - began)
    chaos.count()

    check_ends(jobs)
    assert 0 == chaos.busy_removed, "a scale-in took a worker with jobs"
    assert [] == run["unexplained"], "\n".join([
        *map(str, chaos.kills), *(str(job["status"]["history"]) for job in jobs if job["metadata"]["name"] in run["unexplained"]),
        *release.losses(),
    ])  # fmt: skip
    assert chaos.shrinks() >= chaos.waves, chaos.sizes
    assert {*OFTEN, *SELDOM} == {kill.kind for kill in chaos.kills}


def run_all(release: Release, chaos: Chaos) -> None:
    """Send all jobs, wave by wave, and kill, until all have ended and no worker is left."""
    turn, limit = turns(), time.monotonic() + LIMIT_SECONDS
    kind = next(turn)
    chaos.wave()
    while (waiting := chaos.waiting()) or chaos.sent < JOBS or chaos.sizes[-1]:
        assert time.monotonic() < limit, f"{waiting} jobs wait\n{release.story()}"
        rare = {*SELDOM} <= {kill.kind for kill in chaos.kills}  # the last wave waits until each had its turn
        if waiting <= 2 and chaos.sent < JOBS and chaos.shrinks() >= chaos.waves and (rare or chaos.sent + WAVE < JOBS):
            chaos.wave()  # while the pool shrinks
        next_kill = time.monotonic() + KILL_SECONDS
        while time.monotonic() < next_kill:
            chaos.look()
            time.sleep(0.2)
        if (waiting or chaos.sent < JOBS) and chaos.kill(kind):
            kind = next(turn)


def report(chaos: Chaos, jobs: list[Object], took: float) -> dict[str, Any]:
    """What was seen, which is written and printed too."""
    run = chaos_report.report(
        jobs, chaos.kills, waves=chaos.waves, seconds=round(took), workers=chaos.sizes,
        lost=JOBS - sum(job["status"]["phase"] == "Succeeded" for job in jobs),
        ended_twice=sum(successes(job) > 1 for job in jobs),
    )  # fmt: skip
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(run, indent=1))
    print(f"{REPORT}:\n{chaos_report.tables(run)}\nworkers asked for: {chaos.sizes}")
    return run


def check_ends(jobs: list[Object]) -> None:
    """Exactly one end for each, no retry, and no attempt that nothing accounts for."""
    assert {f"job-{number}" for number in range(JOBS)} == {job["metadata"]["name"] for job in jobs}
    for job in jobs:
        status = job["status"]
        assert ("Succeeded", 0) == (status["phase"], status.get("retries", 0)), job
        assert 1 + status.get("disruptions", 0) == status["attempts"], job
        assert 1 == successes(job), job
        assert ["True"] == [one["status"] for one in status["conditions"] if one["type"] == "Finished"], job


def successes(job: Object) -> int:
    """Attempts on record that succeeded."""
    return sum(entry["outcome"] == "succeeded" for entry in job["status"].get("history", ()))
