"""The pool of places: which attempt runs where, for how long, and how it is stopped."""

import secrets
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from longshore.engine import reports
from longshore.engine.attempt import Attempt, AttemptKey, Ended, run_frame
from longshore.engine.epitaph import epitaph
from longshore.engine.hello import HandlerInfo, Hello
from longshore.engine.loop import READ, Loop, Timer
from longshore.engine.output import Capture
from longshore.engine.place import Place, State
from longshore.engine.process import Exit, Process, end_orphans, oom_kills, resident_bytes
from longshore.engine.reports import Done
from longshore.engine.template import Template
from longshore.errors import AppError
from longshore.job.output import Output
from longshore.job.status import Outcome, Reason

MEMORY_SAMPLE_SECONDS = 0.2
SWEEP_SECONDS = 0.01
STILLBORN_SECONDS = 0.5
START_SECONDS = 30.0  # for a slot to begin, beside its hooks
END_SECONDS = 1.0  # for what they do when the slot of a stopped job ends: a cancel waits for it
AT_ONCE_SECONDS = 0.1  # a job that failed so early may have failed because of its slot
FAILURES = 5  # jobs in a row; then the slot is replaced


@dataclass(frozen=True, slots=True)
class SlotSettings:
    """What the pool needs to know; see ``settings.Settings`` for the meaning of each."""

    count: int = 2
    apps: Sequence[str] = ()
    strict: bool = False
    hook_seconds: float = 30.0
    token_seconds: float = 0.2
    grace_seconds: float = 5.0
    max_jobs: int = 1000
    max_age_seconds: float = 3600.0
    max_growth_bytes: int = 256 * 1024 * 1024
    log_head_bytes: int = 256 * 1024
    log_ring_bytes: int = 1024 * 1024
    tracebacks: str = "output"
    dev: bool = False


class SlotListener(Protocol):
    """Whom the pool tells."""

    def pool_ready(self, handlers: list[HandlerInfo]) -> None: ...
    def declared(self, hello: Hello) -> None: ...
    def counted(self, place: int, changes: Sequence[object]) -> None: ...
    def newborn(self, place: int) -> None: ...
    def pool_failed(self, error: AppError) -> None: ...
    def place_free(self) -> None: ...
    def progress(self, key: AttemptKey) -> None: ...
    def output(self, attempt: Attempt, data: bytes) -> None: ...
    def ended(self, ended: Ended) -> None: ...
    def slot_restarted(self, reason: str) -> None: ...


