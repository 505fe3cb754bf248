"""The desk in numbers, for metrics."""

from collections import Counter
from typing import Any

from longshore_operator.desk import Desk, Worker
from longshore_operator.metrics import QueueLine

STATES = ("ready", "draining", "unready", "unreachable")


def state(worker: Worker) -> str:
    """A worker in one word."""
    if not worker.boot or worker.refusals:
        return "unreachable"
    if worker.leaving:
        return "draining"
    return "ready" if worker.pod.open else "unready"


def lines_and_workers(desk: Desk, now: float, clock: float) -> dict[str, Any]:
    """Queues, workers and slots of a ``metrics.Snapshot``; ``clock`` is monotonic."""
    states = Counter(state(worker) for worker in desk.workers.values())
    return {
        "queues": [
            QueueLine(*key, depth, line.running, None if since is None else now - since)
            for key, line in desk.lines.items() for depth, since in [desk.waits(key, now)]
        ],
        "workers": {name: states[name] for name in STATES},
        "slots": {
            "free": sum(worker.free(clock) for worker in desk.workers.values()),
            "busy": sum(len(worker.held) for worker in desk.workers.values()),
        },
    }  # fmt: skip


def sizes(desk: Desk) -> dict[str, int]:
    """Jobs on the desk by phase."""
    return {f"jobs_{phase.value.lower()}": count for phase, count in desk.counts().items()}
