"""A long-running program of the test cluster: its own process group, its own log, gone when the tests are gone."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# PR_SET_PDEATHSIG fires when the *thread* that started the program ends, not the process. A test that starts an API
# server from a thread of its own must not take it down with that thread, so one thread that stays starts them all.
_starter = ThreadPoolExecutor(1, thread_name_prefix="daemon-starter")


class StartError(RuntimeError):
    """A program ended or did not get ready in time; the text has the last lines of its log."""


class Daemon:
    """One program that can be killed and started again, with the same arguments."""

    def __init__(self, name: str, argv: Sequence[str], log: Path, *, outlives: bool = False) -> None:
        """``outlives``: goes on when the process that started it ends, and its terminal is closed."""
        self.name, self.log, self._outlives = name, log, outlives
        # setpriv is how a shell would set PR_SET_PDEATHSIG: it becomes the program, with the same pid. Not on macOS.
        guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") and not outlives else []
        self._argv = [*guard, *argv]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running program; RuntimeError when none was started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; does not wait for it to be ready. Its output is added to the log."""
        if self.running:
            raise RuntimeError(f"{self.name} runs already, as pid {self.pid}")
        self._process = _starter.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.log.parent,
                process_group=None if self._outlives else 0, start_new_session=self._outlives,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL to its process group, and wait; nothing happens when it is gone already."""
        if self._process is None:
            return
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def check(self) -> None:
        """StartError when it has ended."""
        if not self.running:
            status = None if self._process is None else self._process.returncode
            raise StartError(f"{self.name} ended with {status}; {self.last_lines()}")

    def last_lines(self, count: int = 15) -> str:
        """The end of its log, with the log's path."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"the end of {self.log}:", *lines[-count:]])