class SlotPool:
    """Runs attempts. Never blocks; everything that happens is told to the listener."""

    def __init__(self, loop: Loop, settings: SlotSettings, listener: SlotListener, log: Callable[..., None],
                 known: Callable[[], Iterable[int]] = tuple) -> None:  # fmt: skip
        self._loop, self._settings, self._listener = loop, settings, listener
        self._known, self._log = known, log
        self._template = self._new_template(self._template_ready, listener.pool_failed)
        self._candidate: Template | None = None
        self._places = [Place(n, loop, self._said, self._output, self._broken) for n in range(settings.count)]
        self._busy: dict[AttemptKey, Place] = {}
        self._dying: dict[int, Process] = {}
        self._oom_kills = oom_kills()
        """Those that are accounted for."""
        self._closed: Callable[[], None] | None = None

    # -- what others see -------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many places there are."""
        return len(self._places)

    def start(self) -> None:
        """Start the template; the places follow when it is ready."""
        self._template.start()

    def free(self) -> int:
        """How many attempts could start this instant."""
        return sum(1 for place in self._places if place.state is State.IDLE and place.next is None)

    def running(self) -> list[Place]:
        """Places that run something, with what."""
        return list(self._busy.values())

    def pids(self) -> list[int]:
        """Process ids of the template and the slots."""
        found = [place.process.pid for place in self._places if place.process is not None]
        templates = (self._template, *([self._candidate] if self._candidate else []))
        return found + [template.pid for template in templates if template.pid]

    def output(self, key: AttemptKey) -> Output | None:
        """What a running attempt has printed, or None when it does not run here."""
        place = self._busy.get(key)
        if place is None:
            return None
        # While it waits for its fresh process, what is captured there is another's.
        return place.capture.output() if place.attempt is not None else Output()

    def note(self, key: AttemptKey, text: str) -> None:
        """Add lines of the service's own to the output of an attempt that runs."""
        if (place := self._busy.get(key)) is not None:
            self._output(place, text.encode(errors="replace"))

    def place_of(self, key: AttemptKey) -> Place | None:
        """Where the attempt runs."""
        return self._busy.get(key)

    # -- running ---------------------------------------------------------------------------------------------

    def run(self, attempt: Attempt) -> None:
        """Start an attempt; the caller has seen that a place is free."""
        idle = [place for place in self._places if place.state is State.IDLE and place.next is None]
        if not idle:  # the slot that it was claimed for went in between, and another process comes in its place
            place = next(p for p in self._places if p.state in (State.DOWN, State.STARTING) and p.next is None)
            self._busy[attempt.key], place.next = place, attempt
            return
        if attempt.runner == "slot":
            self._begin(idle[0], attempt)
            return
        # A process of its own is a slot that has run nothing yet, and will run nothing after.
        place = next((place for place in idle if place.jobs == 0), idle[0])
        if place.jobs == 0:
            self._begin(place, attempt)
        else:
            self._busy[attempt.key] = place
            place.next = attempt
            self._retire(place, "fresh")

    def _begin(self, place: Place, attempt: Attempt) -> None:
        place.state, place.attempt, place.next = State.BUSY, attempt, None
        place.jobs += 1
        place.started_at, place.started = time.time(), time.monotonic()
        place.capture = Capture(self._settings.log_head_bytes, self._settings.log_ring_bytes)
        place.progress = None
        place.earlier_nonce, place.nonce = place.nonce, secrets.token_hex(8)
        self._busy[attempt.key] = place
        place.send({"run": run_frame(attempt, place.nonce)})
        if attempt.timeout_seconds is not None:
            text = f"ran longer than {attempt.timeout_seconds:g} seconds"
            order = (Outcome.TIMED_OUT.value, Reason.TIMED_OUT, text)
            place.at("timeout", attempt.timeout_seconds, lambda: self._stop(place, order, None))
        if attempt.memory_bytes is not None:
            self._sample_memory(place, attempt.memory_bytes)

    def _sample_memory(self, place: Place, limit: int) -> None:
        if place.process is not None and (used := resident_bytes(place.process.pid)) > limit:
            place.stop = place.stop or (
                Outcome.OOM.value, Reason.OUT_OF_MEMORY, f"used {used >> 20} MiB; the limit is {limit >> 20} MiB"
            )  # fmt: skip
            place.signal(signal.SIGKILL)
            return
        place.at("memory", MEMORY_SAMPLE_SECONDS, lambda: self._sample_memory(place, limit))

    def stop(self, key: AttemptKey, outcome: Outcome, reason: str, message: str = "",
             grace: float | None = None) -> bool:  # fmt: skip
        """End an attempt: token, SIGTERM, SIGKILL; False when it does not run here. Asked again, it may go faster."""
        place = self._busy.get(key)
        if place is None:
            return False
        if place.attempt is None:  # still waits for its fresh process: nothing to end
            attempt = place.next
            assert attempt is not None
            place.next = None
            del self._busy[key]
            now = time.time()
            self._listener.ended(Ended(key, outcome, now, now, 0.0, reason=reason, error_message=message))
            return True
        self._stop(place, (outcome.value, reason, message), grace)
        return True

    def _stop(self, place: Place, order: tuple[str, str, str], grace: float | None) -> None:
        attempt = place.attempt
        assert attempt is not None
        first = place.stop is None
        place.stop = place.stop or order
        patience = self._settings.grace_seconds if grace is None else grace
        token = 0.0
        if first and not attempt.command:
            place.send({"cancel": attempt.key.number})
            token = min(self._settings.token_seconds, patience)
        if first:
            place.at("SIGTERM", token, lambda: place.signal(signal.SIGTERM))
        if first or grace is not None:
            place.at("SIGKILL", token + patience, lambda: place.signal(signal.SIGKILL))

    # -- what slots say --------------------------------------------------------------------------------------

    def _said(self, place: Place, report: reports.Report) -> None:
        if isinstance(report, reports.Done):
            self._done(place, report)
        elif isinstance(report, reports.Progress):
            # Of another attempt: a thread that an earlier job left behind has not noticed its end.
            if place.attempt is not None and report.nonce == place.nonce:
                place.progress = ((place.progress[0] if place.progress else 0) + 1, report.percent, report.message)
                self._listener.progress(place.attempt.key)
        elif isinstance(report, reports.Counted):
            self._listener.counted(place.number, report.changes)
        elif place.state is not State.STARTING:
            self._broken(place, "it was born already")
        elif isinstance(report, reports.StartFailed):
            self._log("slot_start_failed", level="error", traceback=report.traceback)
        elif isinstance(report, reports.Hello):
            self._hello(place, report.pid)
        else:
            self._became_ready(place, report.rss)

    def _broken(self, place: Place, why: str, *, guilty: bool = True) -> None:
        """Something else than the slot speaks on its socket: nothing that comes from there counts any more.

        The attempt that runs has failed, or is lost when it is known that another one wrote there.
        """
        if place.attempt is not None and place.attempt.command:
            return  # a command has the socket for its progress, and may write what it likes
        if place.process is None:
            self._gone(place, Exit(-signal.SIGKILL))
        elif place.attempt is None:
            self._retire(place, "broken")
        else:
            text = f"it wrote on the socket of its slot: {why}" if guilty else why
            outcome = Outcome.FAILED if guilty else Outcome.LOST
            place.stop = place.stop or (outcome.value, Reason.SLOT_BROKEN, text)
            place.signal(signal.SIGKILL)

    def _hello(self, place: Place, pid: int) -> None:
        try:
            place.process = Process(pid)
        except ProcessLookupError:  # died in its first moment, and was reaped as an orphan
            self._gone(place, Exit(-signal.SIGKILL))
            return
        pidfd = place.process.pidfd
        self._loop.watch(pidfd, READ, lambda _events: self._exited(place))
        limit = START_SECONDS + self._settings.hook_seconds
        place.at("start", limit, lambda: self._never_ready(place, limit))

    def _never_ready(self, place: Place, limit: float) -> None:
        self._log("slot_start_failed", level="error", detail=f"it was not ready after {limit:g} seconds")
        place.signal(signal.SIGKILL)

    def _became_ready(self, place: Place, rss: int) -> None:
        place.cancel_timers()
        if place.outdated:
            self._retire(place, "code")
            return
        place.state, place.first_rss = State.IDLE, rss
        if place.next is not None:
            self._begin(place, place.next)
        else:
            self._listener.place_free()

    def _output(self, place: Place, data: bytes) -> None:
        if place.attempt is not None:
            place.capture.add(data)
            self._listener.output(place.attempt, data)

    def _done(self, place: Place, done: Done) -> None:
        if place.attempt is None or done.nonce != place.nonce:
            # An earlier job that had said its own end and went on, or one that makes up an end.
            earlier = place.attempt is not None and done.nonce == place.earlier_nonce != ""
            text = (
                "an earlier job of this slot had told its end and went on" if earlier else "the end of another attempt"
            )
            self._broken(place, text, guilty=not earlier)
            return
        if place.stop is None and done.outcome is Outcome.CANCELLED:
            text = "it raised JobCancelled, though nobody had asked for its end"
            done = replace(done, outcome=Outcome.FAILED, reason=Reason.HANDLER_ERROR, error_message=text)
        if place.stop is not None:
            place.done = done  # said in the last moment; what was ordered stands
            place.finish()
            place.at("SIGKILL", min(END_SECONDS, self._settings.grace_seconds), lambda: place.signal(signal.SIGKILL))
            return
        place.drain()
        ended = self._ended(place, done)
        at_once = done.reason == Reason.HANDLER_ERROR and ended.run_seconds < AT_ONCE_SECONDS
        place.failures = place.failures + 1 if at_once else 0
        reason = self._worn_out(place, done)
        self._release(place)
        if reason:
            self._retire(place, reason)
        else:
            place.state = State.IDLE
        self._listener.ended(ended)
        if not reason:
            self._listener.place_free()

    def _ended(self, place: Place, done: Done) -> Ended:
        assert place.attempt is not None
        if done.traceback and self._settings.tracebacks == "output":
            text = done.traceback.encode(errors="replace")
            self._output(place, b"\n" + text if place.capture.mid_line else text)
        return Ended(
            key=place.attempt.key, outcome=done.outcome, started_at=place.started_at, finished_at=time.time(),
            run_seconds=time.monotonic() - place.started, reason=done.reason, error_type=done.error_type,
            error_message=done.error_message, traceback=done.traceback, error_names=done.error_names, exit_code=done.exit_code,
            result=done.result, output=place.capture.output(),
        )  # fmt: skip

    def _worn_out(self, place: Place, done: Done) -> str:
        settings, attempt = self._settings, place.attempt
        assert attempt is not None
        if done.recycle:
            return done.recycle
        if place.outdated:
            return "code"
        if attempt.runner != "slot":
            return attempt.runner
        if place.failures >= FAILURES:
            return "failures"
        if settings.max_jobs and place.jobs >= settings.max_jobs:
            return "max_jobs"
        if settings.max_age_seconds and time.monotonic() - place.born > settings.max_age_seconds:
            return "max_age"
        return "max_rss" if done.rss - place.first_rss > settings.max_growth_bytes else ""

    def _release(self, place: Place) -> None:
        assert place.attempt is not None
        del self._busy[place.attempt.key]
        place.attempt = None
        place.cancel_timers()

    # -- the end of processes --------------------------------------------------------------------------------

    def _retire(self, place: Place, reason: str) -> None:
        """Another process for this place; the old one is ended beside it."""
        if reason != "fresh":
            self._listener.slot_restarted(reason)
        process = place.close()
        if process is not None:
            self._dying[process.pid] = process
            # Its socket is closed: it does what the application wants done at the end, but for one that is broken.
            patience = 0.0 if reason == "broken" else self._settings.grace_seconds
            killing = self._loop.after(patience, lambda: process.signal(signal.SIGKILL))
            self._loop.watch(process.pidfd, READ, lambda _events: self._buried(process, killing))
        self._open(place)

    def _buried(self, process: Process, killing: Timer) -> None:
        killing.cancel()
        self._loop.unwatch(process.pidfd)
        process.reap()
        process.kill_group()
        del self._dying[process.pid]
        self._sweep(self._check_closed)

    def _exited(self, place: Place) -> None:
        process = place.process
        assert process is not None
        place.poll()  # what it said last is still in the socket
        if place.process is not process:
            return  # it was done, and worn out
        self._loop.unwatch(process.pidfd)
        place.drain()
        ended = process.reap()
        process.kill_group()
        place.process = None
        self._sweep(lambda: self._gone(place, ended))

    def _sweep(self, then: Callable[[], None]) -> None:
        """End what dead jobs left behind, then go on; newborn slots that have not been heard yet are heard first."""
        for place in self._places:
            if place.state is State.STARTING and place.process is None:
                place.poll()
        expected = [*self.pids(), *self._dying, *self._known()]
        if end_orphans(expected):
            then()
        else:
            self._loop.after(SWEEP_SECONDS, lambda: self._sweep(then))

    def _gone(self, place: Place, exit_: Exit) -> None:
        reason = "crash"
        jobs, ended = place.jobs, None
        if place.attempt is not None:
            killed = exit_.code == -signal.SIGKILL and oom_kills() > self._oom_kills
            self._oom_kills += killed  # several may have been killed together
            ended = self._ended(place, epitaph(place.stop, place.done, exit_, bool(place.attempt.command), killed))
            reason = place.stop[0] if place.stop else place.attempt.runner if place.attempt.command else "crash"
            self._release(place)
        place.close()
        self._listener.slot_restarted(reason)
        if jobs or ended is not None:
            self._open(place)
        else:  # it died before its first job: not in a tight circle
            self._loop.after(STILLBORN_SECONDS, lambda: self._open(place))
        if ended is not None:
            self._listener.ended(ended)
        self._check_closed()

    # -- the template ----------------------------------------------------------------------------------------

    def _new_template(self, ready: Callable[[Hello], None], failed: Callable[[AppError], None]) -> Template:
        chosen = self._settings
        return Template(self._loop, chosen.apps, strict=chosen.strict, dev=chosen.dev,
                        hook_seconds=chosen.hook_seconds, on_ready=ready, on_failed=failed, log=self._log)  # fmt: skip

    def candidate(self, ready: Callable[[Hello], None], failed: Callable[[AppError], None]) -> Template:
        """A template beside the one that forks slots: it imports what the code is now. There is one at a time."""

        def said(hello: Hello) -> None:
            (self._template_ready if found is self._template else ready)(hello)

        self._candidate = found = self._new_template(said, failed)
        return found

    def drop_candidate(self) -> None:
        """End it; the template that forks slots goes on."""
        if self._candidate is not None:
            self._candidate.close()
            self._candidate = None

    def use_candidate(self, hello: Hello) -> None:
        """Fork slots from the candidate, which is ready. Free slots are replaced; a running job ends in its old slot."""
        assert self._candidate is not None
        self._template.close()
        self._template, self._candidate = self._candidate, None
        for place in self._places:
            if place.state is State.IDLE:
                self._retire(place, "code")
            elif place.process is not None:
                place.outdated = True
        self._template_ready(hello)

    def _template_ready(self, hello: Hello) -> None:
        self._listener.declared(hello)
        self._listener.pool_ready(hello.handlers)
        for place in self._places:
            # A newborn whose template died before it was heard of will never be ready.
            if place.state is State.STARTING and place.process is None:
                place.close()
            if place.state is State.DOWN:
                self._open(place)

    def _open(self, place: Place) -> None:
        if self._closed is None and place.state is State.DOWN:
            self._listener.newborn(place.number)
            place.open(self._template.spawn)

    def close(self, done: Callable[[], None]) -> None:
        """End every process and then call ``done``; attempts have been stopped before."""
        self._closed = done
        self._template.close()
        self.drop_candidate()
        for place in self._places:
            if place.process is not None:
                self._retire(place, "fresh")
            else:
                place.close()
        self._check_closed()

    def _check_closed(self) -> None:
        if self._closed is not None and not self._dying and not any(p.process for p in self._places):
            done, self._closed = self._closed, lambda: None
            done()


def become_subreaper() -> None:
    """Orphans of dead jobs become children of this process, where they can be found and ended."""
    import ctypes

    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
