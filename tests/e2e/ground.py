"""What a node stands on: a folder, a network namespace, control groups. Nothing else of the machine is touched.

All of it is found again by a number, so that another process can clear away what a killed one has left.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

BASE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "longshore/node"
CGROUPS = Path("/sys/fs/cgroup")
BY_HAND, OF_TESTS = 0, range(1, 10)  # the number of `make cluster`, and those of test runs
END_SECONDS = 20.0  # a killed process is gone at once, unless the kernel waits for a disk


class Busy(RuntimeError):
    """All numbers are taken by other runs on this machine."""


class Ground:
    """By its number; ``make`` and ``clear`` are safe to call at any time by whoever holds the lock."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.folder = BASE / str(number)
        self.namespace = f"longshore-{number}"
        self.address, self.gateway = f"10.199.{number}.2", f"10.199.{number}.1"  # of the node, and of this machine
        self.pods = f"10.244.{number}.0/24"
        self.enter = ("nsenter", f"--net=/run/netns/{self.namespace}", "--")
        self._lock: IO[str] | None = None

    def lock(self) -> bool:
        """Whether nobody else has it; given back by ``unlock`` or the end of this process."""
        BASE.mkdir(parents=True, exist_ok=True)
        file = (BASE / f"{self.number}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._lock = file
        return True

    def unlock(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def make(self) -> None:
        """Clear what is there, and make it anew; CalledProcessError with what ``ip`` said when it cannot."""
        self.clear()
        self.folder.mkdir(parents=True)
        ours, theirs = f"longshore{self.number}", "node0"
        for words in (
            f"netns add {self.namespace}",
            f"link add {ours} type veth peer name {theirs} netns {self.namespace}",
            f"address add {self.gateway}/30 dev {ours}",
            f"link set {ours} up",
            f"-n {self.namespace} link set lo up",
            f"-n {self.namespace} address add {self.address}/30 dev {theirs}",
            f"-n {self.namespace} link set {theirs} up",
            # Without a route for everything, a Service's address would be unreachable from the node itself.
            f"-n {self.namespace} route add default via {self.gateway}",
        ):
            subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True)
        switches = ["net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1"]
        subprocess.run([*self.enter, "sysctl", "-qw", *switches], check=True, capture_output=True, text=True)
        for hierarchy in _hierarchies():
            (hierarchy / self.namespace).mkdir(exist_ok=True)

    def clear(self) -> None:
        """End every process in it, and remove it. RuntimeError when a process or a mount stays."""
        limit = time.monotonic() + END_SECONDS
        while pids := self.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # it was quicker
            if time.monotonic() > limit:
                raise RuntimeError(f"processes of {self.namespace} do not end: {sorted(pids)}")
            time.sleep(0.02)
        for mount in reversed(self._mounts()):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        if left := self._mounts():
            raise RuntimeError(f"mounts stay in {self.folder}: {left}")
        for hierarchy in _hierarchies():
            for group in sorted(_groups(hierarchy / self.namespace), reverse=True):
                group.rmdir()
        if Path(f"/run/netns/{self.namespace}").exists():
            subprocess.run(["ip", "netns", "delete", self.namespace], check=True, capture_output=True)
        # The kernel takes the pair away with the namespace, but later than `make` would like.
        subprocess.run(["ip", "link", "delete", f"longshore{self.number}"], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep_logs(self) -> None:
        """Beside the folder, for whoever wants to know why a test failed; the next run's replace them."""
        kept = BASE / f"{self.number}-logs"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for log in self.folder.glob("*.log"):
            shutil.copy(log, kept)

    def pids(self, container: str = "") -> set[int]:
        """Of the programs in the network namespace (containers' parents too) and all containers; or of one container."""
        pids: set[int] = set()
        if not container:
            found = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False)
            pids = {int(word) for word in found.stdout.split()}
        for hierarchy in _hierarchies():
            for group in _groups(hierarchy / self.namespace):
                if container in str(group):
                    pids |= _processes(group)
        return pids - {0}

    def _mounts(self) -> list[str]:
        """In the order in which they were made."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split()[4] for line in lines]
        return [point for point in points if point.startswith(f"{self.folder}/")]


def claim() -> Ground:
    """A free number for a test run; what killed runs have left on free numbers is cleared away. Busy without any."""
    mine: Ground | None = None
    for number in OF_TESTS:
        ground = Ground(number)
        if not ground.lock():
            continue
        if mine is None:
            mine = ground
        else:
            if ground.folder.exists():
                ground.clear()
            ground.unlock()
    if mine is None:
        raise Busy(f"{len(OF_TESTS)} nodes of other test runs are on this machine")
    return mine


def _hierarchies() -> Iterator[Path]:
    """The roots of the control groups: one of version 2, or one for each controller of version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        yield CGROUPS
        return
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        if words[words.index("-") + 1] in ("cgroup", "cgroup2") and words[4].startswith(f"{CGROUPS}/"):
            yield Path(words[4])


def _groups(root: Path) -> Iterator[Path]:
    """A control group and all below it; they come and go meanwhile."""
    for folder, _, _ in os.walk(root):
        yield Path(folder)


def _processes(group: Path) -> set[int]:
    """Of a control group; none when it is gone."""
    try:
        return {int(line) for line in (group / "cgroup.procs").read_text().split()}
    except OSError:
        return set()


def missing() -> str:
    """Why this machine cannot have a node, or nothing."""
    if os.name != "posix" or os.uname().sysname != "Linux":
        return "it needs Linux"
    if os.geteuid() != 0:
        return "it needs root: containers, network namespaces and control groups are made"
    programs = ("containerd", "ctr", "runc", "iptables", "ip", "nsenter", "sysctl", "conntrack")
    lacking = [name for name in programs if shutil.which(name) is None]
    if not Path("/usr/lib/cni/bridge").exists():
        lacking.append("/usr/lib/cni/bridge")
    if lacking:
        return f"{', '.join(lacking)} missing; `scripts/system-packages` installs them as root on Debian"
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        return "this root may not make network namespaces; a container needs to be privileged"
    return ""
