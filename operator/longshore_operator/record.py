"""What the end of an attempt means for its job: the rules of ``longshore.job``, applied to the desk."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime

import orjson

from longshore.job.attempts import EndedEntry, HandlerDefaults
from longshore.job.lifecycle import End, Verdict, finish
from longshore.job.limits import Defaults, Policy, QueuePolicy, resolve
from longshore.job.results import MAX_STATUS_RESULT_BYTES, parse
from longshore.job.spec import rfc3339_at
from longshore.job.status import MAX_HISTORY_MESSAGE, MAX_LOG_TAIL_BYTES, JobError, Outcome, Phase, Reason
from longshore_operator.desk import Desk
from longshore_operator.job import Attempt, Job, Json
from longshore_operator.write import Writer

MAX_DEPTH = 100  # of a result's lists and objects; who reads the status may have a limit, pydantic's is about 200
DAY_SECONDS = 86_400.0
PROGRESS_SECONDS = 5.0  # an array's progress is written so often at most


class Recorder:
    """Decides and hands the outcome to the writer. ``now`` is seconds since the epoch."""

    def __init__(self, desk: Desk, writer: Writer, *, now: Callable[[], float], ended: Callable[[Job], None],
                 counted: Callable[[str, str], None]) -> None:  # fmt: skip
        self._desk, self._writer, self._now = desk, writer, now
        self._ended, self._counted = ended, counted
        self._later: dict[str, tuple[asyncio.TimerHandle, asyncio.Future[None]]] = {}

    # -- attempts --------------------------------------------------------------------------------------------

    def attempt_ended(self, job: Job, attempt: Attempt, entry: EndedEntry) -> asyncio.Future[None]:
        """A worker says how an attempt ended; the future is done when that is on record."""
        attempt.over = True
        entry = kept(entry, job.namespace, array=job.array is not None, now=self._now())
        # Stopped, and nobody wanted the job's end: another operator, which thinks that it leads, gave the attempt up.
        stopped = entry.outcome is Outcome.CANCELLED and not job.cancel
        end = End(entry.number, Outcome.LOST if stopped else entry.outcome, entry.reason, entry.error.type if entry.error else "",
                  entry.error.message if entry.error else "", entry.exit_code, entry.error_names)  # fmt: skip
        attempt.started_at = entry.started_at.timestamp()
        return self._settle(job, attempt, end, entry)

    def attempt_lost(
        self, job: Job, attempt: Attempt, message: str, *, out_of_memory: bool = False
    ) -> asyncio.Future[None]:
        """The worker is gone with the attempt, or has forgotten it."""
        outcome, reason = (
            (Outcome.OOM, Reason.CONTAINER_OUT_OF_MEMORY) if out_of_memory else (Outcome.LOST, Reason.WORKER_LOST)
        )
        end = End(attempt.number, Outcome.CANCELLED if job.cancel else outcome, reason, reason, message)
        return self._settle(job, attempt, end)

    def _settle(self, job: Job, attempt: Attempt, end: End, entry: EndedEntry | None = None) -> asyncio.Future[None]:
        now = self._now()
        self._desk.end(job, attempt)
        job.attempts = max(job.attempts, attempt.number)
        self._counted("ended", end.outcome.value)
        if end.disruption:
            self._counted("disruption", end.reason)
        if job.array is not None:
            if end.outcome is not Outcome.SUCCEEDED:  # of thousands, those that went wrong are worth the room
                job.remember(_history(attempt, end, entry, now))
                job.log_tail = entry.log_tail if entry is not None else ""
            return self._item_ended(job, attempt, end, entry, now)
        verdict = finish(job.course(attempt.number), end, self._policy(job, end), now=now, random=random.random)
        job.retries, job.disruptions = verdict.course.retries, verdict.course.disruptions
        failed = end.outcome is not Outcome.SUCCEEDED
        job.error = _error(end) if failed else None
        job.result = entry.result if entry is not None and not failed else None
        job.result_ref = (entry.result_ref or "") if entry is not None and not failed else ""
        job.log_tail = entry.log_tail if entry is not None and failed else ""
        job.remember(_history(attempt, end, entry, now))
        if verdict.course.phase is Phase.PENDING and not end.disruption:
            self._counted("retry", end.reason)
        return self._apply(job, verdict, now)

    def _item_ended(
        self, job: Job, attempt: Attempt, end: End, entry: EndedEntry | None, now: float
    ) -> asyncio.Future[None]:
        array, index = job.array, attempt.index
        assert array is not None
        assert index is not None
        course = job.course(attempt.number, job.budgets.get(index, (0, 0)))
        verdict = finish(course, end, self._policy(job, end), now=now, random=random.random)
        if (
            array.settle(index, verdict, end.error_type, end.error_message) is None
            and entry
            and entry.result is not None
        ):
            array.unkept.add(index)  # a worker with a results directory would have named it; no status has room for all
        if verdict.course.phase.terminal:
            job.budgets.pop(index, None)
            job.numbers.pop(index, None)
        else:
            job.budgets[index] = (verdict.course.retries, verdict.course.disruptions)
            job.numbers[index] = attempt.number
        whole = array.verdict(job.course(job.attempts))
        if whole.course.phase.terminal:
            return self._apply(job, whole, now)
        self._desk.queue(job, now)
        return self._write_later(job)

    def began(self, job: Job) -> None:
        """A worker has taken an attempt. How many items of an array run is written with the next of its progress."""
        if job.array is not None and job.phase is Phase.RUNNING:
            self._write_later(job)

    def _write_later(self, job: Job) -> asyncio.Future[None]:
        if job.uid in self._later:
            return self._later[job.uid][1]
        done = asyncio.get_running_loop().create_future()

        def write() -> None:
            del self._later[job.uid]
            if job.uid in self._desk.jobs and not job.phase.terminal:
                _after(self._writer.changed(job), done)
            else:
                done.set_result(None)

        self._later[job.uid] = asyncio.get_running_loop().call_later(PROGRESS_SECONDS, write), done
        return done

    def _policy(self, job: Job, end: End) -> Policy:
        if end.outcome is Outcome.SUCCEEDED:
            return Policy()  # a success asks for no budget
        found = next((worker.defaults[job.handler] for worker in self._desk.workers.values()
                      if job.handler in worker.defaults and worker.pod.serves(*job.key)), HandlerDefaults())  # fmt: skip
        line = self._desk.lines.get(job.key)
        defaults = Defaults(found.timeout_seconds, found.max_retries, found.retry)
        return resolve(job.spec(), defaults, line.policy if line is not None else QueuePolicy())

    # -- jobs ------------------------------------------------------------------------------------------------

    def running_for_long(self, job: Job) -> None:
        """Say that it runs, and where."""
        job.phase, job.reason, job.message, job.not_before = Phase.RUNNING, "", "", None
        self._writer.changed(job)

    def end(self, job: Job, phase: Phase, reason: str, message: str) -> asyncio.Future[None]:
        """The job has ended without (another) attempt."""
        return self._apply(job, Verdict(job.course(job.attempts), reason, message), self._now(), phase)

    def redrive(self, job: Job) -> None:
        """A failed job goes round again with fresh budgets; attempt numbers go on."""
        now = self._now()
        job.phase, job.redrives = Phase.PENDING, job.redrive
        job.retries = job.disruptions = 0
        job.reason = job.message = job.log_tail = job.result_ref = ""
        job.error = job.result = job.not_before = job.started_at = job.finished_at = None
        job.ready_at = now
        if job.array is not None:
            job.array.reopen_failed()
        self._desk.queue(job, now)
        self._writer.changed(job)

    def _apply(self, job: Job, verdict: Verdict, now: float, phase: Phase | None = None) -> asyncio.Future[None]:
        job.phase = phase or verdict.course.phase
        job.reason, job.message = verdict.reason, verdict.message[:1024]
        job.not_before = verdict.not_before
        if job.phase.terminal:
            job.finished_at, job.not_before = now, None
        else:
            job.ready_at = max(now, verdict.not_before or 0.0)
        self._desk.queue(job, now)
        done = self._writer.changed(job)
        if job.phase.terminal:
            # Unless somebody else's record stands, or the job is gone.
            done.add_done_callback(
                lambda _done: self._ended(job) if job.phase.terminal and job.saved[0] is job.phase else None
            )
            timer, waiting = self._later.pop(job.uid, (None, None))
            if timer is not None and waiting is not None:
                timer.cancel()
                _after(done, waiting)
        return done


def _after(first: asyncio.Future[None], then: asyncio.Future[None]) -> None:
    """When the first is done, the other one is."""
    first.add_done_callback(lambda _first: None if then.done() else then.set_result(None))


def kept(entry: EndedEntry, namespace: str, *, array: bool, now: float) -> EndedEntry:
    """The end as it can be kept, whatever a worker says: a result that is none fails the attempt, the rest is cut."""
    end = _time(entry.finished_at, now)
    told: Json = {
        "reason": entry.reason[:200], "log_tail": entry.log_tail[-MAX_LOG_TAIL_BYTES:], "finished_at": end,
        "started_at": min(end, _time(entry.started_at, now)),
        "exit_code": entry.exit_code if entry.exit_code is None or abs(entry.exit_code) < 2**31 else None,
    }  # fmt: skip
    refused = (
        _objection(entry.result, limit=None if array else MAX_STATUS_RESULT_BYTES) if entry.result is not None else None
    )
    if entry.result_ref is not None and not _named_rightly(entry, entry.result_ref, namespace):
        refused = Reason.RESULT_NOT_KEPT, "its worker named a result that is not this attempt's"
    if refused is not None:
        error = JobError(type=refused[0], message=refused[1])
        told |= {"outcome": Outcome.FAILED, "reason": refused[0], "error": error, "result": None, "result_ref": None}
    return entry.model_copy(update=told)


def _named_rightly(entry: EndedEntry, name: str, namespace: str) -> bool:
    """Whether a worker that says where a result is means one of its own."""
    file = parse(name)
    return file is not None and file.of(namespace, entry.uid, entry.index, entry.number)


def _time(told: datetime, now: float) -> datetime:
    """A worker's clock may be wrong, but not by centuries: JSON has no words for some of them."""
    return datetime.fromtimestamp(min(max(told.timestamp(), 0.0), now + DAY_SECONDS), UTC)


