"""Runs the health checks of applications: side by side, each bounded by its time-out, each result used for a while.

A check is strangers' code that may hang. So each runs in a thread of its own, of which there is one at most for each
check: while one hangs, its check has failed, and no other is started. Whoever asks while a check runs gets what it found
last, so that probes cannot hold threads.

The engine answers the probes of a pod and never waits for a check. It is told what failed: ``Reporter`` asks it to
say when somebody has probed, runs the checks that are due, and reports. Without probes nothing happens.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping

from longshore.errors import LongshoreError
from longshore.health_checks import Check, Kind
from longshore.store.service import EngineService

PAUSE_SECONDS = 1.0
"""Between tries to reach an engine that does not answer."""
OK = "ok"


class _Run:
    """One run of a check, in its own thread."""

    __slots__ = ("check", "done", "found", "started")

    def __init__(self, check: Check) -> None:
        self.check, self.started = check, time.monotonic()
        self.done, self.found = threading.Event(), ""
        threading.Thread(target=self._work, name=f"health check {check.name}", daemon=True).start()

    def _work(self) -> None:
        try:
            self.check.function()
        except BaseException as error:  # whatever it raises means: not healthy
            self.found = f"failed: {type(error).__name__}"
            text = "health check %s failed: %s"
            logging.getLogger("longshore.api").debug(text, self.check.name, error)
        else:
            self.found = OK
        self.done.set()

    @property
    def late(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() >= self.started + self.check.timeout_seconds

    def wait(self) -> str:
        """What it found, at the latest when its time is over."""
        left = self.started + self.check.timeout_seconds - time.monotonic()
        late = f"failed: no answer in {self.check.timeout_seconds:g} s"
        return self.found if self.done.wait(max(0.0, left)) else late


class Checks:
    """All checks of this process."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._known: dict[str, tuple[str, float]] = {}

    def of_kind(self, kind: Kind) -> list[str]:
        """Names of the checks that decide this."""
        return [name for name, check in self._checks.items() if check.kind == kind]

    def all(self) -> dict[str, str]:
        """What each found, by name: ``ok``, or ``failed: …``."""
        return self.results(self._checks)

    def failed(self, kind: Kind) -> list[str]:
        """Names of those of a kind that fail."""
        return [name for name, found in self.results(self.of_kind(kind)).items() if found != OK]

    def results(self, names: Iterable[str]) -> dict[str, str]:
        """What the named ones found."""
        with self._lock:
            begun = {name: self._begin(self._checks[name]) for name in names}
        return {name: self._end(name, run) if isinstance(run, _Run) else run for name, run in begun.items()}

    def _begin(self, check: Check) -> "_Run | str":
        """A run to wait for, or what is known already."""
        known, until = self._known.get(check.name, ("", 0.0))
        if known and time.monotonic() < until:
            return known
        run = self._runs.get(check.name)
        if run is not None and not run.done.is_set():
            return known if known and not run.late else run
        run = self._runs[check.name] = _Run(check)
        return run

    def _end(self, name: str, run: _Run) -> str:
        found = run.wait()
        with self._lock:
            before, _ = self._known.get(name, (OK, 0.0))
            self._known[name] = (found, time.monotonic() + run.check.cache_seconds)
        if found != before:
            level = logging.INFO if found == OK else logging.WARNING
            logging.getLogger("longshore.api").log(level, "health check %s: %s", name, found)
        return found


class Reporter:
    """Tells the engine which readiness checks fail; a thread, when there are any."""

    def __init__(self, checks: Checks, service: EngineService) -> None:
        self._checks, self._service = checks, service

    def start(self) -> None:
        """Begin, if there is anything to tell."""
        if self._checks.of_kind("readiness"):
            threading.Thread(target=self._work, name="health reporter", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                self._service.report_health(self._checks.failed("readiness"))
            except LongshoreError:
                time.sleep(PAUSE_SECONDS)  # the engine is ending, or so busy that it answers later
