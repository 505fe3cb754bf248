"""What a job's ``after`` means: it waits for the named jobs, or fails when one of them never will succeed."""

import asyncio
from collections.abc import Callable

from longshore.job.status import Phase, Reason
from longshore_operator.desk import Desk
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.job import Job, seconds
from longshore_operator.kube.client import KubeClient, path_of
from longshore_operator.record import Recorder
from longshore_operator.tasks import spawn


class Dependencies:
    """``ready`` is called for a job that waits for no other any more; ``now`` is seconds since the epoch."""

    def __init__(self, desk: Desk, client: KubeClient, recorder: Recorder, *, now: Callable[[], float],
                 ready: Callable[[Job], None], log: Callable[..., None]) -> None:  # fmt: skip
        self._desk, self._client, self._recorder = desk, client, recorder
        self._now, self._ready, self._log = now, ready, log

    def watch(self, job: Job) -> None:
        """Wait for what has to come before; a redrive does not ask for it again."""
        after = () if job.attempts or job.redrives else job.spec().after
        self._desk.wait_for(job, after)
        if after:
            spawn(self._look(job, after))

    def ended(self, job: Job) -> None:
        """Its end is on record: tell those behind it."""
        for dependent in self._desk.dependents(job.namespace, job.name):
            if not dependent.phase.terminal:
                self._told(dependent, job.name, job.phase.value, self._now())

    def gone(self, job: Job) -> None:
        """It is not on the desk any more, and nobody here has ended it."""
        for dependent in self._desk.dependents(job.namespace, job.name):
            if not dependent.phase.terminal:
                spawn(self._look(dependent, (job.name,)))

    async def _look(self, job: Job, names: tuple[str, ...]) -> None:
        """Names that are not on the desk are read once."""
        for name in names:
            other = self._desk.named(job.namespace, name)
            if other is not None and not other.phase.terminal:
                continue
            if other is not None:
                phase, ended = other.phase.value, other.finished_at
            else:
                phase, ended = await self._read(job.namespace, name)
            if self._desk.jobs.get(job.uid) is not job or job.phase.terminal:
                return
            self._told(job, name, phase, ended or self._now())

    async def _read(self, namespace: str, name: str) -> tuple[str, float | None]:
        """Phase and end of a job; no phase when there is none."""
        while True:
            try:
                found = await self._client.request("GET", path_of("jobs", namespace, name))
                status = found.get("status") or {}
                return str(status.get("phase", "Pending")), seconds(status.get("finishedAt"))
            except KubeUnavailable as error:
                await asyncio.sleep(max(0.5, error.retry_after))
            except KubeError as error:
                if error.status == 404:
                    return "", None
                self._log("dependency_unreadable", level="error", job=name, detail=error.message)
                await asyncio.sleep(5.0)

    def _told(self, job: Job, name: str, phase: str, when: float) -> None:
        if phase == "Succeeded":
            self._desk.satisfied(job, name)
            job.ready_at = max(job.ready_at, when)
            if not self._desk.waits_for(job):
                self._ready(job)
        elif phase in ("Failed", "Cancelled"):
            text = f"job {name}, which has to succeed first, ended as {phase}"
            self._recorder.end(job, Phase.FAILED, Reason.DEPENDENCY_FAILED, text)
        elif not phase:
            text = f"there is no job {name} to wait for"
            self._recorder.end(job, Phase.FAILED, Reason.DEPENDENCY_MISSING, text)
