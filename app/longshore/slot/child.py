"""A slot: one warm process that runs one job at a time and says how it went."""

import atexit
import contextvars
import ctypes
import logging
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from pydantic import ValidationError

from longshore import debugging, hooks, tracing
from longshore.app_metrics.changes import CHANGES, frames
from longshore.handlers import REGISTRY, Context, JobCancelled
from longshore.job.status import Reason
from longshore.slot import command, ends, generators
from longshore.slot.frames import MAX_TRACEBACK, Frame, Taint, Wire
from longshore.slot.leftovers import Leftovers
from longshore.slot.process_state import Snapshot
from longshore.slot.termination import Termination
from longshore.slot.threads import Threads

if TYPE_CHECKING:
    from longshore.tracing.spans import Tracing

CONTROL = 3
REPORTS_PER_SECOND = 5
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PAGE = resource.getpagesize()


def main(control: int, output: int, engine: int, hook_seconds: float) -> NoReturn:
    """Become a slot and serve until the engine closes the socket."""
    _settle(control, output, engine)
    wire = Wire(socket.socket(fileno=CONTROL))
    tracer = tracing.start("slot")
    CHANGES.send_by(lambda changes: wire.send(*frames(changes)))
    try:
        debugged = debugging.attach()
        hooks.start("on_slot_start", hooks.SLOT_STARTS, hook_seconds)
        slot = Slot(wire, tracer, debugged=debugged)
    except BaseException:
        wire.send({"failed": ends.text(traceback.format_exc()[-MAX_TRACEBACK:])})
        os._exit(1)
    slot.serve()
    _end(tracer)


def _end(tracer: "Tracing | None") -> NoReturn:
    """The engine wants no more of this slot: what the application has to close is closed."""
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # nobody reads there any more
        os.dup2(null, descriptor)
    for finish in reversed(hooks.SLOT_STOPS):
        try:
            finish()
        except BaseException:
            traceback.print_exc()  # and the others get their turn
    if tracer is not None:
        tracer.flush()
    atexit._run_exitfuncs()
    os._exit(0)


def _settle(control: int, output: int, engine: int) -> None:
    _wait_for_parent(engine)
    os.setsid()
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != engine:
        os._exit(1)  # the engine died while we were asking to die with it
    # What a job starts and leaves behind stays below its slot, and can be told from other jobs' processes.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _arrange_descriptors(control, output)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        pass  # not allowed here; the kernel then chooses by size alone
    generators.reseed()
    _log_to_output()


def _wait_for_parent(engine: int) -> None:
    limit = time.monotonic() + 10
    while os.getppid() != engine:
        if time.monotonic() > limit:
            os._exit(1)
        time.sleep(0.0002)


def _arrange_descriptors(control: int, output: int) -> None:
    # Twice over, so that neither is overwritten while the other moves.
    control, output = os.dup(control), os.dup(output)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(control, CONTROL, inheritable=False)
    os.closerange(CONTROL + 1, 1 << 20)
    # New streams: the inherited ones remember whether the engine's output was a file or a terminal.
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)


def _log_to_output() -> None:
    root = logging.getLogger()
    if not root.handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


