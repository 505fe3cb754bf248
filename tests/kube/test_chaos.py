"""Everything is killed −9 in turn while jobs run: none is lost, each has one end.

``make chaos`` runs it at full size; `CHAOS_JOBS` says how many.
"""

import itertools
import os
import threading
import time
from collections import Counter
from typing import Any

import pytest

from kube.control_plane import patiently
from kube.marks import runs
from kube.operators import Operator, Rig
from service import descendants
from worker_service import Worker

JOBS = int(os.environ.get("CHAOS_JOBS", "200"))
KILL_SECONDS = 2.0
WORKERS = 3
LENGTHS = [0.05] * 7 + [4.0]  # seconds; the long ones are what a killed worker had
TURN = ["leader", "worker", "apiserver", "standby", "worker", "etcd"]
LIMIT_SECONDS = 120 + JOBS / 5


class Supervisor:
    """Starts operators again, as a Deployment would."""

    def __init__(self, operators: list[Operator]) -> None:
        self._operators, self._stop = operators, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.3):
            for operator in self._operators:
                if operator.process is not None and operator.process.poll() is not None:
                    operator.start()

    def end(self) -> None:
        """No more restarts."""
        self._stop.set()
        self._thread.join()


def restart_worker(worker: Worker) -> None:
    """The kubelet's part: another process in the same pod."""
    children = descendants(worker.pid)
    worker.kill()
    assert children
    worker.start(ready=False)


def running(worker: Worker) -> int:
    """How many attempts it has now; 0 while it starts."""
    try:
        return runs(worker)
    except (OSError, AssertionError):
        return 0


def busiest(rig: Rig) -> Worker:
    """One that has jobs, as soon as there is one: where starting takes long, all have none at most times."""
    limit = time.monotonic() + 60
    while not running(found := max(rig.workers.values(), key=running)) and time.monotonic() < limit:
        time.sleep(0.05)
    return found


def kill(rig: Rig, kind: str) -> None:
    """SIGKILL to whose turn it is, and what its supervisor would do then."""
    plane = rig.plane
    match kind:
        case "leader" | "standby" as who:
            leaders = [operator for operator in rig.operators if operator.lines("took_over")]
            others = [operator for operator in rig.operators if operator not in leaders]
            chosen = (leaders[-1:] if who == "leader" else others) or rig.operators
            if chosen[0].process is not None:
                chosen[0].process.kill()
        case "worker":
            restart_worker(busiest(rig))
        case "apiserver":
            plane.kill_apiserver()
            plane.start_apiserver()
        case "etcd":
            plane.kill_etcd()
            time.sleep(0.3)
            plane.start_etcd()


@pytest.mark.timeout(LIMIT_SECONDS + 60)
def test_no_kill_loses_a_job_or_ends_one_twice(own_rig: Rig) -> None:
    rig = own_rig
    for number in range(WORKERS):
        rig.worker(f"worker-{number}", slots=4)
    for number in range(2):
        rig.operator(lease_seconds=3, identity=f"operator-{number}")
    supervisor = Supervisor(rig.operators)
    try:
        submitting = threading.Thread(target=lambda: [patiently(lambda n=n: submit(rig, n)) for n in range(JOBS)])  # type: ignore[misc]
        submitting.start()
        began, kills = time.monotonic(), Counter[str]()
        for kind in itertools.cycle(TURN):
            time.sleep(KILL_SECONDS)
            left = JOBS if submitting.is_alive() else len(open_jobs(rig))
            if not left:
                break
            assert time.monotonic() - began < LIMIT_SECONDS, f"{left} jobs have not ended"
            if kind == "worker" and left <= WORKERS:
                continue  # where all is slow, the last of the long ones would never get to its end
            kill(rig, kind)
            kills[kind] += 1
    finally:
        supervisor.end()
    submitting.join()
    took = time.monotonic() - began

    disruptions = check_ends(rig)
    assert disruptions, "no worker that was killed had a job"
    print(f"{JOBS} jobs in {took:.0f} s; kills: {dict(kills)}; disruptions: {disruptions}")
    for worker in rig.workers.values():
        worker.wait_ready()  # it may have been killed last
        rig.until(lambda worker=worker: not worker.poll("").running, "an idle worker")  # type: ignore[misc]


def submit(rig: Rig, number: int) -> None:
    """Create a job; one that is there already was created by a request whose answer got lost."""
    status, answer = rig.plane.request("POST", rig.path, {
        "apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": f"job-{number}"},
        "spec": {"handler": "sleep", "args": {"seconds": LENGTHS[number % len(LENGTHS)], "steps": 1},
                 "maxDisruptions": 100},
    })  # fmt: skip
    assert status in (201, 409), answer


def jobs(rig: Rig) -> list[dict[str, Any]]:
    """All of them."""
    return patiently(lambda: rig.plane.must("GET", rig.path))["items"]  # type: ignore[no-any-return]


def open_jobs(rig: Rig) -> list[str]:
    """Names of those that have not ended."""
    return [job["metadata"]["name"] for job in jobs(rig) if job["status"]["phase"] in ("Pending", "Running")]


def check_ends(rig: Rig) -> int:
    """Exactly one end for each, and no attempt that nothing accounts for; the number of disruptions."""
    found = jobs(rig)
    assert {f"job-{number}" for number in range(JOBS)} == {job["metadata"]["name"] for job in found}
    assert {"Succeeded": JOBS} == Counter(job["status"]["phase"] for job in found)
    for job in found:
        status = job["status"]
        name = job["metadata"]["name"]
        assert 1 + status["retries"] + status["disruptions"] == status["attempts"], (name, status)
        ends = [entry for entry in status["history"] if entry["outcome"] == "succeeded"]
        assert 1 == len(ends), (name, status)
        assert ["True"] == [c["status"] for c in status["conditions"] if c["type"] == "Finished"]
    return sum(int(job["status"]["disruptions"]) for job in found)
