"""What a job left behind below its slot: found in /proc, killed, reaped, before the next job begins."""

import os
import signal
import threading
import time
from pathlib import Path

from longshore.slot import helpers

PATIENCE_SECONDS = 2.0  # a killed process that is not gone by then hangs in the kernel; the slot is given up for it


class Leftovers:
    """Looks at the slot's own children; two cheap reads on files that stay open."""

    def __init__(self) -> None:
        self._children = os.open(f"/proc/self/task/{threading.get_native_id()}/children", os.O_RDONLY | os.O_CLOEXEC)
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def resident_pages(self) -> int:
        """Resident memory of the slot, pages."""
        try:
            return int(os.pread(self._statm, 128, 0).split()[1])
        except (OSError, IndexError):
            return 0  # the job closed what it does not own; the slot is recycled for that

    def end(self) -> None:
        """Kill and reap every descendant, and let ``multiprocessing`` know that its own are gone."""
        if not (found := self._find()):
            return
        limit = time.monotonic() + PATIENCE_SECONDS
        tracker = helpers.tracker_pid()
        while found := [pid for pid in found if pid != tracker]:
            for pid in found:
                kill_tree(pid)
            _reap()
            if time.monotonic() > limit:
                break
            found = self._find()
        helpers.end_tracker()
        helpers.forget()

    def _find(self) -> list[int]:
        if threading.active_count() > 1:  # a thread of the job's may have children of its own
            return children(os.getpid())
        try:
            return [int(pid) for pid in os.pread(self._children, 4096, 0).split()]
        except OSError:
            return children(os.getpid())


def children(pid: int) -> list[int]:
    """Direct children of a process, whichever of its threads forked them; none when it is gone."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        pass  # it ended while we looked: whoever inherits its children is asked next
    return found


def kill_tree(pid: int) -> None:
    """SIGKILL for a process and all below it."""
    for child in children(pid):
        kill_tree(child)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # gone by itself


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        time.sleep(0.0005)  # not dead yet
    except ChildProcessError:
        pass  # nobody is left
