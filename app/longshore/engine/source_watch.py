"""The engine's end of ``source_watcher``, the process that watches files in development mode."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import orjson

from longshore.engine.loop import READ, Loop, Timer
from longshore.settings import Settings

AGAIN_SECONDS = 0.5
MAX_LINE_BYTES = 1024 * 1024


class Watcher:
    """The engine's end of ``source_watcher``; started again when it dies."""

    def __init__(self, loop: Loop, settings: Settings, settings_file: Path | None,
                 changed: Callable[[list[str]], None], log: Callable[..., None]) -> None:  # fmt: skip
        self._loop, self._settings, self._file = loop, settings, settings_file
        self._changed, self._log = changed, log
        self._child: subprocess.Popen[bytes] | None = None
        self._said = bytearray()
        self._since = time.time()
        self._timer: Timer | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that watches, while there is one."""
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Tell of every save from now on."""
        settings = self._settings
        ignored: Iterable[object] = (settings.data_dir, *((settings.results_dir,) if settings.results_dir else ()))
        config = {
            "apps": settings.apps, "settings_file": str(self._file or ""), "ignore": [str(path) for path in ignored],
            "engine": os.getpid(), "since": self._since,
        }  # fmt: skip
        self._child = subprocess.Popen(
            [sys.executable, "-m", "longshore.engine.source_watcher", orjson.dumps(config).decode()],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._said.clear()
        self._loop.watch(self._reading, READ, self._read)

    @property
    def _reading(self) -> int:
        assert self._child is not None
        assert self._child.stdout is not None
        return self._child.stdout.fileno()

    def _read(self, _events: int) -> None:
        data = os.read(self._reading, 65536)
        if not data or len(self._said) > MAX_LINE_BYTES:
            code = self._end()
            self._log("watcher_died", level="error", exit_code=code, again_in_seconds=AGAIN_SECONDS)
            self._timer = self._loop.after(AGAIN_SECONDS, self.start)
            return
        self._said += data
        *lines, rest = bytes(self._said).split(b"\n")
        self._said[:] = rest
        if lines:
            self._since = time.time()
            self._changed(sorted({path for line in lines for path in orjson.loads(line)}))

    def _end(self) -> int:
        assert self._child is not None
        child = self._child
        self._loop.unwatch(self._reading)
        child.kill()
        code = child.wait()
        if child.stdout is not None:
            child.stdout.close()
        self._child = None
        return code

    def close(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._child is not None:
            self._end()
