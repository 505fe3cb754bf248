"""A place for one job at a time: the slot process that fills it, and the attempt that the slot runs.

::

    down ──spawn──► starting ──ready──► idle ──run──► busy ──done──► idle
      ▲                                                 │ stop: token → SIGTERM → SIGKILL
      └────────────── gone (reaped, swept) ◄────────────┘
"""

import fcntl
import os
import socket
import time
from collections.abc import Callable
from enum import StrEnum

import orjson

from longshore.engine.attempt import Attempt
from longshore.engine.loop import READ, WRITE, Loop, Timer, receive
from longshore.engine.output import Capture
from longshore.engine.process import Process
from longshore.engine.reports import BadReport, Done, Progress, Report, progress, take
from longshore.slot.frames import pack

READ_SIZE = 256 * 1024
# Output that a job may be ahead of the engine; the default of 64 KiB costs a turn more often.
PIPE_BYTES = 1024 * 1024
# A slot writes a frame at once. One that has begun and is not whole after this time was begun by somebody else, and
# would swallow the frame that tells the end of the attempt.
FRAME_SECONDS = 15.0

MAX_LINE_BYTES = 64 * 1024  # of a command's progress


class State(StrEnum):
    """Where a place stands."""

    DOWN = "down"  # no process; one is asked for as soon as there is a template
    STARTING = "starting"  # asked for, not ready yet
    IDLE = "idle"  # could take an attempt
    BUSY = "busy"  # runs one


