"""All workers and all queues as the leader sees them: what ``GET /v1/workers`` and ``/v1/queues`` answer in a cluster."""

from longshore.job.spec import rfc3339_at
from longshore_operator.desk import Desk, Worker
from longshore_operator.job import Attempt, Job, Json


def workers(desk: Desk, *, now: float, clock: float) -> list[Json]:
    """Every worker that is known, by name; ``now`` is seconds since the epoch, ``clock`` monotonic."""
    found = sorted(desk.workers.values(), key=lambda worker: (worker.pod.namespace, worker.pod.name))
    return [_worker(worker, now, clock) for worker in found]


def _worker(worker: Worker, now: float, clock: float) -> Json:
    pod = worker.pod
    return {
        "name": pod.name, "namespace": pod.namespace, "pool": pod.pool, "boot": worker.boot, "ready": pod.ready,
        "draining": worker.leaving, "slots": worker.slots, "free": worker.free(clock),
        "handlers": sorted(worker.handlers or ()), "commands": worker.commands,
        "queues": sorted(pod.queues), "servesNamespaces": sorted(pod.namespaces),
        "lateSeconds": round(max(0.0, clock - worker.due_at), 3) if worker.due_at else 0.0,
        "running": [_attempt(job, attempt, now) for job, attempt in worker.held.values()],
    }  # fmt: skip


def _attempt(job: Job, attempt: Attempt, now: float) -> Json:
    return {
        "job": job.name, "namespace": job.namespace, "attempt": attempt.number, "index": attempt.index,
        "handler": job.handler, "startedAt": rfc3339_at(attempt.started_at), "seconds": round(now - attempt.started_at, 3),
    }  # fmt: skip


def queues(desk: Desk, *, now: float) -> list[Json]:
    """Every queue that has a policy or has had a job, by name; ``now`` is seconds since the epoch."""
    return [_queue(desk, *key, now=now) for key in sorted(desk.lines)]


def _queue(desk: Desk, namespace: str, name: str, *, now: float) -> Json:
    line = desk.lines[namespace, name]
    depth, oldest = desk.waits((namespace, name), now)
    return {
        "name": name, "namespace": namespace, "policy": line.policy.model_dump(mode="json", exclude_none=True),
        "waiting": len(line), "ready": depth, "running": line.running, "paused": line.policy.paused,
        "oldestAgeSeconds": round(max(0.0, now - oldest), 3) if oldest is not None else 0.0,
    }  # fmt: skip
