"""Job resources as they come in: what is new, what somebody asked for, what is gone."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from pydantic import ValidationError

from longshore.job.status import Phase, Reason
from longshore_operator.desk import Desk
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.job import Attempt, Job, Json
from longshore_operator.kube.client import KubeClient, path_of
from longshore_operator.record import Recorder
from longshore_operator.tasks import spawn
from longshore_operator.workers import Workers

# Ended jobs stay out of memory; failed ones are in view, so that a redrive is seen.
SELECTOR = "status.phase!=Succeeded,status.phase!=Cancelled"
CLAIM_SECONDS = 15.0  # so long a worker has to name an attempt that runs by its job's status: more than a poll lasts
REMEMBERED = 20_000  # uids of jobs that are over: minutes of them, and a list or a watch lags seconds at most


class Jobs:
    """Puts jobs on the desk and takes them off. While not leading it only watches."""

    def __init__(self, desk: Desk, client: KubeClient, recorder: Recorder, workers: Workers, *,
                 now: Callable[[], float], stir: Callable[[], None], log: Callable[..., None]) -> None:  # fmt: skip
        self._desk, self._client, self._recorder, self._workers = desk, client, recorder, workers
        self._now, self._stir, self._log = now, stir, log
        self.leading = False
        self._unreadable: set[str] = set()
        self._over: OrderedDict[str, None] = OrderedDict()

    # -- events ----------------------------------------------------------------------------------------------

    def seen(self, resource: Json) -> None:
        """A Job that is there, as a watch or a list shows it."""
        meta = resource["metadata"]
        if meta["uid"] in self._over:  # an event, or a page of a list, from before its end
            return
        version = int(meta["resourceVersion"])
        job = self._desk.jobs.get(meta["uid"])
        if job is None:
            self._new(resource, version)
        elif version > job.seen:
            job.seen = version
            self._changed(job, resource)

    def _new(self, resource: Json, version: int) -> None:
        phase = (resource.get("status") or {}).get("phase", "Pending")
        if phase in ("Succeeded", "Cancelled"):
            return
        try:
            job = Job(resource)
        except (ValidationError, ValueError) as error:
            self._not_readable(resource, error)
            return
        job.seen = version
        self._desk.add(job)
        if job.phase is Phase.RUNNING and job.array is None:
            # It ran when it was written: some worker will say that it has it, or it is lost.
            attempt = Attempt(job.attempts, None, job.started_at or self._now())
            attempt.worker_name = job.worker
            self._desk.begin(job, attempt, None, self._now())
        if self.leading:
            self.take_up(job)

    def _not_readable(self, resource: Json, error: Exception) -> None:
        meta = resource["metadata"]
        if meta["uid"] not in self._unreadable:
            self._unreadable.add(meta["uid"])
            detail = str(error).splitlines()[0]
            self._log("job_unreadable", level="error", job=meta["name"], namespace=meta["namespace"], detail=detail)

    def take_up(self, job: Job) -> None:
        """Put a job where it belongs; the leader does so for every job that it sees first."""
        now = self._now()
        if job.phase is Phase.FAILED:
            if job.redrive > job.redrives:
                self._recorder.redrive(job)
                self._stir()
            return
        if job.running:
            asyncio.get_running_loop().call_later(CLAIM_SECONDS, self._unclaimed, job)
        if job.cancel:
            self._cancel(job)
            return
        after = job.spec().after
        if after and not job.attempts:
            self._desk.wait_for(job, after)
            spawn(self._depend(job, after))
        self._desk.queue(job, now)
        self._stir()

    def _unclaimed(self, job: Job) -> None:
        for attempt in list(job.running.values()):
            if not attempt.worker and self._desk.jobs.get(job.uid) is job:
                self._recorder.attempt_lost(job, attempt, "no worker knows it")
                self._stir()

    def _changed(self, job: Job, resource: Json) -> None:
        spec, status = resource["spec"], resource.get("status") or {}
        cancel, suspend, redrive = bool(spec.get("cancel")), bool(spec.get("suspend")), int(spec.get("redrive", 0))
        asked = (cancel, suspend, redrive) != (job.cancel, job.suspend, job.redrive)
        job.cancel, job.suspend, job.redrive = cancel, suspend, redrive
        there = (Phase(status.get("phase", "Pending")), status.get("attempts", 0), status.get("redrives", 0))
        if there != job.saved and not self.leading:
            self._desk.drop(job)  # the leader has written: begin anew from there
            self._new(resource, job.seen)
            return
        if not self.leading or not asked:
            return
        if job.phase is Phase.FAILED:
            self.take_up(job)
        elif cancel:
            self._cancel(job)
        else:
            self._desk.queue(job, self._now())
            self._stir()

    def gone(self, resource: Json) -> None:
        """A Job that the watch shows no more: it ended, or somebody deleted it."""
        uid = resource["metadata"]["uid"]
        self._unreadable.discard(uid)
        self._remember(uid)
        if (job := self._desk.jobs.get(uid)) is not None and not job.phase.terminal:
            self.forget(job)
        elif job is not None and job.phase is Phase.FAILED:
            self._desk.drop(job)

    def _remember(self, uid: str) -> None:
        """It never comes back: it is deleted, or has ended as one that cannot be redriven."""
        self._over[uid] = None
        if len(self._over) > REMEMBERED:
            self._over.popitem(last=False)

    def forget(self, job: Job) -> None:
        """It is gone, or somebody else has ended it: what runs of it is stopped."""
        for attempt in list(job.running.values()):
            if self.leading:
                self._workers.stop(job, attempt)
            self._desk.end(job, attempt)
        self._desk.drop(job)
        if self.leading:
            self._dependency_gone(job)
            self._stir()

    def overtaken(self, job: Job, resource: Json | None) -> None:
        """The API server has another record than ours, or none: that one stands."""
        self._log("job_overtaken", level="warning", job=job.name, namespace=job.namespace)
        self.forget(job)
        if resource is not None:
            self._new(resource, int(resource["metadata"]["resourceVersion"]))

    def _cancel(self, job: Job) -> None:
        self._desk.queue(job, self._now())
        if not job.running:
            self._recorder.end(job, Phase.CANCELLED, Reason.CANCELLED, "cancelled before it ran")
        for attempt in job.running.values():
            if not attempt.stopping:
                self._workers.stop(job, attempt)

    # -- dependencies ----------------------------------------------------------------------------------------

    async def _depend(self, job: Job, names: tuple[str, ...]) -> None:
        """Look at dependencies that are not on the desk: each is read once."""
        for name in names:
            other = self._desk.named(job.namespace, name)
            if other is not None and not other.phase.terminal:
                continue
            phase = other.phase.value if other is not None else await self._phase_of(job.namespace, name)
            if job.uid not in self._desk.jobs or job.phase.terminal:
                return
            self._dependency_ended(job, name, phase)

    async def _phase_of(self, namespace: str, name: str) -> str:
        while True:
            try:
                found = await self._client.request("GET", path_of("jobs", namespace, name))
                return str((found.get("status") or {}).get("phase", "Pending"))
            except KubeUnavailable as error:
                await _pause(error)
            except KubeError as error:
                if error.status == 404:
                    return ""
                self._log("dependency_unreadable", level="error", job=name, detail=error.message)
                await _pause(None)

    def _dependency_ended(self, job: Job, name: str, phase: str) -> None:
        if phase == "Succeeded":
            self._desk.satisfied(job, name)
            if not self._desk.waits_for(job):
                job.ready_at = self._now()
                self._desk.queue(job, job.ready_at)
                self._stir()
        elif phase in ("Failed", "Cancelled"):
            text = f"job {name}, which has to succeed first, ended as {phase}"
            self._recorder.end(job, Phase.FAILED, Reason.DEPENDENCY_FAILED, text)
        elif not phase:
            text = f"there is no job {name} to wait for"
            self._recorder.end(job, Phase.FAILED, Reason.DEPENDENCY_MISSING, text)

    def ended(self, job: Job) -> None:
        """Its end is on record."""
        for dependent in self._desk.dependents(job.namespace, job.name):
            if not dependent.phase.terminal:
                self._dependency_ended(dependent, job.name, job.phase.value)
        if job.phase is not Phase.FAILED:
            self._remember(job.uid)
            self._desk.drop(job)

    def _dependency_gone(self, job: Job) -> None:
        for dependent in self._desk.dependents(job.namespace, job.name):
            if not dependent.phase.terminal:
                spawn(self._depend(dependent, (job.name,)))

    # -- lists -----------------------------------------------------------------------------------------------

    async def sync(self, namespaces: list[str]) -> None:
        """Hold the desk against a whole list: the net under the watch, which cannot show what it missed.

        Raises KubeError, KubeUnavailable.
        """
        known = {
            uid: job for uid, job in self._desk.jobs.items() if job.saved[0] is Phase.FAILED or not job.phase.terminal
        }
        found: set[str] = set()
        for namespace in namespaces:
            async for page in self._client.pages(path_of("jobs", namespace), field_selector=SELECTOR):
                for resource in page["items"]:
                    found.add(resource["metadata"]["uid"])
                    self.seen(resource)
        for uid, job in known.items():
            # It was on the desk before the list began and is not in it: deleted, or ended by somebody else.
            if uid not in found and self._desk.jobs.get(uid) is job:
                self.gone({"metadata": {"uid": uid}})


async def _pause(error: KubeUnavailable | None) -> None:
    await asyncio.sleep(max(0.5, error.retry_after if error is not None else 5.0))
