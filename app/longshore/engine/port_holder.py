"""Who listens on a port that is taken: looked up in /proc, to name the process in the error."""

import contextlib
import os
from pathlib import Path

_LISTENING = "0A"  # TCP_LISTEN of the kernel's include/net/tcp_states.h


def port_holder(port: int) -> str:
    """``python3 (pid 123) listens there``; empty where the process cannot be seen, being another user's or another pod's."""
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _inodes(table, port)}
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _has(entry, inodes)]
    # A server and its children hold the same socket: the one to name, and to stop, is the first of them.
    first = next((pid for pid in sorted(pids) if _parent(pid) not in pids), None)
    return f"{_name(first)} (pid {first}) listens there" if first is not None else ""


def _inodes(table: str, port: int) -> list[str]:
    try:
        rows = [line.split() for line in Path("/proc/net", table).read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port]


def _has(process: Path, inodes: set[str]) -> bool:
    with contextlib.suppress(OSError):  # another user's, or gone meanwhile
        for fd in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(fd) in inodes:
                    return True
    return False


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return "a process"
