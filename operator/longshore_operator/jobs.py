"""Job resources as they come in: what is new, what somebody asked for, what is gone."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from longshore.job.status import Phase, Reason
from longshore_operator import restored
from longshore_operator.contain import named, one_object
from longshore_operator.dependencies import Dependencies
from longshore_operator.desk import Desk
from longshore_operator.job import Attempt, Job, Json, grace
from longshore_operator.kube.client import KubeClient, path_of
from longshore_operator.overdue import Overdue
from longshore_operator.record import Recorder
from longshore_operator.workers import Workers

# Ended jobs stay out of memory; failed ones are in view, so that a redrive is seen.
SELECTOR = "status.phase!=Succeeded,status.phase!=Cancelled"
CLAIM_SECONDS = 15.0  # so long a worker has to name an attempt that runs by its job's status: more than a poll lasts
REMEMBERED = 20_000  # uids of jobs that are over: minutes of them, and a list or a watch lags seconds at most


class Jobs:
    """Puts jobs on the desk and takes them off. While not leading it only watches."""

    def __init__(self, desk: Desk, client: KubeClient, recorder: Recorder, workers: Workers, overdue: Overdue, *,
                 now: Callable[[], float], stir: Callable[[], None], log: Callable[..., None]) -> None:  # fmt: skip
        self._desk, self._client, self._recorder, self._workers = desk, client, recorder, workers
        self._overdue, self._now, self._stir, self._log = overdue, now, stir, log
        self.leading = False
        self._dependencies = Dependencies(desk, client, recorder, now=now, ready=self._ready, log=log)
        self._over: OrderedDict[str, None] = OrderedDict()

    # -- events ----------------------------------------------------------------------------------------------

    def seen(self, resource: Json) -> bool:
        """A Job that is there, as a watch or a list shows it; whether that is news. One that cannot be handled is failed."""
        with one_object("job", *named(resource), refuse=lambda why: self._refused(resource, why)):
            return self._seen(resource)
        return False

    def _refused(self, resource: Json, why: str) -> None:
        job = self._desk.jobs.get(resource["metadata"]["uid"])
        if job is not None and self.leading:
            self.refuse(job, why)

    def refuse(self, job: Job, why: str) -> None:
        """Something in it cannot be handled: it ends, whatever it waits for."""
        if not job.phase.terminal:
            self._recorder.end(job, Phase.FAILED, Reason.INVALID_SPEC, why)

    def _seen(self, resource: Json) -> bool:
        meta = resource["metadata"]
        if meta["uid"] in self._over:  # an event, or a page of a list, from before its end
            return False
        version = int(meta["resourceVersion"])
        job = self._desk.jobs.get(meta["uid"])
        if job is None:
            return self._new(resource, version)
        if version <= job.seen:
            return False
        job.seen = version
        self._changed(job, resource)
        return True

    def _new(self, resource: Json, version: int) -> bool:
        phase = (resource.get("status") or {}).get("phase", "Pending")
        if phase in ("Succeeded", "Cancelled"):
            return False
        try:
            job = Job(resource)
        except Exception as error:  # pydantic's refusals, what is too deep to be written, and what nobody thought of
            job = Job.unreadable(resource, error)
        job.seen = version
        self._desk.add(job)
        if job.phase is Phase.RUNNING and job.array is None:
            # It ran when it was written: some worker will say that it has it, or it is lost.
            attempt = Attempt(job.attempts, None, job.started_at or self._now())
            attempt.worker_name = job.worker
            self._desk.begin(job, attempt, None, self._now())
        if self.leading:
            self.take_up(job)
        return True

    def take_up(self, job: Job) -> None:
        """Put a job where it belongs; the leader does so for every job that it sees first."""
        with one_object("job", job.namespace, job.name, refuse=lambda why: self.refuse(job, why)):
            self._take_up(job)

    def _take_up(self, job: Job) -> None:
        if job.phase is Phase.FAILED:
            if not job.redriving:
                return
            self._recorder.redrive(job)
        if job.invalid:
            self._recorder.end(job, Phase.FAILED, Reason.INVALID_SPEC, job.invalid)
            return
        if job.restored is not None and not (job.attempts or job.redrives):
            self._ended_before(job, job.restored)
            return
        if job.running:
            asyncio.get_running_loop().call_later(CLAIM_SECONDS, self._unclaimed, job)
        if job.cancel:
            self._cancel(job)
            return
        self._dependencies.watch(job)
        self._ready(job)

    def _ended_before(self, job: Job, phase: Phase) -> None:
        """It had ended when the copy was made that it was restored from. A failed one may be redriven, as before."""
        job.redrives = job.redrive  # those of the copy were done there
        end = Phase.FAILED if phase is Phase.FAILED else Phase.CANCELLED
        message = f"it was restored from a copy in which it was {phase}, so it does not run again"
        self._recorder.end(job, end, Reason.RESTORED, message)

    def _ready(self, job: Job) -> None:
        """It waits for no other job, or does so in its line."""
        self._overdue.watch(job)
        self._desk.queue(job, self._now())
        self._stir()

    def returned(self, job: Job) -> None:
        """No worker has taken the attempt after all."""
        if job.cancel:
            self._cancel(job)
        else:
            self._desk.queue(job, self._now())

    def started(self, job: Job, attempt: Attempt) -> None:
        """A worker has the attempt; a wish for its end that was faster than the attempt found nothing there."""
        if not attempt.over and (job.cancel or job.running.get(attempt.index) is not attempt):
            self._workers.stop(job, attempt)

    def _unclaimed(self, job: Job) -> None:
        for attempt in list(job.running.values()):
            if not attempt.worker and self._desk.jobs.get(job.uid) is job:
                self._recorder.attempt_lost(job, attempt, "no worker knows it")
                self._stir()

    def _changed(self, job: Job, resource: Json) -> None:
        spec, status = resource["spec"], resource.get("status") or {}
        job.unconfirmed = restored.obstacle(resource["metadata"])
        cancel, redrive = bool(spec.get("cancel")), int(spec.get("redrive", 0))
        suspend = bool(spec.get("suspend")) or bool(job.unconfirmed)
        asked = (cancel, suspend, redrive) != (job.cancel, job.suspend, job.redrive)
        job.cancel, job.suspend, job.redrive, job.grace = cancel, suspend, redrive, grace(resource["metadata"])
        there = (Phase(status.get("phase", "Pending")), status.get("attempts", 0), status.get("redrives", 0))
        # Something is decided here already while the lead is taken over: then it is the echo of our own write.
        if there != job.saved and not self.leading and not job.version:
            self._desk.drop(job)  # the leader has written: begin anew from there
            self._new(resource, job.seen)
            return
        if not self.leading or not asked:
            return
        if job.phase is Phase.FAILED:
            self.take_up(job)
        elif job.phase.terminal:
            return  # its end is decided and on its way to the API server: what was first stands
        elif cancel:
            self._cancel(job)
        else:
            self._desk.queue(job, self._now())
            self._stir()

    def gone(self, resource: Json) -> None:
        """A Job that the watch shows no more: it ended, or somebody deleted it."""
        uid = resource["metadata"]["uid"]
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
        if self.leading:
            for attempt in job.running.values():
                self._workers.stop(job, attempt)
        self._desk.drop(job)
        if self.leading:
            self._dependencies.gone(job)
            self._stir()

    def leave(self, namespace: str) -> None:
        """Forget the jobs of a namespace that another operator has: what runs there goes on, and is that one's to record."""
        for job in [one for one in self._desk.jobs.values() if one.namespace == namespace]:
            self._desk.drop(job)

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

    # -- ends ------------------------------------------------------------------------------------------------

    def ended(self, job: Job) -> None:
        """Its end is on record."""
        with one_object("job", job.namespace, job.name):
            self._dependencies.ended(job)
        if job.phase is not Phase.FAILED:
            self._remember(job.uid)
            self._desk.drop(job)
        elif job.redrive > job.redrives:  # raised before it had failed
            self.take_up(job)

    # -- lists -----------------------------------------------------------------------------------------------

    async def sync(self, namespaces: list[str]) -> int:
        """Hold the desk against a whole list: the net under the watch, which cannot show what it missed.

        Returns how much was news. Raises KubeError, KubeUnavailable.
        """
        known = {
            uid: job for uid, job in self._desk.jobs.items() if job.saved[0] is Phase.FAILED or not job.phase.terminal
        }
        found: set[str] = set()
        news = 0
        for namespace in namespaces:
            async for page in self._client.pages(path_of("jobs", namespace), field_selector=SELECTOR):
                for resource in page["items"]:
                    found.add(resource["metadata"]["uid"])
                    news += self.seen(resource)
        for uid, job in known.items():
            # It was on the desk before the list began and is not in it: deleted, or ended by somebody else.
            if uid not in found and self._desk.jobs.get(uid) is job:
                self.gone({"metadata": {"uid": uid}})
                news += 1
        return news
