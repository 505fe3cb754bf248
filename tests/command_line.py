"""The real command line, in processes of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

OK, FAILED, USAGE, CANCELLED, TIMED_OUT, NOT_FOUND, REFUSED, UNREACHABLE = range(8)


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its output as data."""
        return json.loads(self.out)


class Cli:
    """Runs commands in a process of their own."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder

    def __call__(self, *words: str, stdin: str = "", **environment: str) -> Ran:
        path = os.pathsep.join(sys.path)
        whole = {**os.environ, "PYTHONPATH": path, "LONGSHORE_URL": self._url, "PYTHONWARNINGS": "error", **environment}
        done = subprocess.run(
            [sys.executable, "-m", "longshore", *words], env=whole, input=stdin, cwd=self._folder,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def unread(self, *words: str) -> int:
        """Exit code of a command whose output nobody reads."""
        reading, writing = os.pipe()
        os.close(reading)
        whole = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LONGSHORE_URL": self._url}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "longshore", *words], env=whole, stdin=subprocess.DEVNULL, cwd=self._folder,
                stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            )  # fmt: skip
        finally:
            os.close(writing)
        assert "" == done.stderr, done.stderr
        return done.returncode

    def ok(self, *words: str, **more: str) -> str:
        """What a command printed that has to work."""
        done = self(*words, **more)
        assert OK == done.code, done
        return done.out

    def id(self, *words: str) -> str:
        """Of a job that is submitted."""
        return str(json.loads(self.ok("submit", "-o", "json", *words))["id"])
