"""A slot: one warm process that runs one job at a time and says how it went."""

import ctypes
import logging
import os
import random
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import orjson
from pydantic import ValidationError

from longshore.handlers import REGISTRY, Context, JobCancelled
from longshore.job.nesting import SHOWN_DEPTH, deeper_than
from longshore.job.status import Outcome, Reason
from longshore.slot import command
from longshore.slot.frames import MAX_ERROR_MESSAGE, MAX_ERROR_TYPE, MAX_TRACEBACK, Frame, Wire
from longshore.slot.leftovers import Leftovers

CONTROL = 3
REPORTS_PER_SECOND = 5
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PAGE = resource.getpagesize()


def main(control: int, output: int, engine: int) -> NoReturn:
    """Become a slot and serve until the engine closes the socket."""
    _settle(control, output, engine)
    slot = Slot(Wire(socket.socket(fileno=CONTROL)))
    slot.serve()
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
    random.seed()
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
    sys.stdout = open(1, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)


def _log_to_output() -> None:
    root = logging.getLogger()
    if not root.handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


class Slot:
    """Takes one job after the other from the wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._number = -1  # of the attempt that runs; -1: none
        self._nonce = ""  # of that attempt
        self._cancelled = False
        self._reported = 0.0
        self._pending: Frame | None = None
        self._threads = threading.active_count()
        self._leftovers = Leftovers()
        self._streams = sys.stdout, sys.stderr
        self._folder = os.getcwd()
        os.umask(umask := os.umask(0o22))
        self._umask, self._blocked = umask, signal.pthread_sigmask(signal.SIG_BLOCK, ())
        signal.signal(signal.SIGTERM, self._terminate)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        wire.send({"ready": self._leftovers.resident_pages() * _PAGE})

    def serve(self) -> None:
        """Run jobs until the engine goes."""
        while (frame := self._wire.receive()) is not None:
            if "run" in frame:
                self._run(frame["run"])  # type: ignore[arg-type]  # the engine's own frame

    def _terminate(self, _signal: int, _frame: FrameType | None) -> None:
        if self._number < 0:
            os._exit(0)
        self._cancelled = True
        raise JobCancelled("the job was asked to stop")

    def _run(self, job: dict[str, object]) -> None:
        if job.get("command"):
            self._wire.send({"done": command.become(job)})
            return
        self._cancelled, self._pending, self._nonce = False, None, str(job["nonce"])
        started = time.monotonic()
        timeout = job.get("timeout")
        context = Context(
            str(job["job"]), uid=str(job["uid"]), attempt=int(str(job["number"])), index=job.get("index"),  # type: ignore[arg-type]  # an int or None
            deadline=started + timeout if isinstance(timeout, float | int) else None,
            idempotency_key=str(job.get("key", "")), traceparent=str(job.get("traceparent", "")),
            report=self._reporter(str(job["nonce"])), poll=self._poll,
        )  # fmt: skip
        done = self._call(str(job["handler"]), job["args"], context, int(str(job["max_result"])))  # type: ignore[arg-type]  # a JSON object
        if self._pending is not None:
            self._wire.send(self._pending)
        done["nonce"] = job["nonce"]
        overtaken = self._overtaken()
        self._wire.send({"done": done})
        if overtaken:
            # The job had told its own end, and the engine has sent another: that one must not begin here.
            os._exit(1)

    def _call(self, name: str, args: dict[str, object], context: Context, max_result: int) -> Frame:
        try:
            try:
                self._number = context.attempt
                handler = REGISTRY.get(name)
                if handler is None:
                    return _failure(Reason.UNKNOWN_HANDLER, Reason.UNKNOWN_HANDLER, f"no handler {name!r} here")
                done = _result(handler.call(args, context), max_result)
            finally:
                self._number = -1
                self._tidy()
        except JobCancelled as error:
            done = {
                "outcome": Outcome.CANCELLED.value,
                "reason": Reason.CANCELLED,
                "error": ["JobCancelled", _text(str(error))],
            }
        except ValidationError as error:
            done = _invalid(error, name)
        except BaseException as error:
            done = _raised(error)
        done["recycle"] = self._tainted()
        done["rss"] = self._leftovers.resident_pages() * _PAGE
        return done

    def _tidy(self) -> None:
        """Put back what a job may have changed and the next would stumble over."""
        for stream in (sys.stdout, sys.stderr, *self._streams):
            try:
                stream.flush()
            except Exception:
                pass
        sys.stdout, sys.stderr = self._streams
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)
        os.umask(self._umask)
        try:
            os.chdir(self._folder)
        except OSError:
            pass  # somebody removed it: the next job is no worse off than this one was
        self._leftovers.end()

    def _tainted(self) -> str:
        """Why this process should not run another job; empty when it may."""
        if threading.active_count() > self._threads:
            return "threads"
        handler = signal.getsignal(signal.SIGTERM)
        if getattr(handler, "__func__", None) is not Slot._terminate:
            return "signals"
        try:
            os.fstat(1)
            os.fstat(2)
        except OSError:
            return "descriptors"
        return "descriptors" if any(stream.closed for stream in self._streams) else ""

    def _reporter(self, nonce: str) -> Callable[[float, str], None]:
        def report(percent: float, message: str) -> None:
            if self._nonce != nonce:
                return  # the job is over, and a thread of its has not noticed
            self._pending = {"progress": [percent, _text(message)], "nonce": nonce}
            now = time.monotonic()
            if now - self._reported >= 1 / REPORTS_PER_SECOND:
                self._reported = now
                self._wire.send(self._pending)
                self._pending = None

        return report

    def _overtaken(self) -> bool:
        while (frame := self._wire.waiting()) is not None:
            if "run" in frame:
                return True
        return False

    def _poll(self) -> bool:
        if not self._cancelled and (frame := self._wire.waiting()) is not None:
            self._cancelled = "cancel" in frame
        return self._cancelled


def _result(value: object, limit: int) -> Frame:
    try:
        body = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError as error:
        text = f"a handler returns what JSON can carry: {error}"
        return _failure(Reason.RESULT_NOT_JSON, Reason.RESULT_NOT_JSON, text)
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:  # a Fragment is written as it is, unread
        text = f"the result holds an orjson.Fragment that cannot be read: {error}"
        return _failure(Reason.RESULT_NOT_JSON, Reason.RESULT_NOT_JSON, text)
    if deeper_than(body, SHOWN_DEPTH):
        text = f"the result is nested deeper than {SHOWN_DEPTH} levels"
        return _failure(Reason.RESULT_NOT_JSON, Reason.RESULT_NOT_JSON, text)
    if len(body) > limit:
        text = f"the result takes {len(body)} bytes of JSON; at most {limit} are kept"
        return _failure(Reason.RESULT_TOO_LARGE, Reason.RESULT_TOO_LARGE, text)
    return {"outcome": Outcome.SUCCEEDED.value, "result": orjson.Fragment(body)}


def _failure(reason: str, kind: str, message: str, trace: str = "") -> Frame:
    return {
        "outcome": Outcome.FAILED.value,
        "reason": reason,
        "error": [_text(kind), _text(message[:MAX_ERROR_MESSAGE])],
        "traceback": _text(trace),
    }


def _text(text: str) -> str:
    """What can be sent of it: file names may hold bytes that are no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _invalid(error: ValidationError, name: str) -> Frame:
    # Only the handler's own arguments; a ValidationError raised by its code is an error like any other.
    if error.title != name:
        return _raised(error)
    where = "; ".join(
        f"{'.'.join(str(part).removeprefix('field_') for part in e['loc']) or 'args'}: {e['msg']}"
        for e in error.errors()
    )
    return _failure(Reason.INVALID_ARGS, Reason.INVALID_ARGS, where)


def _raised(error: BaseException) -> Frame:
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception as broken:  # an exception of the job's own that cannot even be printed
        message = f"(its message cannot be read: {type(broken).__name__})"
    trace = "".join(traceback.format_exception(error, limit=-50))
    if len(trace) > MAX_TRACEBACK:  # the lines that lead there, and the end of a message that is too long
        half = MAX_TRACEBACK // 2 - 3
        trace = f"{trace[:half]}\n...\n{trace[-half:]}"
    return _failure(Reason.HANDLER_ERROR, name[:MAX_ERROR_TYPE], message, trace)
