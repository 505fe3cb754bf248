"""What a job's ``after`` means: it waits for the named jobs, or fails when one of them never will succeed."""

import asyncio
from collections.abc import Callable

from longshore.job.dependencies import Prospect, obstruction, prospect
from longshore.job.status import Phase, Reason
from longshore_operator.contain import one_object
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
        """Wait for what has to come before, unless it runs already; a redrive waits for it again."""
        after = () if job.running or job.phase is Phase.RUNNING else job.spec().after
        self._desk.wait_for(job, after)
        if self._waits_for_itself(job):
            text = "it would wait for itself: one of the jobs in `after` waits for it, directly or through others"
            self._recorder.end(job, Phase.FAILED, Reason.DEPENDENCY_FAILED, text)
        elif after:
            spawn(self._look(job, after))

    def _waits_for_itself(self, job: Job) -> bool:
        """The last job of a cycle closes it, so a job that no other waits for needs no look at the others."""
        if not self._desk.dependents(job.namespace, job.name):
            return False
        seen, left = set[str](), list(self._desk.waits_for(job))
        while left:
            name = left.pop()
            if name == job.name:
                return True
            if name not in seen and (other := self._desk.named(job.namespace, name)) is not None:
                left += self._desk.waits_for(other)
            seen.add(name)
        return False

    def ended(self, job: Job) -> None:
        """Its end is on record: tell those behind it."""
        for dependent in self._desk.dependents(job.namespace, job.name):
            if not dependent.phase.terminal:
                self._told(dependent, job.name, job.phase, self._now())

    def gone(self, job: Job) -> None:
        """It is not on the desk any more, and nobody here has ended it."""
        for dependent in self._desk.dependents(job.namespace, job.name):
            if not dependent.phase.terminal:
                spawn(self._look(dependent, (job.name,)))

    async def _look(self, job: Job, names: tuple[str, ...]) -> None:
        """Names that are not on the desk are read once; what cannot be read at all fails the job that waits for it."""

        def refuse(why: str) -> None:
            self._recorder.end(job, Phase.FAILED, Reason.DEPENDENCY_FAILED, why)

        with one_object("job", job.namespace, job.name, refuse=refuse):
            await self._look_at(job, names)

    async def _look_at(self, job: Job, names: tuple[str, ...]) -> None:
        for name in names:
            other = self._desk.named(job.namespace, name)
            if other is not None and (not other.phase.terminal or other.redriving):
                continue
            phase: Phase | None
            # Edges of several jobs come in any order: who redrives a chain may have redriven the other one first.
            if other is not None and not (job.redrives and other.phase is Phase.FAILED):
                phase, redriving, ended = other.phase, False, other.finished_at
            else:
                phase, redriving, ended = await self._read(job.namespace, name)
            if self._desk.jobs.get(job.uid) is not job or job.phase.terminal:
                return
            self._told(job, name, phase, ended or self._now(), redriving=redriving)

    async def _read(self, namespace: str, name: str) -> tuple[Phase | None, bool, float | None]:
        """Phase of a job, whether a redrive of it is asked for, and its end; no phase when there is none."""
        while True:
            try:
                found = await self._client.request("GET", path_of("jobs", namespace, name))
                spec, status = found["spec"], found.get("status") or {}
                redriving = int(spec.get("redrive", 0)) > int(status.get("redrives", 0)) and not spec.get("cancel")
                return Phase(status.get("phase", "Pending")), redriving, seconds(status.get("finishedAt"))
            except KubeUnavailable as error:
                await asyncio.sleep(max(0.5, error.retry_after))
            except KubeError as error:
                if error.status == 404:
                    return None, False, None
                self._log("dependency_unreadable", level="error", job=name, detail=error.message)
                await asyncio.sleep(5.0)

    def _told(self, job: Job, name: str, phase: Phase | None, when: float, *, redriving: bool = False) -> None:
        what = prospect(phase, redriving=redriving, ran=job.attempts > 0)
        if what is Prospect.MET:
            self._desk.satisfied(job, name)
            job.ready_at = max(job.ready_at, when)
            if not self._desk.waits_for(job):
                self._ready(job)
        elif what is not Prospect.WAITS:
            reason = Reason.DEPENDENCY_FAILED if what is Prospect.FAILED else Reason.DEPENDENCY_MISSING
            self._recorder.end(job, Phase.FAILED, reason, obstruction(name, phase))
