"""Jobs that have waited too long: for their start, or for a worker that knows their handler."""

import asyncio
import heapq
import time
from collections.abc import Callable

from longshore.job.status import Phase, Reason
from longshore.job.waiting import Held
from longshore_operator.contain import one_object
from longshore_operator.desk import Desk
from longshore_operator.job import Job
from longshore_operator.record import Recorder

LOOK_SECONDS = 1.0
ROUNDING_SECONDS = 1.0  # creationTimestamp is cut to whole seconds, and nobody may be too late before his time


class Overdue:
    """Of the leader. ``grace_seconds``: how long an unknown handler is waited for; ``now`` is seconds since the epoch."""

    def __init__(self, desk: Desk, recorder: Recorder, *, grace_seconds: float, now: Callable[[], float]) -> None:
        self._desk, self._recorder, self._grace, self._now = desk, recorder, grace_seconds, now
        self._starts: list[tuple[float, str]] = []
        self._unknown: dict[str, float] = {}
        """For how many seconds workers that could know a job's handler have been there and did not."""

    def watch(self, job: Job) -> None:
        """Look at its start deadline when that has come; call again when it could have started later than was known."""
        if job.start_deadline is not None and not job.attempts and not job.redrives:
            heapq.heappush(self._starts, (_deadline(job), job.uid))

    async def run(self) -> None:
        """For ever."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            elapsed, before = time.monotonic() - before, time.monotonic()
            self._look_at_starts(self._now())
            self._look_at_handlers(elapsed)

    def _look_at_starts(self, now: float) -> None:
        while self._starts and self._starts[0][0] <= now:
            job = self._desk.jobs.get(heapq.heappop(self._starts)[1])
            if job is None or job.phase.terminal or job.attempts or job.redrives or self._desk.waits_for(job):
                continue
            with one_object("job", job.namespace, job.name):
                self._look_at_start(job, now)

    def _look_at_start(self, job: Job, now: float) -> None:
        if _deadline(job) > now:  # it has become able to start later than it seemed
            self.watch(job)
            return
        text = f"it had not started {job.start_deadline:g} seconds after it could have"
        self._recorder.end(job, Phase.FAILED, Reason.STARTED_TOO_LATE, text)

    def _look_at_handlers(self, elapsed: float) -> None:
        held = [self._desk.jobs[uid] for line in self._desk.lines.values() for uid in line.held(Held.HANDLER)]
        # The first look at a job counts nothing: it may have come a moment ago.
        self._unknown = {
            job.uid: self._unknown[job.uid] + (elapsed if self._desk.served(job) else 0.0) if job.uid in self._unknown else 0.0
            for job in held if not job.running
        }  # fmt: skip
        for uid, seconds in self._unknown.items():
            if seconds > self._grace:
                job = self._desk.jobs[uid]
                what = f"knows the handler {job.handler}" if job.handler else "runs commands"
                text = f"no worker of queue {job.queue} {what}"
                with one_object("job", job.namespace, job.name):
                    self._recorder.end(job, Phase.FAILED, Reason.UNKNOWN_HANDLER, text)


def _deadline(job: Job) -> float:
    return max(job.ready_at, job.created_at + ROUNDING_SECONDS) + (job.start_deadline or 0.0)
