"""What the operator's leader can tell of a job: why it waits, or where it runs. Read off the desk, never written down."""

import time
from collections.abc import Callable, Iterable

from longshore.job import explain as rules
from longshore.job.spec import rfc3339_at
from longshore_operator.desk import Desk, Worker
from longshore_operator.job import Job, Json

WAITS_FOR_WORKERS = frozenset({"NoWorker", "NoFreeSlot", "InLine", "UnknownHandler"})


class Explainer:
    """``now`` is seconds since the epoch, ``clock`` monotonic."""

    def __init__(
        self, desk: Desk, *, now: Callable[[], float], clock: Callable[[], float] = time.monotonic,
        hindrances: Callable[[str, str, str], Iterable[str]] = lambda _namespace, _queue, _handler: (),
    ) -> None:  # fmt: skip
        """``hindrances``: what pools know that keeps workers away, by namespace, queue and handler of a job."""
        self._desk, self._now, self._clock, self._hindrances = desk, now, clock, hindrances

    def explain(self, namespace: str, name: str) -> Json | None:
        """Why the job stands where it stands; None for one that is not here: it ended well, was cancelled or is none."""
        job = self._desk.named(namespace, name)
        if job is None:
            return None
        whole: Json = {"id": name, "namespace": namespace, "phase": job.phase.value, "queue": job.queue}
        if job.phase.terminal:
            return whole | {"reason": "Ended", "message": f"it has ended: {job.phase}"}
        if job.running:
            return whole | self._running(job)
        found = self._told_by_pools(job, self._waiting(job))
        return whole | found.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)

    def _told_by_pools(self, job: Job, found: rules.Explanation) -> rules.Explanation:
        """With what its pools know, where the job waits for a worker or a slot."""
        if found.reason not in WAITS_FOR_WORKERS:
            return found
        said = self._hindrances(job.namespace, job.queue, job.handler)
        return found.model_copy(update={"message": "; ".join([found.message, *said])})

    def _running(self, job: Job) -> Json:
        attempts = [
            {"number": attempt.number, "startedAt": rfc3339_at(attempt.started_at), "worker": attempt.worker_name}
            | ({"index": attempt.index} if attempt.index is not None else {})
            for attempt in job.running.values()
        ]
        workers = sorted({attempt.worker_name for attempt in job.running.values() if attempt.worker_name})
        where = f"it runs on {', '.join(workers)}" if workers else "it runs; no worker has named it yet"
        message = f"{where}, {len(attempts)} attempt(s)" if len(attempts) > 1 else where
        if job.cancel:
            message += "; it is being cancelled"
        return {"reason": "Running", "message": message, "attempts": attempts}

    def _waiting(self, job: Job) -> rules.Explanation:
        desk = self._desk
        able = [worker for worker in desk.workers.values() if self._able(worker, job)]
        found = rules.explain(
            desk.line(job.key, self._now()), job.uid, now=self._now(),
            free_slots=sum(worker.free(self._clock()) for worker in able), waits_for=tuple(sorted(desk.waits_for(job))),
        )  # fmt: skip
        if found is None:
            return rules.Explanation(reason="Starting", message="the operator has only just begun")
        if found.reason == "Suspended" and job.unconfirmed:
            return found.model_copy(update={"message": job.unconfirmed})
        if found.reason == "UnknownHandler" and not desk.served(job):
            there = any(worker.pod.serves(*job.key) for worker in desk.workers.values())
            message = f"that serves queue {job.queue} has told what it runs" if there else f"serves queue {job.queue}"
            return rules.Explanation(reason="NoWorker", message=f"no worker {message}")
        if found.reason == "UnknownHandler" and not job.handler:
            return rules.Explanation(reason="UnknownHandler", message="no worker of its queue runs commands")
        return found

    @staticmethod
    def _able(worker: Worker, job: Job) -> bool:
        return worker.pod.serves(*job.key) and worker.runs(job.handler)