def _objection(result: object, *, limit: int | None) -> tuple[str, str] | None:
    """Why a result cannot be in a status: reason and message."""
    try:
        size = len(orjson.dumps(result))
    except TypeError as error:
        return Reason.RESULT_NOT_JSON, f"the result cannot be kept: {error}"
    if limit is not None and size > limit:
        return (
            Reason.RESULT_TOO_LARGE,
            f"the result takes {size} bytes of JSON; at most {limit} are kept without a results directory",
        )
    if _deeper(result, MAX_DEPTH):
        return Reason.RESULT_NOT_JSON, f"the result is nested deeper than {MAX_DEPTH} levels"
    return None


def _deeper(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _deeper(part, levels - 1) for part in inner)


def _error(end: End, longest: int = 1024) -> Json:
    return {"type": (end.error_type or end.reason or "Error")[:200], "message": end.error_message[:longest]}


def _history(attempt: Attempt, end: End, entry: EndedEntry | None, now: float) -> Json:
    finished = entry.finished_at.timestamp() if entry is not None else now
    whole: Json = {
        "number": attempt.number, "outcome": end.outcome.value, "startedAt": rfc3339_at(attempt.started_at),
        "finishedAt": rfc3339_at(finished),
    }  # fmt: skip
    optional = {
        "worker": attempt.worker_name,
        "reason": end.reason[:200],
        "exitCode": end.exit_code,
        "index": attempt.index,
        "error": _error(end, MAX_HISTORY_MESSAGE) if end.outcome is not Outcome.SUCCEEDED else None,
    }
    return whole | {name: value for name, value in optional.items() if value not in (None, "")}
