"""Follows the workers: their feeds, their pods, and what is lost when one of them goes."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from pydantic import ValidationError

from longshore.job.attempts import EndedEntry, Feed
from longshore.job.waiting import Held
from longshore_operator import recover
from longshore_operator.attempts_client import WAIT_SECONDS, AttemptsClient, readable
from longshore_operator.contain import named, one_object
from longshore_operator.desk import Desk, Worker
from longshore_operator.errors import WorkerUnreachable
from longshore_operator.job import Attempt, Job, Json
from longshore_operator.kube.client import KubeClient, path_of
from longshore_operator.pool_namespaces import PoolNamespaces
from longshore_operator.record import Recorder
from longshore_operator.tasks import spawn

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.15, 1.0
STARTING_PAUSE_SECONDS = 0.25  # jobs may wait for its first word
UNREADY_WAIT_SECONDS = 2.0
MOST_NAMED = 100  # namespaces that the log names once each
LOOK_SECONDS = 1.0  # silence is looked at so often


class Workers:
    """One task for each worker, while leading. ``stir`` is called when slots may have become free."""

    def __init__(self, desk: Desk, client: AttemptsClient, recorder: Recorder, trust: PoolNamespaces, *, now: Callable[[], float],
                 stir: Callable[[], None], log: Callable[..., None],
                 ran: Callable[[Worker, Job, EndedEntry], None] = lambda _worker, _job, _end: None) -> None:  # fmt: skip
        """``ran`` is told of every attempt that ended by itself."""
        self._desk, self._client, self._recorder, self._ran = desk, client, recorder, ran
        self._trust = trust
        self._not_followed: set[str] = set()
        """Namespaces with pods that are not followed, which has been logged."""
        self._now, self._stir, self._log = now, stir, log
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._mute: set[str] = set()
        """Uids of pods whose worker cannot be asked, which has been logged."""
        self.on = False
        """Whether workers are asked: only the leader does, and not before it knows all jobs."""

    # -- pods ------------------------------------------------------------------------------------------------

    def resource_seen(self, resource: Json) -> None:
        """The API server shows a pod with the label of a pool, in whatever namespace."""
        namespace = resource["metadata"]["namespace"]
        if self._trust.follows(namespace):
            self.pod_seen(recover.pod(resource, self._trust))
        elif namespace not in self._not_followed and len(self._not_followed) < MOST_NAMED:
            self._not_followed.add(namespace)
            hint = "name the namespace in pool_namespaces if its pods are workers of this operator"
            self._log("pod_not_followed", level="warning", namespace=namespace,
                      pod=resource["metadata"]["name"], hint=hint)  # fmt: skip

    def pod_seen(self, pod: recover.Pod) -> None:
        """The API server shows a pod of a pool."""
        worker = self._desk.workers.get(pod.uid)
        if worker is None:
            if pod.ended:
                return
            worker = self._desk.workers[pod.uid] = Worker(pod)
        before, worker.pod = worker.pod, pod
        worker.unborn |= self.on and not pod.running
        if pod.ended:
            self._gone(worker)
        elif pod.address and self.on and pod.uid not in self._tasks:
            self._tasks[pod.uid] = spawn(self._follow(worker))
        elif worker.refusals:
            self._look(worker)  # it may say now why
        if _offers(before) != _offers(pod):
            self._desk.look_again(Held.HANDLER, self._now())
            self._stir()

    def pod_gone(self, uid: str) -> None:
        """There is no such pod any more."""
        if (worker := self._desk.workers.get(uid)) is not None:
            self._gone(worker, None)

    def leave(self, namespace: str) -> None:
        """Forget the workers of a namespace that another operator has; jobs of other namespaces that run there are lost."""
        for worker in [one for one in self._desk.workers.values() if one.pod.namespace == namespace]:
            self._gone(worker)

    async def sync(self, kube: KubeClient, namespace: str) -> None:
        """All pods of a namespace, or of all with ''; raises KubeError, KubeUnavailable."""
        known = {
            uid for uid, worker in self._desk.workers.items()
            if namespace in ("", worker.pod.namespace) and not uid.startswith(recover.BY_HAND)
        }  # fmt: skip
        found: set[str] = set()
        async for page in kube.pages(path_of("pods", namespace, api="/api/v1"), label_selector=recover.POOL):
            for resource in page["items"]:
                found.add(resource["metadata"]["uid"])
                with one_object("pod", *named(resource)):
                    self.resource_seen(resource)
        for uid in known - found:
            self.pod_gone(uid)

    def start(self) -> None:
        """Ask all workers what they hold; from now on we lead."""
        self.on = True
        for worker in list(self._desk.workers.values()):
            worker.unborn = not worker.pod.running
            if worker.pod.address and worker.pod.uid not in self._tasks:
                self._tasks[worker.pod.uid] = spawn(self._follow(worker))

    async def all_heard(self, seconds: float) -> None:
        """Until every worker has said what it holds, or cannot, or the time is over.

        Those that are not ready too: one that drains runs on what it has.
        """
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            asked = [worker for worker in self._desk.workers.values() if worker.pod.address]
            if all(worker.boot or worker.refusals >= recover.REFUSALS for worker in asked):
                return
            await asyncio.sleep(0.02)

    async def watch_silence(self) -> None:
        """For ever: a worker that says nothing is found here."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(LOOK_SECONDS)
            slept = time.monotonic() - before
            for worker in list(self._desk.workers.values()):
                if slept > 2 * LOOK_SECONDS and worker.due_at:
                    worker.due_at += slept  # it was us who stood still, and could not listen
                with one_object("worker", worker.pod.namespace, worker.pod.name):
                    self._look(worker)

    # -- feeds -----------------------------------------------------------------------------------------------

    async def _follow(self, worker: Worker) -> None:
        pause = FIRST_PAUSE_SECONDS
        while self._desk.workers.get(worker.pod.uid) is worker:
            again = LONGEST_PAUSE_SECONDS  # unless the step comes to its end
            with one_object("worker", worker.pod.namespace, worker.pod.name):
                again = await self._ask(worker, pause)
            if again:
                await asyncio.sleep(pause)
            pause = again or FIRST_PAUSE_SECONDS

    async def _ask(self, worker: Worker, pause: float) -> float:
        """Read its feed once. Returns 0 to go on at once, or how long the pause after the next one would be."""
        asked_at, wait = time.monotonic(), _patience(worker)
        worker.due_at = worker.due_at or asked_at + wait
        try:
            feed = await self._client.feed(worker.pod, worker.cursor, _recorded(worker), wait)
        except (WorkerUnreachable, ValidationError) as error:
            self._unheard(worker, error)
            starts = worker.pod.starting and not worker.boot
            return min(2 * pause, STARTING_PAUSE_SECONDS if starts else LONGEST_PAUSE_SECONDS)
        if self._desk.workers.get(worker.pod.uid) is not worker:
            return 0.0
        # It answers at once and has no news, or is another one every time: do not ask it in a circle.
        at_once = time.monotonic() - asked_at < wait / 2
        circles = at_once and (feed.cursor == worker.cursor or feed.boot != worker.boot)
        self._heard(worker, feed, asked_at)
        return min(2 * pause, LONGEST_PAUSE_SECONDS) if circles else 0.0

    def _unheard(self, worker: Worker, error: WorkerUnreachable | ValidationError) -> None:
        refused = isinstance(error, WorkerUnreachable) and error.refused
        worker.refusals += refused  # what hangs after it, because the pod's network goes too, says nothing else
        if worker.pod.uid not in self._mute:
            self._mute.add(worker.pod.uid)
            detail = readable(error) if isinstance(error, ValidationError) else str(error)
            self._log("worker_unreachable", level="warning", worker=worker.pod.name, detail=detail)
        if refused:
            self._look(worker)

    def _heard(self, worker: Worker, feed: Feed, asked_at: float) -> None:
        if worker.pod.uid in self._mute:
            self._mute.discard(worker.pod.uid)
            self._log("worker_reachable", worker=worker.pod.name)
        if worker.boot and feed.boot != worker.boot:
            self._lose(worker, "its worker was started again")
        first = worker.boot != feed.boot
        worker.unborn = False
        worker.boot, worker.due_at, worker.refusals, worker.heard_at = feed.boot, 0.0, 0, self._now()
        worker.slots, worker.draining, worker.commands = feed.slots.total, feed.draining, feed.commands
        worker.full_until, worker.accepts = 0.0, frozenset(feed.accepts)
        if feed.handlers is not None:
            worker.handlers, worker.defaults = frozenset(feed.handlers), dict(feed.handler_defaults or {})
        if first or feed.handlers is not None:
            self._desk.look_again(Held.HANDLER, self._now())
        records = [done for entry in feed.entries if isinstance(entry, EndedEntry)
                   if (done := self._ended(worker, entry)) is not None]  # fmt: skip
        self._compare(worker, feed, asked_at)
        self._stir()
        worker.cursor = feed.cursor
        worker.recording.append((feed.cursor, asyncio.gather(*records)))

    def _ended(self, worker: Worker, entry: EndedEntry) -> "asyncio.Future[None] | None":
        job = self._desk.jobs.get(entry.uid)
        if job is None or job.phase.terminal:
            return None
        attempt = self._claimed(worker, job, entry.number, entry.index)
        if attempt is None or attempt.worker != worker.pod.uid:
            self._log("outcome_stale", level="warning", job=job.name, attempt=entry.number, worker=worker.pod.name)
            return None
        with one_object("job", job.namespace, job.name, refuse=partial(self._recorder.attempt_lost, job, attempt)):
            self._ran(worker, job, entry)
            return self._recorder.attempt_ended(job, attempt, entry)
        return None

    def _claimed(self, worker: Worker, job: Job, number: int, index: int | None) -> Attempt | None:
        """The attempt that a worker names, which it has from now on unless another one has it; None if it is stale."""
        held = job.running.get(index)
        if not job.has(index) or not worker.pod.trusted(job.namespace):
            return None
        match recover.claim(number, worker.pod.uid, held=(held.number, held.worker) if held else None,
                            latest=job.latest(index)):  # fmt: skip
            case recover.Claim.STALE:
                return None
            case recover.Claim.NEW:
                if held is not None:
                    self._recorder.attempt_lost(job, held, f"attempt {number} took its place")
                return self._adopt(worker, job, number, index) if job.has(index) else None
        assert held is not None
        if not held.worker:
            self._desk.place(job, held, worker)
            held.due_at = time.monotonic()
        return held

    def _compare(self, worker: Worker, feed: Feed, asked_at: float) -> None:
        """Hold what the worker says it runs against what we think it does."""
        runs = {(run.uid, run.index, run.number) for run in feed.running}
        clock = time.monotonic()
        for key in runs - worker.held.keys():
            with one_object("job", worker.pod.namespace, key[0]):
                self._unexpected(worker, *key)
        for key, (job, attempt) in list(worker.held.items()):
            if key in runs:
                attempt.due_at = min(attempt.due_at, clock)
                if job.cancel and not attempt.stopping:
                    self.stop(job, attempt)
            elif attempt.due_at < asked_at:  # it was there, or should be, and has neither ended nor runs
                self._recorder.attempt_lost(job, attempt, "its worker does not know it")

    def _unexpected(self, worker: Worker, uid: str, index: int | None, number: int) -> None:
        job = self._desk.jobs.get(uid)
        if job is not None and self._claimed(worker, job, number, index) is not None:
            return
        # Of a job that is gone, or an attempt that was given up.
        self._log("attempt_unwanted", level="warning", worker=worker.pod.name, uid=uid, attempt=number)
        spawn(self._ask_to_stop(worker, uid, number, index))

    def _adopt(self, worker: Worker, job: Job, number: int, index: int | None) -> Attempt:
        attempt = Attempt(number, index, self._now())
        attempt.due_at = time.monotonic()
        if job.array is None:  # attempts of a predecessor that died before it wrote them down were lost with it
            job.disruptions += max(0, number - job.attempts - 1)
        job.attempts = max(job.attempts, number)
        self._desk.begin(job, attempt, worker, self._now())
        self._log("attempt_adopted", job=job.name, attempt=number, worker=worker.pod.name)
        return attempt

    # -- ends ------------------------------------------------------------------------------------------------

    def stop(self, job: Job, attempt: Attempt) -> None:
        """Ask the worker for the end of an attempt; its feed tells when it is gone."""
        attempt.stopping = True
        if (worker := self._desk.workers.get(attempt.worker)) is not None:
            spawn(self._ask_to_stop(worker, job.uid, attempt.number, attempt.index, attempt, job.grace))

    async def _ask_to_stop(self, worker: Worker, uid: str, number: int, index: int | None,
                           attempt: Attempt | None = None, grace: float | None = None) -> None:  # fmt: skip
        try:
            there = await self._client.stop(worker.pod, uid, number, index, grace)
            if not there and attempt is not None:
                attempt.stopping = False  # it has ended, or has yet to arrive there
        except WorkerUnreachable as error:
            self._log("stop_unanswered", level="warning", worker=worker.pod.name, detail=str(error))
            if attempt is not None:
                attempt.stopping = False  # its next word reminds us

    def _look(self, worker: Worker) -> None:
        if not worker.due_at or not self.on:
            return
        silent = time.monotonic() - worker.due_at
        if why := recover.lost(worker.pod, silent_seconds=silent, refusals=worker.refusals, heard_at=worker.heard_at):
            self._lose(worker, why)

    def _gone(self, worker: Worker, pod: recover.Pod | None = None) -> None:
        why = recover.lost(pod or (worker.pod if worker.pod.ended else None), silent_seconds=0, refusals=0)
        self._lose(worker, why)
        self._desk.workers.pop(worker.pod.uid, None)
        self._mute.discard(worker.pod.uid)
        if (task := self._tasks.pop(worker.pod.uid, None)) is not None:
            task.cancel()
        self._desk.look_again(Held.HANDLER, self._now())

    def _lose(self, worker: Worker, why: str) -> None:
        """Everything that ran there waits again, at its old place; late results are refused by their number."""
        how = recover.container_end(worker.pod, worker.heard_at)
        why += f" ({how})" if how and not worker.pod.ended else ""
        for job, attempt in list(worker.held.values()):
            with one_object("job", job.namespace, job.name):
                self._recorder.attempt_lost(job, attempt, why, out_of_memory=how == recover.OUT_OF_MEMORY)
        if worker.held or worker.boot:
            self._log("worker_lost", level="warning", worker=worker.pod.name, detail=why)
        worker.held.clear()
        worker.boot = worker.cursor = worker.recorded = ""
        worker.recording.clear()
        self._stir()


def _offers(pod: recover.Pod) -> tuple[object, ...]:
    """What of a pod decides which jobs may begin there."""
    return pod.open, pod.drained, pod.queues, pod.namespaces


def _patience(worker: Worker) -> float:
    """How long it may wait for something to tell: short while its pod is not ready, which may be the first sign."""
    return (WAIT_SECONDS if worker.pod.open else UNREADY_WAIT_SECONDS) if worker.boot else 0.0


def _recorded(worker: Worker) -> str:
    """How far it may forget; reading its feed goes on meanwhile."""
    while worker.recording and worker.recording[0][1].done():
        worker.recorded = worker.recording.popleft()[0]
    return worker.recorded
