"""What is known now: jobs that have not ended, the lines that they wait in, workers and what runs on them.

Rebuilt from the API server and the workers at start. Nothing here talks to anybody; limits and depths are read off
what lives, never counted up and down.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from longshore.job.attempts import HandlerDefaults
from longshore.job.lane import Entry
from longshore.job.limits import QueuePolicy
from longshore.job.line import Line
from longshore.job.status import Phase
from longshore.job.waiting import Held, Prerequisites, enter, obstacle
from longshore_operator.job import Attempt, Job
from longshore_operator.recover import PENDING, REFUSALS, UNSCHEDULABLE, Pod

AttemptKey = tuple[str, int | None, int]
LineKey = tuple[str, str]
Busy = defaultdict[LineKey, set[str]]


@dataclass(eq=False, slots=True)
class Worker:
    """One worker pod and what its feed said last."""

    pod: Pod
    boot: str = ""
    """Empty until it has been heard."""
    cursor: str = ""
    """How far its feed has been read."""
    recorded: str = ""
    """How far what it said is on record."""
    recording: deque[tuple[str, asyncio.Future[Any]]] = field(default_factory=deque)
    """Cursors beyond that, each with the writes that have to be done first."""
    slots: int = 0
    handlers: frozenset[str] | None = None
    """None until it has told, which may be long after it is heard: it imports them first."""
    defaults: dict[str, HandlerDefaults] = field(default_factory=dict)
    commands: bool = False
    accepts: frozenset[str] = frozenset()
    """Later fields of an attempt that it takes."""
    draining: bool = False
    due_at: float = 0.0
    """Monotonic time by which it should have answered the first question that it has not; 0 while nothing is asked."""
    refusals: int = 0
    heard_at: float = 0.0
    """When its feed last said something, seconds since the epoch."""
    full_until: float = 0.0
    """Monotonic time before which it is not asked again: it said that it takes nothing now."""
    at_risk: bool = False
    """Whether its pool shrinks: as long as it is not ready a ReplicaSet may take it for one that was drained."""
    unborn: bool = False
    """Whether this leader has seen it before its container ran, and it has never been heard since: no leader has ever
    offered it a job."""
    held: dict[AttemptKey, tuple[Job, Attempt]] = field(default_factory=dict)

    @property
    def vacant(self) -> bool:
        """Whether no job can run there although it does not answer, so its pod may go without being drained.

        A pod without a node, or without a process that could hold a job: its container waits, or its port refuses
        connections, or it has never been heard. One that is silent but was heard before may run jobs.
        """
        if self.boot or self.held or self.pod.ending:
            return False
        silent_for_good = self.refusals >= REFUSALS
        return self.pod.stage in (PENDING, UNSCHEDULABLE) or not self.pod.running or silent_for_good or self.unborn

    @property
    def leaving(self) -> bool:
        """Whether it takes nothing more, and what runs there may finish."""
        return self.draining or self.pod.ending or self.pod.drained

    def free(self, now: float) -> int:
        """How many attempts it could take; ``now`` is monotonic."""
        if not self.boot or self.leaving or not self.pod.open or self.refusals:
            return 0
        if now < self.full_until or (self.at_risk and not self.pod.ready):
            return 0
        return max(0, self.slots - len(self.held))

    def runs(self, handler: str) -> bool:
        """Whether it knows the handler; '' is a command."""
        return handler in (self.handlers or ()) if handler else self.commands


class Desk:
    """Jobs by uid and by name, one line per queue, workers by pod uid."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.names: dict[tuple[str, str], str] = {}
        self.lines: dict[LineKey, Line] = {}
        self.policies: dict[LineKey, QueuePolicy] = {}
        self.workers: dict[str, Worker] = {}
        self._turns: deque[LineKey] = deque()
        self._prerequisites: Prerequisites[tuple[str, str]] = Prerequisites()

    # -- jobs ------------------------------------------------------------------------------------------------

    def add(self, job: Job) -> None:
        """A job that has not ended, or failed."""
        self.jobs[job.uid] = job
        self.names[job.namespace, job.name] = job.uid

    def drop(self, job: Job) -> None:
        """It ended well, was cancelled, or is gone."""
        for attempt in list(job.running.values()):
            self.end(job, attempt)
        self.jobs.pop(job.uid, None)
        if self.names.get((job.namespace, job.name)) == job.uid:
            del self.names[job.namespace, job.name]
        self.leave(job)
        self.wait_for(job, ())

    def named(self, namespace: str, name: str) -> Job | None:
        """The job of that name."""
        return self.jobs.get(self.names.get((namespace, name), ""))

    # -- lines -----------------------------------------------------------------------------------------------

    def line(self, key: LineKey, now: float) -> Line:
        """The line of a queue; one without a Queue resource has the default policy."""
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line(self.policies.get(key, QueuePolicy()), now)
            self._turns.append(key)
        return line

    def set_policy(self, key: LineKey, policy: QueuePolicy, now: float) -> None:
        """The queue's resource says so; the default policy when there is none any more."""
        if policy == self.policies.get(key, QueuePolicy()):
            return
        self.policies[key] = policy
        self.line(key, now).change(policy, now)

    def queue(self, job: Job, now: float) -> None:
        """Put a job that could start an attempt where it belongs; it leaves the line when it could not."""
        if job.phase.terminal or (job.array is None and job.running):
            self.leave(job)
            return
        entry = Entry(
            job.uid, since=max(job.created_at, job.start_after), priority=job.priority,
            fairness_key=job.fairness_key, concurrency_key=job.concurrency_key,
            not_before=max(job.start_after, job.not_before or 0.0), lane=job.handler, many=job.array is not None,
        )  # fmt: skip
        why = obstacle(
            cancel=job.cancel, suspend=job.suspend,
            waits=bool(self._prerequisites.of(job.uid)), runnable=self.runnable(job),
        )  # fmt: skip
        enter(self.line(job.key, now), entry, why, job.array, now)

    def tidy(self) -> None:
        """Forget lines that nothing waits or runs in and that have no policy: their series go with them."""
        for key in [key for key, line in self.lines.items() if not len(line) and not line.running]:
            if self.policies.get(key, QueuePolicy()) == QueuePolicy():
                del self.lines[key]
                self.policies.pop(key, None)
                self._turns.remove(key)

    def leave(self, job: Job) -> None:
        """Out of the line."""
        if (line := self.lines.get(job.key)) is not None:
            line.remove(job.uid)

    def runnable(self, job: Job) -> bool:
        """Whether some worker that serves its queue knows its handler."""
        return any(
            worker.boot and worker.pod.serves(*job.key) and worker.runs(job.handler) for worker in self.workers.values()
        )

    def served(self, job: Job) -> bool:
        """Whether some worker serves its queue and has told what it knows, whatever that is."""
        return any(
            worker.boot and worker.handlers is not None and worker.pod.serves(*job.key)
            for worker in self.workers.values()
        )

    def waits(self, key: LineKey, now: float) -> tuple[int, float | None]:
        """How many of a queue could run now if there were a worker and room for them, and since when the oldest waits.

        Those that no worker can run count: else nobody who goes by the depth would ever start the first one.
        """
        line = self.lines[key]
        unserved = [
            entry.since for entry in line.entries()
            if entry.place == "held" and entry.why == Held.HANDLER and entry.not_before <= now
        ]  # fmt: skip
        oldest = line.oldest(now)
        return line.depth(now) + len(unserved), min([*unserved, *([] if oldest is None else [oldest])], default=None)

    def look_again(self, why: Held, now: float) -> None:
        """What held these may be over."""
        for line in self.lines.values():
            for uid in line.held(why):
                self.queue(self.jobs[uid], now)

    def pick(self, now: float, busy: Busy, choose: Callable[[Job], Worker | None]) -> tuple[Job, Worker] | None:
        """The next job that may start and its worker, out of its line; queues take turns.

        ``busy`` grows by the handlers of each queue for which no worker has room: those of others need not wait with them.
        """
        for _ in range(len(self._turns)):
            key, line = self._turns[0], self.lines[self._turns[0]]
            self._turns.rotate(-1)
            while (entry := line.peek(now, busy.get(key, ()))) is not None:
                job = self.jobs[entry.uid]
                if (worker := choose(job)) is not None:
                    line.pop(now, busy.get(key, ()))
                    return job, worker
                if self.runnable(job):
                    busy[key].add(job.handler)
                else:  # the last worker that knew its handler has gone
                    self.queue(job, now)
        return None

    def next_wake(self, now: float, busy: Busy) -> float | None:
        """When a job may become able to start by time alone; not those of ``busy`` handlers."""
        wakes = [
            wake for key, line in self.lines.items() if (wake := line.next_wake(now, busy.get(key, ()))) is not None
        ]
        return min(wakes, default=None)

    # -- dependencies ----------------------------------------------------------------------------------------

    def wait_for(self, job: Job, names: Iterable[str]) -> None:
        """The job may not start before these have succeeded."""
        self._prerequisites.expect(job.uid, [(job.namespace, name) for name in names])

    def waits_for(self, job: Job) -> set[str]:
        """Names that still have to succeed."""
        return {name for _, name in self._prerequisites.of(job.uid)}

    def dependents(self, namespace: str, name: str) -> list[Job]:
        """Jobs that wait for the one of that name."""
        return [self.jobs[uid] for uid in self._prerequisites.behind((namespace, name)) if uid in self.jobs]

    def satisfied(self, job: Job, name: str) -> None:
        """A job that it waited for has succeeded."""
        self._prerequisites.met(job.uid, (job.namespace, name))

    # -- attempts --------------------------------------------------------------------------------------------

    def begin(self, job: Job, attempt: Attempt, worker: Worker | None, now: float) -> None:
        """An attempt lives; an array goes back in line for its next item."""
        job.running[attempt.index] = attempt
        self.line(job.key, now).begin((job.uid, attempt.index), job.concurrency_key)
        if worker is not None:
            self.place(job, attempt, worker)
        if job.array is not None and attempt.index is not None:
            job.array.begin(attempt.index)
        self.queue(job, now)

    def place(self, job: Job, attempt: Attempt, worker: Worker) -> None:
        """That worker has it."""
        attempt.worker, attempt.worker_name = worker.pod.uid, worker.pod.name
        job.worker = worker.pod.name
        worker.held[job.uid, attempt.index, attempt.number] = (job, attempt)

    def end(self, job: Job, attempt: Attempt) -> None:
        """The attempt is gone, or never began."""
        if job.running.get(attempt.index) is attempt:
            del job.running[attempt.index]
        if (line := self.lines.get(job.key)) is not None:
            line.end((job.uid, attempt.index), job.concurrency_key)
        if (worker := self.workers.get(attempt.worker)) is not None:
            worker.held.pop((job.uid, attempt.index, attempt.number), None)

    def unplaced(self) -> Iterator[tuple[Job, Attempt]]:
        """Attempts that run somewhere, by the status of their jobs, and that no worker has named yet."""
        for job in self.jobs.values():
            for attempt in job.running.values():
                if not attempt.worker:
                    yield job, attempt

    # -- depths ----------------------------------------------------------------------------------------------

    def counts(self) -> dict[Phase, int]:
        """Jobs by phase: those that wait, run, or have failed."""
        found = dict.fromkeys((Phase.PENDING, Phase.RUNNING, Phase.FAILED), 0)
        for job in self.jobs.values():
            phase = Phase.RUNNING if job.running and not job.phase.terminal else job.phase
            found[phase] = found.get(phase, 0) + 1
        return found
