"""Waiting jobs × free slots → attempts, handed to workers in batches."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from functools import partial

from pydantic import ValidationError

from longshore.job.attempts import MAX_ATTEMPTS, HandlerDefaults, Offer, Taken, TakenResults
from longshore.job.spec import item_args
from longshore.job.status import Phase
from longshore_operator.attempts_client import AttemptsClient, WorkerRefused, readable
from longshore_operator.contain import one_object
from longshore_operator.desk import Busy, Desk, Worker
from longshore_operator.errors import WorkerUnreachable
from longshore_operator.job import Attempt, Job
from longshore_operator.journal import DebugLog
from longshore_operator.tasks import spawn

debug = DebugLog("dispatch")

LONG_SECONDS = 2.0  # what still runs then gets a Running status; shorter jobs do not pay for one
UNANSWERED_SECONDS = 1.0  # what was offered may be on its way for so long after nobody waits for the answer any more
FULL_SECONDS = 0.2  # a worker that said "full" is asked again after its next word, or so late
CLOCK_SECONDS = 30.0  # while a job waits for a time of day, the clock is looked at so often: somebody may set it

MAX_REQUEST_BYTES = 4 * 1024 * 1024  # a quarter of what a worker takes by default; one attempt is smaller by far
TOO_LARGE = 413

Placed = list[tuple[Job, Attempt, Offer]]


class Dispatcher:
    """Fills free slots, best job first. ``stir`` whenever something changed; ``now`` is seconds since the epoch."""

    def __init__(self, desk: Desk, client: AttemptsClient, *, now: Callable[[], float],
                 started: Callable[[Job, Attempt], None], returned: Callable[[Job], None], long: Callable[[Job], None],
                 refused: Callable[[Job, str], None], log: Callable[..., None]) -> None:  # fmt: skip
        self._desk, self._client, self._now = desk, client, now
        self._started, self._returned, self._long, self._log = started, returned, long, log
        self._refused = refused
        self._stirred = asyncio.Event()
        self.on = False
        """Whether attempts are started: only the leader does, after it has asked all workers what they hold."""

    def stir(self) -> None:
        """A job came, a slot became free, a limit was lifted."""
        self._stirred.set()

    async def run(self) -> None:
        """For ever."""
        wake: float | None = None
        while True:
            patience = None if wake is None else min(CLOCK_SECONDS, max(0.0, wake - self._now()))
            try:
                await asyncio.wait_for(self._stirred.wait(), patience)
            except TimeoutError:
                pass  # a job's time has come
            self._stirred.clear()
            wake = self._fill() if self.on else None

    def _fill(self) -> float | None:
        """One round: pick until no slot is free, then hand each worker its batch. Returns when time alone brings more."""
        now, clock = self._now(), time.monotonic()
        free = {worker: count for worker in self._desk.workers.values() if (count := worker.free(clock)) > 0}
        batches: dict[Worker, Placed] = {}
        busy: Busy = defaultdict(set)
        while free and (picked := self._desk.pick(now, busy, lambda job: self._choose(job, free))) is not None:
            job, worker = picked
            with one_object("job", job.namespace, job.name, refuse=partial(self._refuse, job)):
                batches.setdefault(worker, []).append(self._place(job, worker, now))
                free[worker] -= 1
                if not free[worker]:
                    del free[worker]
        for worker, placed in batches.items():
            for part in cut(placed):
                spawn(self._offer(worker, part))
        return self._desk.next_wake(now, busy) if free else None  # a slot that becomes free stirs

    def _refuse(self, job: Job, why: str) -> None:
        self._desk.leave(job)  # before anything else, or it would be picked again at once
        self._refused(job, why)

    @staticmethod
    def _choose(job: Job, free: dict[Worker, int]) -> Worker | None:
        """The emptiest worker that serves the queue and knows the handler."""
        able = [worker for worker in free if worker.pod.serves(*job.key) and worker.runs(job.handler)]
        return max(able, key=lambda worker: free[worker], default=None)

    def _place(self, job: Job, worker: Worker, now: float) -> tuple[Job, Attempt, Offer]:
        index = job.array.next_index(now) if job.array is not None else None
        attempt = Attempt(job.attempts + 1, index, now)
        offer = _offer(job, attempt, self._timeout(job, worker), worker.accepts)
        job.attempts = attempt.number
        self._desk.begin(job, attempt, worker, now)
        return job, attempt, offer

    def _timeout(self, job: Job, worker: Worker) -> float | None:
        """Where the job is silent its handler's word holds, then its queue's."""
        own = worker.defaults.get(job.handler, HandlerDefaults()).timeout_seconds
        return own or self._desk.lines[job.key].policy.timeout_seconds

    async def _offer(self, worker: Worker, placed: Placed) -> None:
        try:
            answer = await self._client.offer(worker.pod, [offer for _, _, offer in placed])
        except WorkerRefused as error:  # it has none of them: it does not understand us
            if error.status == TOO_LARGE:
                await self._too_large(worker, placed)
                return
            self._log("worker_refused", level="error", worker=worker.pod.name, detail=str(error))
            worker.full_until = time.monotonic() + 5.0
            self._take_back(placed)
        except (WorkerUnreachable, ValidationError) as error:
            # It may have them or not. Its feed will say, or its pod will be found dead.
            detail = readable(error) if isinstance(error, ValidationError) else str(error)
            self._log("offer_unanswered", level="warning", worker=worker.pod.name, detail=detail)
            worker.full_until = time.monotonic() + UNANSWERED_SECONDS
            for _, attempt, _ in placed:
                attempt.due_at = worker.full_until
            if isinstance(error, WorkerUnreachable) and error.refused:  # nobody was there to take them
                self._take_back(placed)
        else:
            self._answered(worker, placed, answer)

    async def _too_large(self, worker: Worker, placed: Placed) -> None:
        """A worker may take less than we think: in halves, down to one, which no worker of its kind will ever take."""
        if len(placed) > 1:
            half = len(placed) // 2
            await self._offer(worker, placed[:half])
            await self._offer(worker, placed[half:])
            return
        job = placed[0][0]
        self._log("offer_too_large", level="error", worker=worker.pod.name, job=job.name, namespace=job.namespace)
        self._take_back(placed)
        self._refuse(job, "its worker takes no attempt of that size (setting max_body_bytes)")

    def _answered(self, worker: Worker, placed: Placed, answer: TakenResults) -> None:
        clock = time.monotonic()
        refused: Placed = []
        for (job, attempt, offer), said in zip(placed, answer.results, strict=False):
            if debug:
                debug("attempt_offered", job=job.name, namespace=job.namespace, attempt=attempt.number,
                      index=attempt.index, worker=worker.pod.name, answer=said.result)  # fmt: skip
            if said.result in (Taken.ACCEPTED, Taken.KNOWN):
                attempt.due_at = clock
                with one_object("job", job.namespace, job.name):
                    self._began(job, attempt)
            elif job.running.get(attempt.index) is attempt:
                refused.append((job, attempt, offer))
                if said.result is Taken.STALE:
                    attempt.stale = True
                    job.disruptions += job.array is None  # somebody ran it who did not write it down
                    self._log("attempt_stale", level="warning", job=job.name, attempt=attempt.number)
                elif said.result is Taken.UNKNOWN_HANDLER:
                    worker.handlers = (worker.handlers or frozenset()) - {job.handler}
                else:
                    worker.full_until = clock + FULL_SECONDS
        self._take_back(refused)

    def _began(self, job: Job, attempt: Attempt) -> None:
        self._started(job, attempt)
        if job.started_at is None:
            job.started_at = attempt.started_at

        def look() -> None:
            runs = bool(job.running) if job.array is not None else job.running.get(attempt.index) is attempt
            if runs and job.phase is Phase.PENDING:
                self._long(job)

        if job.phase is Phase.PENDING:
            asyncio.get_running_loop().call_later(LONG_SECONDS, look)

    def _take_back(self, placed: Placed) -> None:
        """These never began: the worker said so."""
        for job, attempt, _ in reversed(placed):  # the last number first: it is the one that can be used again
            if job.running.get(attempt.index) is attempt:
                self._desk.end(job, attempt)
                if attempt.number == job.attempts and not attempt.stale:
                    job.attempts -= 1
                if job.array is not None and attempt.index is not None:
                    job.array.again(attempt.index, 0.0)
                self._returned(job)
        if placed:
            asyncio.get_running_loop().call_later(FULL_SECONDS, self.stir)


def cut(placed: Placed) -> Iterator[Placed]:
    """Into requests of bounded number and size. An item of an array counts as the whole specification: at least its size."""
    part: Placed = []
    size = 0
    for one in placed:
        more = len(one[0].spec_json)
        if part and (len(part) >= MAX_ATTEMPTS or size + more > MAX_REQUEST_BYTES):
            yield part
            part, size = [], 0
        part.append(one)
        size += more
    if part:
        yield part


def _offer(job: Job, attempt: Attempt, default_timeout: float | None, accepts: Collection[str]) -> Offer:
    spec = job.spec()
    index = attempt.index
    given: dict[str, object] = {
        "uid": job.uid, "job": job.name, "namespace": job.namespace, "number": attempt.number,
        "idempotency_key": job.uid if index is None else f"{job.uid}/{index}",
    }  # fmt: skip
    if index is not None:
        given["index"] = index
    if spec.command is not None:
        given |= {"command": spec.command, "env": spec.env}
    else:
        given |= {"handler": spec.handler, "args": dict(spec.args if index is None else item_args(spec, index))}
    optional = {
        "timeout_seconds": spec.timeout_seconds or default_timeout, "traceparent": job.traceparent or None,
        # A worker of the release before refuses a field that it does not know.
        "tracestate": (job.tracestate or None) if "tracestate" in accepts else None,
        "memory_bytes": spec.resources.memory_bytes if spec.resources else None,
    }  # fmt: skip
    given |= {name: value for name, value in optional.items() if value is not None}
    return Offer.model_construct(_fields_set=set(given), **given)  # checked with its job
