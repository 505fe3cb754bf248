"""``python -m bench.scaling``: a pool that follows its queue on a real node. As root on Debian.

From zero beside batch/v1, a load beside the simulator, a burst beside what its slots could do at best, and a scale-in beside
a plain patch of ``replicas``.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from bench.node import at, cold, real_node, until
from bench.replay import Run, compare, submit, watched
from e2e.release import API, Release
from longshore_operator.scaling.arrivals import Arrival
from longshore_operator.scaling.decide import Knobs

ROUNDS, BURST, SECONDS, WORKERS, SLOTS = 5, 1000, 0.5, 4, 4
LONG_SECONDS, DRAIN_SECONDS = 25, 3
QUICK = Knobs(0, WORKERS, window_seconds=2, idle_seconds=1, up_workers=WORKERS, down_percent=100)
SLOW = Knobs(0, WORKERS, window_seconds=15, idle_seconds=10, up_workers=2)
# A minute with a job now and then, 200 jobs within two seconds, and a minute and a half with a job now and then.
LOAD = [
    *(Arrival(2.0 * number, 1.0) for number in range(30)),
    *(Arrival(60 + number / 100, 2.0) for number in range(200)),
    *(Arrival(90 + 4.0 * number, 0.5) for number in range(20)),
]


def values(slots: int, knobs: Knobs, mode: str = "operator") -> dict[str, Any]:
    """Of a pool that goes to zero, if the operator scales it."""
    workers = knobs.max_workers
    size = {"replicas": workers} if mode == "none" else {"minWorkers": 0, "maxWorkers": workers}
    return {"pools": {"default": {
        **size, "slots": slots, "drainSeconds": DRAIN_SECONDS, "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "autoscaling": {"scaleDownWindowSeconds": knobs.window_seconds, "idleSeconds": knobs.idle_seconds,
                        "scaleUpWorkers": knobs.up_workers, "scaleDownPercent": knobs.down_percent},
    }}}  # fmt: skip


def main() -> None:
    """All of it."""
    with real_node() as release:
        release.install(values(SLOTS, QUICK))
        from_zero(release)
        release.upgrade(values(SLOTS, SLOW))
        replay(release, "load", LOAD, SLOW)  # first: the operator has not seen the handler, nor has the simulator
        release.upgrade(values(SLOTS, QUICK))
        burst(release)
        scale_in(release)


def at_zero(release: Release) -> None:
    """Wait for it."""
    until(lambda: not release.pods("worker"), seconds=90)


def from_zero(release: Release) -> None:
    """From before the create until the body runs, in turns with batch/v1; both have the image and no pod."""
    ours, theirs = [], []
    for number in range(ROUNDS):
        at_zero(release)
        before = time.time()
        release.submit(f"first-{number}", handler="echo")
        started = release.wait(f"first-{number}")["history"][0]["startedAt"]
        ours.append(datetime.fromisoformat(started).timestamp() - before)
        theirs.append(cold(release, f"cold-{number}") / 1000)
    print(f"pool at zero: create → body starts, {ROUNDS} rounds in turns")
    for name, times in (("Job of longshore.dev", ours), ("Job of batch/v1", theirs)):
        print(f"  {name:30}  p50 {at(times, 0.5):6.2f} s   ({min(times):.2f} – {max(times):.2f})", flush=True)


def replay(release: Release, name: str, load: Sequence[Arrival], knobs: Knobs) -> Run:
    """A load, until nothing is left of it, beside the simulator."""
    at_zero(release)
    with watched(release) as seen:
        sent = submit(release, f"{name}-", load)
        found = ended(release, f"{name}-", len(load))
        at_zero(release)
    jobs = {int(job.removeprefix(f"{name}-")): status for job, status in found.items()}
    return compare(f"{name} and the simulator", sent, jobs, seen, knobs, SLOTS)


def burst(release: Release) -> None:
    """Many jobs to a pool at zero."""
    ideal = BURST * SECONDS / (WORKERS * SLOTS)
    found = replay(release, "burst", [Arrival(0.0, SECONDS)] * BURST, QUICK)
    paid = BURST * SECONDS / SLOTS
    print(f"{BURST} jobs of {SECONDS:g} s to a pool at zero, {WORKERS} workers of {SLOTS} slots at most")
    print(
        f"  all ended after                {found.seconds:6.1f} s    {found.seconds / ideal:.2f} × the {ideal:.1f} s of full slots from the start"
    )
    print(f"  pod-seconds, until zero        {found.pod_seconds:6.1f}      {found.pod_seconds / paid:.2f} × the {paid:.1f} of full slots", flush=True)  # fmt: skip


def scale_in(release: Release) -> None:
    """The same load twice: short and long jobs on six workers of one slot; when the short ones have ended, three are enough."""
    print(f"three of six workers go while three run jobs of {LONG_SECONDS} s; a pod has {DRAIN_SECONDS} s to end")
    for name, mode in (("the operator", "operator"), ("kubectl scale --replicas=3", "none")):
        at_zero(release) if mode == "operator" else None
        release.upgrade(values(1, replace(QUICK, max_workers=6, up_workers=6), mode))
        for number in range(6):
            seconds = LONG_SECONDS if number % 2 else 4
            release.submit(f"{mode}-{number}", handler="sleep", args={"seconds": seconds}, maxDisruptions=9)
        for number in range(0, 6, 2):
            release.wait(f"{mode}-{number}")
        if mode == "none":
            release.kubectl("scale", f"deployment/{release.deployment('worker')}", "--replicas=3")
        until(lambda: len(release.pods("worker")) <= 3, seconds=90)
        cut = sum(status.get("disruptions", 0) for status in ended(release, f"{mode}-", 6).values())
        print(f"  {name:30}  jobs cut off {cut:3}", flush=True)


def ended(release: Release, prefix: str, count: int) -> dict[str, dict[str, Any]]:
    """Status of all jobs whose names begin so, by name, when they have ended."""

    def look() -> object:
        items = release.plane.must("GET", f"{API}/{release.namespace}/jobs")["items"]
        found = {name: job["status"] for job in items if (name := job["metadata"]["name"]).startswith(prefix)}
        over = {name: status for name, status in found.items() if status.get("phase") == "Succeeded"}
        time.sleep(0.5)  # each answer holds all jobs
        return over if len(over) == count else None

    answer = until(look, seconds=300)
    assert isinstance(answer, dict)
    return answer


if __name__ == "__main__":
    main()
