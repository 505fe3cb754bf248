"""A pool grows and shrinks under waves of jobs while its parts are killed −9 in turn.

``make chaos-node`` runs it at full size; `CHAOS_JOBS` says how many jobs.
"""

import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from e2e.release import API, Object, Release

JOBS = int(os.environ.get("CHAOS_JOBS", "60"))
WAVE = max(30, JOBS // 20)
KILL_SECONDS = 2.0
LIMIT_SECONDS = 120 + 1.5 * JOBS
LENGTHS = [0.05, 0.2, 0.5, 0.05, 1.0, 0.2, 0.05, 5.0]  # the long ones hold a worker while its neighbours go
TURN = ["worker", "operator", "api", "shim"]
VALUES = {"pools": {"default": {
    "minWorkers": 0, "maxWorkers": 5, "slots": 2, "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
    "autoscaling": {"scaleDownWindowSeconds": 2, "idleSeconds": 1, "scaleDownPercent": 50},
}}}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def pool(release: Release) -> None:
    """At zero."""
    release.upgrade(VALUES)


class Chaos:
    """Waves of jobs, kills, and what was seen meanwhile."""

    def __init__(self, release: Release) -> None:
        self._release, self._path = release, f"{API}/{release.namespace}/jobs"
        self.sent = 0
        self.kills: list[tuple[str, str, float]] = []
        """What, of which pod, and when."""
        self.busy: set[str] = set()
        """Workers with jobs, when somebody looked last."""
        self.sizes: list[int] = [0]
        self.busy_removed = 0.0

    def wave(self) -> None:
        """Submit the next jobs. A retry would be a failure of theirs, so they have none."""
        for number in range(self.sent, min(JOBS, self.sent + WAVE)):
            job = {
                "apiVersion": "longshore.dev/v1alpha1", "kind": "Job",
                "metadata": {"name": f"job-{number}", "labels": {"wave": str(self.sent // WAVE)}},
                "spec": {"handler": "sleep", "args": {"seconds": LENGTHS[number % len(LENGTHS)]},
                         "maxRetries": 0, "maxDisruptions": 100},
            }  # fmt: skip
            self._release.plane.must("POST", self._path, job)
        self.sent = min(JOBS, self.sent + WAVE)

    def waiting(self) -> int:
        """Jobs of the last wave that have not ended."""
        items = self._release.plane.must("GET", f"{self._path}?labelSelector=wave={(self.sent - 1) // WAVE}")["items"]
        left = [job["status"] for job in items if job["status"].get("phase", "Pending") in ("Pending", "Running")]
        self.busy = {status["worker"] for status in left if "worker" in status}
        return len(left)

    def look(self) -> None:
        """Remember how many workers are asked for."""
        name = self._release.deployment("worker")
        path = f"/apis/apps/v1/namespaces/{self._release.namespace}/deployments/{name}"
        size = int(self._release.plane.must("GET", path)["spec"]["replicas"])
        if size != self.sizes[-1]:
            self.sizes.append(size)

    def count(self) -> None:
        """Add what the operator has counted since it started; nothing when it is not there."""
        where = f"/api/v1/namespaces/{self._release.namespace}/services/{self._release.name}-operator:http-metrics/proxy/metrics"
        for line in self._release.kubectl("get", "--raw", where, check=False).splitlines():
            if line.startswith("longshore_operator_scale_in_busy_workers_total"):
                self.busy_removed += float(line.rpartition(" ")[2])

    def kill(self, turn: Iterator[str]) -> None:
        """SIGKILL to whose turn it is; nothing when it does not run."""
        kind = next(turn)
        if kind == "operator":
            self.count()
        pods = [
            pod for pod in self._release.pods("worker" if kind == "shim" else kind)
            if "containerID" in pod["status"].get("containerStatuses", [{}])[0]
        ]  # fmt: skip
        if not pods:
            return
        pod = next((one for one in pods if one["metadata"]["name"] in self.busy), pods[0])
        pids = self._release.pids(pod)
        if kind == "shim":
            pids = {above for pid in pids if is_shim(above := parent(pid))}
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it went with another one
        if pids:
            self.kills.append((kind, pod["metadata"]["name"], time.time()))

    def explained(self, entry: Object) -> bool:
        """Whether an attempt was cut off by one of these kills, and so not by a scale-in."""
        begin, end = (datetime.fromisoformat(entry[key]).timestamp() for key in ("startedAt", "finishedAt"))
        return any(pod == entry["worker"] and begin - 1 <= at <= end for _, pod, at in self.kills)

    def shrinks(self) -> int:
        """How often fewer workers were asked for."""
        return sum(after < before for before, after in itertools.pairwise(self.sizes))


def parent(pid: int) -> int:
    """Of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def is_shim(pid: int) -> bool:
    """Whether it is what containerd starts beside each pod."""
    try:
        return "containerd-shim" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


@pytest.mark.timeout(LIMIT_SECONDS + 240)
def test_no_kill_and_no_scale_in_loses_a_job(release: Release) -> None:
    chaos, turn, began = Chaos(release), itertools.cycle(TURN), time.monotonic()
    chaos.wave()
    while (waiting := chaos.waiting()) or chaos.sent < JOBS or chaos.sizes[-1]:
        assert time.monotonic() - began < LIMIT_SECONDS, f"{waiting} jobs wait\n{release.story()}"
        if waiting <= 2 and chaos.sent < JOBS and chaos.shrinks() >= chaos.sent // WAVE:
            chaos.wave()  # while the pool shrinks
        next_kill = time.monotonic() + KILL_SECONDS
        while time.monotonic() < next_kill:
            chaos.look()
            time.sleep(0.2)
        if waiting or chaos.sent < JOBS:
            chaos.kill(turn)
    took = time.monotonic() - began
    chaos.count()

    jobs = release.plane.must("GET", f"{API}/{release.namespace}/jobs")["items"]
    lost = [entry for job in jobs for entry in job["status"]["history"] if entry["outcome"] != "succeeded"]
    print(f"{JOBS} jobs in {took:.0f} s, {chaos.sent // WAVE} waves; kills: {dict(Counter(kind for kind, _, _ in chaos.kills))}; attempts cut off: {len(lost)}; "
          f"workers asked for: {chaos.sizes}")  # fmt: skip
    check_ends(jobs)
    assert 0 == chaos.busy_removed, "a scale-in took a worker with jobs"
    assert [] == [entry for entry in lost if not chaos.explained(entry)], chaos.kills
    assert chaos.shrinks() >= JOBS // WAVE, chaos.sizes
    assert set(TURN) == {kind for kind, _, _ in chaos.kills}


def check_ends(jobs: list[Object]) -> None:
    """Exactly one end for each, no retry, and no attempt that nothing accounts for."""
    assert {f"job-{number}" for number in range(JOBS)} == {job["metadata"]["name"] for job in jobs}
    for job in jobs:
        status = job["status"]
        assert ("Succeeded", 0) == (status["phase"], status.get("retries", 0)), job
        assert 1 + status.get("disruptions", 0) == status["attempts"], job
        assert 1 == sum(entry["outcome"] == "succeeded" for entry in status["history"]), job
        assert ["True"] == [one["status"] for one in status["conditions"] if one["type"] == "Finished"], job
