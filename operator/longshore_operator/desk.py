"""What is known now: jobs that have not ended, the lines that they wait in, workers and what runs on them.

Rebuilt from the API server and the workers at start. Nothing here talks to anybody; limits and depths are read off
what lives, never counted up and down.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from longshore.job.attempts import HandlerDefaults
from longshore.job.limits import QueuePolicy
from longshore.job.line import Entry, Line
from longshore.job.status import Phase
from longshore_operator.job import Attempt, Job
from longshore_operator.recover import Pod

SUSPENDED, DEPENDENCIES, HANDLER, ITEMS, ENDING = "suspended", "dependencies", "handler", "items", "ending"
AttemptKey = tuple[str, int | None, int]
LineKey = tuple[str, str]
Key = TypeVar("Key", bound=Hashable)


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
    handlers: frozenset[str] = frozenset()
    defaults: dict[str, HandlerDefaults] = field(default_factory=dict)
    commands: bool = False
    draining: bool = False
    due_at: float = 0.0
    """Monotonic time by which it should have answered the first question that it has not; 0 while nothing is asked."""
    refusals: int = 0
    full_until: float = 0.0
    """Monotonic time before which it is not asked again: it said that it takes nothing now."""
    held: dict[AttemptKey, tuple[Job, Attempt]] = field(default_factory=dict)

    def free(self, now: float) -> int:
        """How many attempts it could take; ``now`` is monotonic."""
        if not self.boot or self.draining or not self.pod.ready or self.pod.ending or self.refusals:
            return 0
        return 0 if now < self.full_until else max(0, self.slots - len(self.held))

    def runs(self, handler: str) -> bool:
        """Whether it knows the handler; '' is a command."""
        return handler in self.handlers if handler else self.commands


class Desk:
    """Jobs by uid and by name, one line per queue, workers by pod uid."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.names: dict[tuple[str, str], str] = {}
        self.lines: dict[LineKey, Line] = {}
        self.policies: dict[LineKey, QueuePolicy] = {}
        self.workers: dict[str, Worker] = {}
        self._turns: deque[LineKey] = deque()
        self._dependents: dict[tuple[str, str], set[str]] = {}
        self._waiting_for: dict[str, set[str]] = {}

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
        line = self.line(job.key, now)
        entry = Entry(
            job.uid, since=max(job.created_at, job.start_after), priority=job.priority,
            fairness_key=job.fairness_key, concurrency_key=job.concurrency_key,
            not_before=max(job.start_after, job.not_before or 0.0),
        )  # fmt: skip
        if why := self._obstacle(job):
            line.hold(entry, why)
            return
        if job.array is not None:
            wake = now if job.array.next_index(now) is not None else job.array.next_wake()
            if wake is None:
                line.hold(entry, ITEMS)
                return
            entry.not_before = max(entry.not_before, wake)
        if entry.not_before <= now:
            entry.not_before = 0.0
        line.push(entry)

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

    def _obstacle(self, job: Job) -> str:
        if job.cancel:
            return ENDING
        if job.suspend:
            return SUSPENDED
        if self._waiting_for.get(job.uid):
            return DEPENDENCIES
        return "" if self.runnable(job) else HANDLER

    def runnable(self, job: Job) -> bool:
        """Whether some worker that serves its queue knows its handler."""
        return any(
            worker.boot and worker.pod.serves(*job.key) and worker.runs(job.handler) for worker in self.workers.values()
        )

    def served(self, job: Job) -> bool:
        """Whether some worker serves its queue, whatever it knows."""
        return any(worker.boot and worker.pod.serves(*job.key) for worker in self.workers.values())

    def look_again(self, why: str, now: float) -> None:
        """What held these may be over."""
        for line in self.lines.values():
            for uid in line.held(why):
                self.queue(self.jobs[uid], now)

    def pick(self, now: float, skip: set[LineKey], choose: Callable[[Job], Worker | None]) -> tuple[Job, Worker] | None:
        """The next job that may start and its worker, out of its line; queues take turns.

        ``skip`` grows by queues whose head has to wait for a worker: they wait with it, for order is order.
        """
        for _ in range(len(self._turns)):
            key, line = self._turns[0], self.lines[self._turns[0]]
            self._turns.rotate(-1)
            while key not in skip and (entry := line.peek(now)) is not None:
                job = self.jobs[entry.uid]
                if (worker := choose(job)) is not None:
                    line.pop(now)
                    return job, worker
                if self.runnable(job):
                    skip.add(key)
                else:  # the last worker that knew its handler has gone: those behind it need not wait
                    self.queue(job, now)
        return None

    def next_wake(self, now: float, skip: set[LineKey]) -> float | None:
        """When a job may become able to start by time alone; ``skip``: queues that wait for a worker."""
        lines = (line for key, line in self.lines.items() if key not in skip)
        wakes = [wake for line in lines if (wake := line.next_wake(now)) is not None]
        return min(wakes, default=None)

    # -- dependencies ----------------------------------------------------------------------------------------

    def wait_for(self, job: Job, names: Iterable[str]) -> None:
        """The job may not start before these have succeeded."""
        for name in list(self.waits_for(job)):
            self.satisfied(job, name)
        if names := set(names):
            self._waiting_for[job.uid] = names
        for name in names:
            self._dependents.setdefault((job.namespace, name), set()).add(job.uid)

    def waits_for(self, job: Job) -> set[str]:
        """Names that still have to succeed."""
        return self._waiting_for.get(job.uid, set())

    def dependents(self, namespace: str, name: str) -> list[Job]:
        """Jobs that wait for the one of that name."""
        return [self.jobs[uid] for uid in self._dependents.get((namespace, name), set()) if uid in self.jobs]

    def satisfied(self, job: Job, name: str) -> None:
        """A job that it waited for has succeeded."""
        _discard(self._waiting_for, job.uid, name)
        _discard(self._dependents, (job.namespace, name), job.uid)

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


def _discard(sets: dict[Key, set[str]], key: Key, entry: str) -> None:
    """Take one out, and the set with the last."""
    if (found := sets.get(key)) is not None:
        found.discard(entry)
        if not found:
            del sets[key]
