"""How SIGTERM ends a job, and how it ends what the job forks: as it would in a plain interpreter."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from longshore.handlers import JobCancelled

STUCK_SECONDS = 0.2  # an event loop that has not turned by then is inside a call that only an exception ends
_BLOCKED = {signal.SIGTERM, signal.SIGINT}


class Termination:
    """The slot's handler of SIGTERM.

    In the job's main thread it raises ``JobCancelled``, but where an event loop runs there: an exception would hit
    whatever task happens to run, which swallows it. There the main task is cancelled, from the loop itself.

    A forked child gets back what a plain interpreter has. The signals are blocked around the fork, so that one that
    comes between the fork and that moment ends the child too.
    """

    def __init__(self) -> None:
        self.running = False
        """Whether a job runs."""
        self.asked = False
        """Whether the job has been told to stop."""
        self.forked = False
        """Whether this is a child that the job has forked."""
        self._masks: dict[int, set[Any]] = {}
        self._main = threading.get_ident()

    def install(self) -> None:
        """Take SIGTERM; SIGINT is as Python has it."""
        signal.signal(signal.SIGTERM, self._terminate)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.register_at_fork(before=self._before, after_in_parent=self._unblock, after_in_child=self._in_child)

    def _terminate(self, _signal: int, _frame: FrameType | None) -> None:
        if not self.running:
            os._exit(0)
        again, self.asked = self.asked, True
        loop = None if again else _running_loop()
        if loop is None:
            raise JobCancelled("the job was asked to stop")
        self._cancel_from(loop)

    def _cancel_from(self, loop: Any) -> None:
        turned: list[bool] = []

        def cancel() -> None:
            turned.append(True)
            for task in _main_tasks(loop):
                task.cancel("the job was asked to stop")

        def insist() -> None:
            if not turned:
                signal.pthread_kill(self._main, signal.SIGTERM)

        loop.call_soon_threadsafe(cancel)
        timer = threading.Timer(STUCK_SECONDS, insist)
        timer.daemon = True
        timer.start()

    def _before(self) -> None:
        self._masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)

    def _unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.pop(threading.get_ident(), set()))

    def _in_child(self) -> None:
        self.forked = True
        if signal.getsignal(signal.SIGTERM) == self._terminate:  # not if the job has a handler of its own
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._unblock()


def _running_loop() -> Any:
    events = sys.modules.get("asyncio.events")
    return events._get_running_loop() if events is not None else None


def _main_tasks(loop: Any) -> list[Any]:
    """The task that the loop runs for; all of them where that cannot be told."""
    import asyncio

    tasks = list(asyncio.all_tasks(loop))
    return [task for task in tasks if _ends_the_loop(task)] or tasks


def _ends_the_loop(task: Any) -> bool:
    # asyncio's own loops and uvloop stop when a task is done that has one of these on its list.
    callbacks = getattr(task, "_callbacks", None) or ()
    names = {getattr(call[0] if isinstance(call, tuple) else call, "__name__", "") for call in callbacks}
    return not names.isdisjoint({"_run_until_complete_cb", "done_cb"})
