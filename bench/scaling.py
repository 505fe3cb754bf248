"""``python -m bench.scaling``: a pool that follows its queue on a real node. As root on Debian.

From zero beside batch/v1, a burst beside what its slots could do at best, and a scale-in beside a plain patch of ``replicas``.
"""

import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from bench.node import at, cold, until
from e2e import images
from e2e.ground import claim, missing
from e2e.images import ROOT
from e2e.node import Node
from e2e.release import API, Release

ROUNDS, BURST, SECONDS, WORKERS, SLOTS = 5, 1000, 0.5, 4, 4
LONG_SECONDS, DRAIN_SECONDS = 25, 3


def values(slots: int, workers: int, mode: str = "operator") -> dict[str, Any]:
    """Of a pool that goes to zero, quickly."""
    size = {"replicas": workers} if mode == "none" else {"minWorkers": 0, "maxWorkers": workers}
    return {"pools": {"default": {
        **size, "slots": slots, "drainSeconds": DRAIN_SECONDS, "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "autoscaling": {"scaleDownWindowSeconds": 2, "idleSeconds": 1, "scaleUpWorkers": workers, "scaleDownPercent": 100},
    }}}  # fmt: skip


def main() -> int:
    """Returns the exit status."""
    if reason := missing():
        print(f"no real node: {reason}")
        return 1
    tools = subprocess.run([ROOT / "scripts/kube-tools", "--node"], stdout=subprocess.PIPE, text=True, check=True)
    found = images.read(images.make().stdout)
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the start", flush=True)
    node = Node(Path(tools.stdout.strip()), claim())
    try:
        node.start(found.archives)
        release = Release(node, found, "ls", node.make_restricted_namespace())
        release.install(values(SLOTS, WORKERS))
        from_zero(release)
        burst(release)
        scale_in(release)
    finally:
        node.stop()
    return 0


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


def burst(release: Release) -> None:
    """Many jobs to a pool at zero."""
    at_zero(release)
    began = time.perf_counter()
    for number in range(BURST):
        release.submit(f"burst-{number}", handler="sleep", args={"seconds": SECONDS})
    sent = time.perf_counter() - began
    found = ended(release, "burst-", BURST)
    took, ideal = time.perf_counter() - began, BURST * SECONDS / (WORKERS * SLOTS)
    assert not any(status.get("disruptions", 0) for status in found)
    print(f"{BURST} jobs of {SECONDS:g} s to a pool at zero, {WORKERS} workers of {SLOTS} slots at most")
    print(f"  submitted in                   {sent:6.1f} s")
    print(f"  all ended after                {took:6.1f} s    {took / ideal:.2f} × the {ideal:.1f} s of full slots from the start",
          flush=True)  # fmt: skip


def scale_in(release: Release) -> None:
    """The same load twice: short and long jobs on six workers of one slot; when the short ones have ended, three are enough."""
    print(f"three of six workers go while three run jobs of {LONG_SECONDS} s; a pod has {DRAIN_SECONDS} s to end")
    for name, mode in (("the operator", "operator"), ("kubectl scale --replicas=3", "none")):
        at_zero(release) if mode == "operator" else None
        release.upgrade(values(1, 6, mode))
        for number in range(6):
            seconds = LONG_SECONDS if number % 2 else 4
            release.submit(f"{mode}-{number}", handler="sleep", args={"seconds": seconds}, maxDisruptions=9)
        for number in range(0, 6, 2):
            release.wait(f"{mode}-{number}")
        if mode == "none":
            release.kubectl("scale", f"deployment/{release.deployment('worker')}", "--replicas=3")
        until(lambda: len(release.pods("worker")) <= 3, seconds=90)
        cut = sum(status.get("disruptions", 0) for status in ended(release, f"{mode}-", 6))
        print(f"  {name:30}  jobs cut off {cut:3}", flush=True)


def ended(release: Release, prefix: str, count: int) -> list[dict[str, Any]]:
    """Status of all jobs whose names begin so, when they have ended."""

    def look() -> object:
        items = release.plane.must("GET", f"{API}/{release.namespace}/jobs")["items"]
        found = [job["status"] for job in items if job["metadata"]["name"].startswith(prefix)]
        over = [status for status in found if status.get("phase") == "Succeeded"]
        time.sleep(0.5)  # each answer holds all jobs
        return over if len(over) == count else None

    answer = until(look, seconds=300)
    assert isinstance(answer, list)
    return answer


if __name__ == "__main__":
    sys.exit(main())
