"""A real pool of slots that a test drives by hand, and the apps that run in it."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from longshore.app_metrics.totals import Totals
from longshore.engine.attempt import Attempt, AttemptKey, Ended
from longshore.engine.hello import Hello
from longshore.engine.loop import Loop
from longshore.engine.place import Place
from longshore.engine.slots import SlotPool, SlotSettings, become_subreaper
from longshore.errors import AppError
from longshore.job.status import Outcome, Reason
from longshore.slot.leftovers import children

APPS = ("longshore_samples.echo", "rough_jobs", "rude_jobs")


class Listener:
    """Remembers what the pool says."""

    def __init__(self) -> None:
        self.ends: list[Ended] = []
        self.restarts: list[str] = []
        self.progresses = 0
        self.printed = 0
        self.frees = 0
        self.handlers: list[dict[str, object]] | None = None
        self.failure: AppError | None = None
        self.metrics = Totals(10, lambda _name: None)

    def pool_ready(self, handlers: list[dict[str, object]]) -> None:
        self.handlers = handlers

    def declared(self, hello: Hello) -> None:
        self.metrics.declare(hello.declared)

    def counted(self, place: int, changes: Sequence[object]) -> None:
        self.metrics.apply(str(place), changes)

    def newborn(self, place: int) -> None:
        self.metrics.forget(str(place))

    def pool_failed(self, error: AppError) -> None:
        self.failure = error

    def place_free(self) -> None:
        self.frees += 1

    def progress(self, key: AttemptKey) -> None:
        self.progresses += 1

    def output(self, attempt: Attempt, data: bytes) -> None:
        self.printed += len(data)

    def ended(self, ended: Ended) -> None:
        self.ends.append(ended)

    def slot_restarted(self, reason: str) -> None:
        self.restarts.append(reason)


class RealPool:
    """Template, slots and loop; nothing happens but in ``until``."""

    def __init__(self, **settings: object) -> None:
        become_subreaper()
        self.loop, self.listener = Loop(), Listener()
        self.logged: list[str] = []
        whole: dict[str, object] = {"count": 1, "apps": APPS, "grace_seconds": 0.3, "token_seconds": 0.05, **settings}
        # Children of the test run itself are not what a job left behind.
        self._others = set(children(os.getpid()))
        self.slots = SlotPool(self.loop, SlotSettings(**whole), self.listener, self._log, lambda: self._others)  # type: ignore[arg-type]  # settings by name
        self.slots.start()
        self._number = 0

    def _log(self, action: str, **_fields: object) -> None:
        self.logged.append(action)

    def until(self, true: Callable[[], object], *, seconds: float = 20.0, what: str = "it") -> None:
        """Turn the loop until something is so."""
        limit = time.monotonic() + seconds
        alarm = self.loop.after(seconds, lambda: None)
        while not true():
            assert time.monotonic() < limit, f"{what} did not happen in time"
            self.loop.turn()
        alarm.cancel()

    def start(self, handler: str = "", args: bytes = b"{}", **fields: Any) -> AttemptKey:
        """Give an attempt to a free place."""
        self.until(self.slots.free, what="a free place")
        self._number += 1
        key = AttemptKey("uid", None, self._number)
        self.slots.run(Attempt(key, "job", handler, args, **fields))
        return key

    def end_of(self, key: AttemptKey) -> Ended:
        """Wait for the end of an attempt."""
        self.until(lambda: any(end.key == key for end in self.listener.ends), what="the end of the attempt")
        return next(end for end in self.listener.ends if end.key == key)

    def run(self, handler: str = "", args: bytes = b"{}", **fields: Any) -> Ended:
        """Run an attempt to its end."""
        return self.end_of(self.start(handler, args, **fields))

    def command(self, script: str, **fields: Any) -> Ended:
        """Run a shell script as a command job to its end."""
        return self.run(command=("sh", "-c", script), runner="command", **fields)

    def cancel(self, key: AttemptKey, **how: object) -> bool:
        """Ask for its end."""
        return self.slots.stop(key, Outcome.CANCELLED, Reason.CANCELLED, **how)  # type: ignore[arg-type]  # grace by name

    def place(self, key: AttemptKey) -> Place:
        """Where the attempt runs."""
        place = self.slots.place_of(key)
        assert place is not None
        return place

    def pid(self, key: AttemptKey) -> int:
        """The process that runs the attempt."""
        process = self.place(key).process
        assert process is not None
        return process.pid

    def processes(self) -> set[int]:
        """Every child of this process that the pool brought into the world."""
        return set(children(os.getpid())) - self._others

    def end(self) -> None:
        """Leave nothing behind, whatever state the pool is in."""
        self.slots._template.close()
        for place in self.slots._places:
            if (process := place.close()) is not None:
                os.close(process.pidfd)
        while found := self.processes():
            for pid in found:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        self.loop.close()


def alive(pid: int) -> bool:
    """Whether there is such a process, dead but not reaped included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