class Slot:
    """Takes one job after the other from the wire."""

    def __init__(self, wire: Wire, tracer: "Tracing | None" = None, *, debugged: bool = False) -> None:
        self._wire, self._tracer, self._debugged = wire, tracer, debugged
        self._nonce = ""  # of the attempt that runs
        self._cancelled = False
        self._reported = 0.0
        self._pending: Frame | None = None
        self._leftovers = Leftovers()
        self._termination = Termination()
        self._termination.install()
        self._threads = Threads()
        self._state = Snapshot()
        wire.send({"ready": self._leftovers.resident_pages() * _PAGE})

    def serve(self) -> None:
        """Run jobs until the engine goes."""
        while True:
            try:
                if (frame := self._wire.receive()) is None:
                    return
            except KeyboardInterrupt:
                continue  # meant for a job that is over
            if "run" in frame:
                self._run(frame["run"])  # type: ignore[arg-type]  # the engine's own frame

    def _run(self, job: dict[str, object]) -> None:
        if job.get("command"):
            self._wire.send({"done": command.become(job)})
            return
        self._cancelled, self._pending, self._nonce = False, None, str(job["nonce"])
        started = time.monotonic()
        CHANGES.begin_job(started)
        timeout = job.get("timeout")
        context = Context(
            str(job["job"]), uid=str(job["uid"]), attempt=int(str(job["number"])), index=job.get("index"),  # type: ignore[arg-type]  # an int or None
            deadline=started + timeout if isinstance(timeout, float | int) else None,
            idempotency_key=str(job.get("key", "")), traceparent=str(job.get("traceparent", "")),
            tracestate=str(job.get("tracestate", "")),
            report=self._reporter(str(job["nonce"])), poll=self._poll,
        )  # fmt: skip
        traced = self._tracer.begin_attempt(job) if self._tracer is not None else None
        done = self._call(str(job["handler"]), job["args"], context, int(str(job["max_result"])))  # type: ignore[arg-type]  # a JSON object
        ended = time.time_ns()
        if self._pending is not None:
            self._wire.send(self._pending)
        done["nonce"] = job["nonce"]
        overtaken = self._overtaken()
        self._wire.send(*frames(CHANGES.take()), {"done": done})
        if overtaken:
            # The job had told its own end, and the engine has sent another: that one must not begin here.
            os._exit(1)
        # Here, because nobody waits for it.
        if self._tracer is not None and traced is not None:
            self._tracer.end_attempt(traced, job, done, ended)
        generators.refresh()

    def _call(self, name: str, args: dict[str, object], context: Context, max_result: int) -> Frame:
        taint = None
        try:
            try:
                self._termination.asked, self._termination.running = False, True
                # In variables of its own, so that the next job does not find those that this one sets.
                done = contextvars.copy_context().run(self._handle, name, args, context, max_result)
            finally:
                self._termination.running = False
                if self._termination.forked:
                    self._leave_child(sys.exc_info()[1])
                self._nonce = ""
                self._leftovers.end()
                taint = self._restored()
        except JobCancelled as error:
            done = ends.stopped(error)
        except ValidationError as error:
            done = ends.invalid(error, name)
        except BaseException as error:
            cancelled = self._termination.asked and type(error).__name__ == "CancelledError"
            done = ends.stopped(error) if cancelled else ends.raised(error)
        if taint is None and self._threads.taint():
            taint = Taint.THREADS
        done["recycle"] = taint or (Taint.DEBUGGER if self._debugged else "")
        done["rss"] = self._leftovers.resident_pages() * _PAGE
        return done

    def _restored(self) -> Taint | None:
        try:
            return self._state.restore()
        except Exception:  # whatever the job has put in the place of what is read here
            return Taint.STATE

    def _handle(self, name: str, args: dict[str, object], context: Context, max_result: int) -> Frame:
        self._state.enter()
        handler = REGISTRY.get(name)
        if handler is None:
            return ends.failure(Reason.UNKNOWN_HANDLER, Reason.UNKNOWN_HANDLER, f"no handler {name!r} here")
        return ends.returned(handler.call(args, context), max_result)

    @staticmethod
    def _leave_child(error: BaseException | None) -> NoReturn:
        """A child that the job forked came back from the handler: it is no slot, and says nothing."""
        code = 0 if error is None else 1
        if isinstance(error, SystemExit) and isinstance(error.code, int | None):
            code = error.code or 0
        elif error is not None:
            traceback.print_exception(error)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass  # closed
        os._exit(code & 0xFF)

    def _reporter(self, nonce: str) -> Callable[[float, str], None]:
        def report(percent: float, message: str) -> None:
            if self._nonce != nonce:
                return  # the job is over, and a thread of its has not noticed
            frame: Frame = {"progress": [percent, ends.text(message)], "nonce": nonce}
            self._pending = frame
            self._tell()

        return report

    def _tell(self) -> None:
        """Send the latest report, unless one has just left; then the next look at ``ctx.cancelled`` or the end does."""
        now, frame = time.monotonic(), self._pending  # once: other threads of the job report, too
        if frame is None or frame["nonce"] != self._nonce or now - self._reported < 1 / REPORTS_PER_SECOND:
            return
        self._pending, self._reported = None, now
        self._wire.send(frame)

    def _overtaken(self) -> bool:
        while (frame := self._wire.waiting()) is not None:
            if "run" in frame:
                return True
        return False

    def _poll(self) -> bool:
        self._tell()
        CHANGES.flush_if_due()
        if not self._cancelled and (frame := self._wire.waiting()) is not None:
            self._cancelled = "cancel" in frame
        return self._cancelled or self._termination.asked
