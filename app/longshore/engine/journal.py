"""The service's own log: one line per event, as JSON in a pod, for people on a terminal.

Never waits for whoever reads it: a line that does not fit is counted and dropped, so that a paused terminal or a
full pipe cannot hold up the engine.
"""

import datetime
import os
import select
import sys
import time
from collections.abc import Iterable

import orjson

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
PIPE_ATOMIC = 4096  # POLLOUT promises room for this much (PIPE_BUF)


class Journal:
    """Writes log lines to a descriptor; ``journal("job_failed", job="x")``."""

    def __init__(self, fd: int = 2, *, style: str = "auto", level: str = "info") -> None:
        self._fd = fd
        self.json = style == "json" or (style == "auto" and not os.isatty(fd))
        self._configured = level
        self._level = LEVELS[level]
        self.debugging = level == "debug"
        """Whether debug lines are written. Code on the path of a job asks first, so that a line that is off costs nothing."""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self.dropped = 0
        self._cut = False

    def __call__(self, action: str, *, level: str = "info", **fields: object) -> None:
        """Write one line: ``action`` is the stable word to search for."""
        if LEVELS[level] >= self._level:
            self._write(action, level, fields)

    def switch(self, *, debug: bool) -> None:
        """Write debug lines too, or again what the settings say. A line tells of the change, whatever the level is."""
        name = "debug" if debug else self._configured
        self._level, self.debugging = LEVELS[name], name == "debug"
        self._write("log_level", "info", {"now": name, "configured": self._configured})

    def _write(self, action: str, level: str, fields: dict[str, object]) -> None:
        now = time.time()
        if self.json:
            when = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat(timespec="milliseconds")
            line = orjson.dumps({"time": when, "level": level, "action": action, **fields}, default=str)
        else:
            clock = datetime.datetime.fromtimestamp(now).strftime("%H:%M:%S")
            told = " ".join(f"{name}={value}" for name, value in fields.items())
            line = f"{clock} {level:<7} {action} {told}".rstrip().encode("utf-8", "replace")
        self.raw(line + b"\n")

    def job_output(self, job: str, uid: str, attempt: int, lines: Iterable[bytes], **more: str) -> None:
        """A job's output, a log line per line."""
        when = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        for line in lines:
            text = line.decode("utf-8", "replace")
            if self.json:
                self.raw(orjson.dumps({"time": when, "level": "info", "action": "output", "job": job, "uid": uid,
                                       "attempt": attempt, **more, "line": text}) + b"\n")  # fmt: skip
            else:
                self.raw(f"{job} | {text}\n".encode("utf-8", "replace"))

    def raw(self, data: bytes) -> None:
        """Write a line, as far as the reader takes it; what comes after one that was cut begins on a line of its own."""
        if self._cut:
            data = b"\n" + data
        for at in range(0, len(data), PIPE_ATOMIC):
            piece = data[at : at + PIPE_ATOMIC]
            try:
                if self._poll.poll(0):
                    os.write(self._fd, piece)
                    self._cut = False
                    continue
            except OSError:
                pass  # the reader is gone
            self.dropped += len(data) - at
            self._cut = self._cut or at > 0
            return


def say(text: str) -> None:
    """A line for the person who started the service."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError:
        pass  # the terminal was closed