class Place:
    """One place of the pool. It moves bytes and knows its process; what they mean is the pool's business."""

    def __init__(self, number: int, loop: Loop, on_report: Callable[["Place", Report], None],
                 on_output: Callable[["Place", bytes], None], on_broken: Callable[["Place", str], None]) -> None:  # fmt: skip
        self.number = number
        self.state = State.DOWN
        self.process: Process | None = None
        self.born = 0.0
        self.jobs = 0
        self.first_rss = 0
        self.attempt: Attempt | None = None
        self.next: Attempt | None = None
        """Waits for a fresh process in this place."""
        self.capture = Capture(0, 0)
        self.started_at = self.started = 0.0
        self.stop: tuple[str, str, str] | None = None
        """Outcome, reason, message that somebody ordered."""
        self.done: Done | None = None
        self.nonce = self.earlier_nonce = ""
        """Of the attempt that runs, and of the one before it; see ``reports``."""
        self.failures = 0
        """Jobs that failed here at once, one after the other."""
        self.outdated = False
        """Whether its process has code that was replaced since; it takes no other job."""
        self.timers: dict[str, Timer] = {}
        """What is due while it runs: its timeout, SIGTERM, SIGKILL, a look at its memory."""
        self.progress: tuple[int, float, str] | None = None
        self._loop, self._on_report, self._on_output, self._on_broken = loop, on_report, on_output, on_broken
        self._sock: socket.socket | None = None
        self._pipe = -1
        self._in, self._out = bytearray(), bytearray()
        self._half: Timer | None = None
        """Runs while a frame has begun and is not whole."""

    # -- the process -----------------------------------------------------------------------------------------

    def open(self, spawn: Callable[[int, int], bool]) -> bool:
        """Ask for a process; False when there is nobody to ask."""
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        try:
            if not spawn(theirs.fileno(), writing):
                ours.close()
                os.close(reading)
                return False
        finally:
            theirs.close()
            os.close(writing)
        ours.setblocking(False)
        os.set_blocking(reading, False)
        try:
            fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass  # over the user's limit of pipe memory: smaller works too
        self._sock, self._pipe = ours, reading
        self._in.clear()
        self._out.clear()
        self.nonce = self.earlier_nonce = ""
        self.failures, self.outdated = 0, False
        self.state, self.jobs, self.born, self.first_rss = State.STARTING, 0, time.monotonic(), 0
        self._loop.watch(ours.fileno(), READ, self._ready)
        self._loop.watch(reading, READ, self._output_ready)
        return True

    def close(self) -> Process | None:
        """Let go of the process; whoever takes it has to end and reap it."""
        self.cancel_timers()
        self._wait_for_rest(wait=False)
        if self._sock is not None:
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()
            self._sock = None
        if self._pipe >= 0:
            self._loop.unwatch(self._pipe)
            os.close(self._pipe)
            self._pipe = -1
        process, self.process = self.process, None
        self.state, self.attempt, self.stop, self.done = State.DOWN, None, None, None
        return process

    def at(self, what: str, seconds: float, call: Callable[[], None]) -> None:
        """Do something after so many seconds, if the attempt still runs then; replaces an earlier ``what``."""
        if (earlier := self.timers.get(what)) is not None:
            earlier.cancel()
        self.timers[what] = self._loop.after(seconds, call)

    def cancel_timers(self) -> None:
        """Nothing is due any more."""
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()

    def signal(self, number: int) -> None:
        """Signal the process and its group."""
        if self.process is not None:
            self.process.signal(number)

    # -- bytes -----------------------------------------------------------------------------------------------

    def send(self, frame: object) -> None:
        """Send a frame, without ever waiting for the slot to read it."""
        if self._sock is None:
            return
        data = pack(frame)
        if not self._out:
            try:
                data = data[self._sock.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                return  # it died; its pidfd says so in a moment
        if data:
            self._out += data
            self._loop.watch(self._sock.fileno(), READ | WRITE, self._ready)

    def finish(self) -> None:
        """No more jobs: the process does what the application wants done at its end, and goes."""
        if self._sock is not None:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it is gone already

    def poll(self) -> None:
        """Read what the slot has said by now."""
        if self._sock is not None:
            self._ready(READ)

    def drain(self) -> None:
        """Read the output that is in the pipe now; a process that keeps writing does not hold this up."""
        for _ in range(PIPE_BYTES // READ_SIZE + 1):
            if not self._read_output():
                return

    def _ready(self, events: int) -> None:
        assert self._sock is not None
        if events & WRITE:
            self._flush(self._sock)
        if not events & READ:
            return
        if (data := receive(self._sock, READ_SIZE)) is None:
            return
        if not data:
            self._loop.unwatch(self._sock.fileno())  # the pidfd tells how it ended
            if self.process is None:
                self._on_broken(self, "it ended before it was born")
            return
        self._in += data
        while self._sock is not None and (report := self._next()) is not None:
            self._on_report(self, report)
        self._wait_for_rest(wait=self._sock is not None and bool(self._in))

    def _next(self) -> Report | None:
        attempt = self.attempt
        try:
            if attempt is not None and attempt.command:
                return self._next_of_command()
            return take(self._in, attempt.max_result_bytes if attempt is not None else None)
        except BadReport as error:
            self._in.clear()
            self._on_broken(self, str(error))
            return None

    def _next_of_command(self) -> Report | None:
        while self._in and self._in[0] and (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end])
            del self._in[: end + 1]
            if (found := _progress_line(line, self.nonce)) is not None:
                return found
        if self._in and not self._in[0]:
            return take(self._in, None)  # the slot itself: the command could not be run
        if len(self._in) > MAX_LINE_BYTES:
            self._in.clear()  # a command that writes no lines
        return None

    def _wait_for_rest(self, *, wait: bool) -> None:
        command = self.attempt is not None and bool(self.attempt.command)
        if not wait or command:
            if self._half is not None:
                self._half.cancel()
                self._half = None
        elif self._half is None:
            self._half = self._loop.after(FRAME_SECONDS, self._never_whole)

    def _never_whole(self) -> None:
        self._half = None
        self._in.clear()
        self._on_broken(self, f"a frame that was not whole after {FRAME_SECONDS:g} seconds")

    def _flush(self, sock: socket.socket) -> None:
        try:
            del self._out[: sock.send(self._out)]
        except BlockingIOError:
            return
        except OSError:
            self._out.clear()  # it died; its pidfd says so in a moment
        if not self._out:
            self._loop.watch(sock.fileno(), READ, self._ready)

    def _output_ready(self, _events: int) -> None:
        self._read_output()

    def _read_output(self) -> bool:
        if self._pipe < 0:
            return False
        try:
            data = os.read(self._pipe, READ_SIZE)
        except BlockingIOError:
            return False
        if not data:
            self._loop.unwatch(self._pipe)  # the job closed its output, or is gone
            return False
        self._on_output(self, data)
        return True


def _progress_line(line: bytes, nonce: str) -> Progress | None:
    try:
        said = orjson.loads(line)
        return progress([float(said["percent"]), said.get("message", "")], nonce)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None  # a command may write what it likes; what is no progress is ignored
