"""One child process: known by its pidfd, so that a signal can never reach another that got its number."""

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from longshore.slot.leftovers import children, kill_tree


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: its exit status, or minus the signal that ended it."""

    code: int

    @property
    def signal_name(self) -> str:
        """``SIGSEGV`` for -11; empty when it exited by itself."""
        if self.code >= 0:
            return ""
        try:
            return signal.Signals(-self.code).name
        except ValueError:
            return f"signal {-self.code}"


class Process:
    """A child of the engine that leads a session of its own."""

    __slots__ = ("pid", "pidfd")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)

    def signal(self, number: int) -> None:
        """Signal the process and its whole group, as long as the process has not been reaped."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            self._signal_alone(number)

    def _signal_alone(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self.pidfd, number)  # it leads no group yet
        except ProcessLookupError:
            pass  # gone already

    def reap(self) -> Exit:
        """Its end, once the pidfd is readable; closes the pidfd."""
        found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        assert found is not None
        os.close(self.pidfd)
        return Exit(found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)

    def kill_group(self) -> None:
        """What is left of its group after it was reaped."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nobody is left: as it should be


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and everything below it."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            # Pss counts a page that several share once in all: a forked slot is not charged for the template's.
            own = next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:"))
    except (OSError, StopIteration):
        own = 0  # it ended while we looked
    return own + sum(resident_bytes(child) for child in children(pid))


def oom_kills() -> int:
    """How many processes the kernel has killed because our container, or control group, was out of memory; 0 if unknown."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):  # version 2 and 1
        try:
            with open(path) as file:
                return next(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
        except (OSError, StopIteration):
            continue  # the other version, or no such file system in the container
    return 0


def orphans(known: Iterable[int]) -> list[int]:
    """Processes that lost their parent and became ours: what dead jobs left behind."""
    expected = set(known)
    return [pid for pid in children(os.getpid()) if pid not in expected]


def end_orphans(known: Iterable[int]) -> bool:
    """Kill and reap them, with all below them; False while some are not gone yet."""
    found = orphans(known)
    for pid in found:
        kill_tree(pid)
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass  # reaped meanwhile
    return not found
