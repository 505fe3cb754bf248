"""Jobs that leave a mark for each run and wait at a gate: what tests of recovery share."""

import os
import signal
from pathlib import Path
from typing import Any

from kube.operators import Operator, Rig
from service import SAMPLES, descendants
from worker_service import Worker

APPS = f"{SAMPLES},rough_jobs,worker_jobs"
Json = dict[str, Any]


class Marks:
    """Where runs of the handler ``marks`` leave a line, and the gate that lets them end."""

    def __init__(self, folder: Path, name: str = "marks") -> None:
        self._file, self._gate = folder / name, folder / f"{name}-gate"

    @property
    def args(self) -> Json:
        return {"path": str(self._file), "gate": str(self._gate)}

    def lines(self) -> list[int]:
        """One for each run: its pid, or its index in an array."""
        return [int(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []

    def open(self, index: int | None = None) -> None:
        """Let them end."""
        (self._gate if index is None else Path(f"{self._gate}-{index}")).touch()


def start_worker(rig: Rig, name: str = "worker-0", **settings: Any) -> Worker:
    return rig.worker(name, apps=APPS, **settings)


def lead(rig: Rig, **settings: object) -> Operator:
    """An operator that leads at once."""
    return rig.leader(leader_election=False, **settings)


def run_marks(rig: Rig, marks: Marks, name: str = "job", **spec: object) -> None:
    """Submit a job and wait until it has begun."""
    before = len(marks.lines())
    rig.submit(name, "marks", args=marks.args, **spec)
    rig.until(lambda: len(marks.lines()) > before, f"the start of {name}")


def runs(worker: Worker) -> int:
    """How many attempts it says it runs."""
    return len(worker.poll("").running)


def check(rig: Rig, name: str = "job", *outcomes: str, phase: str = "Succeeded", disruptions: int = 0) -> Json:
    """Wait for the end of a job and for workers that run nothing; its status, which is as it should be."""
    status = rig.end_of(name)
    assert phase == status["phase"], status
    assert list(outcomes) == [entry["outcome"] for entry in status.get("history", [])], status
    assert list(range(1, len(outcomes) + 1)) == [entry["number"] for entry in status.get("history", [])], status
    assert (len(outcomes), disruptions, 0) == tuple(status[n] for n in ("attempts", "disruptions", "retries")), status
    check_idle(rig)
    return status


def check_idle(rig: Rig) -> None:
    """No worker that lives runs anything."""
    for worker in rig.workers.values():
        if worker.running():
            rig.until(lambda worker=worker: not runs(worker), "an idle worker")  # type: ignore[misc]


def holder(rig: Rig, name: str = "job") -> str:
    """Name of the worker that runs the job, by the job's status."""
    rig.phase(name, "Running")
    return str(rig.status(name)["worker"])


def signal_all(worker: Worker, number: signal.Signals) -> None:
    """To all processes of a worker."""
    for pid in [worker.pid, *descendants(worker.pid)]:
        os.kill(pid, number)


def two_workers(rig: Rig) -> None:
    start_worker(rig, "worker-0")
    start_worker(rig, "worker-1")


def running_on(rig: Rig) -> str:
    """Name of the worker whose feed says that it runs something."""
    return next(name for name, worker in rig.workers.items() if worker.running() and runs(worker))
