"""A container without an engine: own mounts and PIDs, a root that is mounted read-only, uid 65532, no new rights."""

import os
import signal
import subprocess
from pathlib import Path

from images.archive import Archive

USER = 65532
# /tmp alone can be written. All mounts are in a namespace of their own and go away with its last process.
SETUP = """set -e
mount --bind "$ROOT" "$ROOT"
mount --bind "$WRITABLE" "$ROOT/tmp"
mount -t proc proc "$ROOT/proc"
mount -t tmpfs tmpfs "$ROOT/dev"
for device in null zero urandom; do touch "$ROOT/dev/$device"; mount --bind "/dev/$device" "$ROOT/dev/$device"; done
mkdir -m 1777 "$ROOT/dev/shm"
mount -t tmpfs tmpfs "$ROOT/dev/shm"
mount -o remount,bind,ro "$ROOT"
exec setpriv --no-new-privs chroot --userspec="$USER_ID:$USER_ID" --groups="$USER_ID" "$ROOT" /usr/bin/env -i "$@"
"""


class Container:
    """Runs programs of an image with its environment and folder; the network is that of the machine."""

    def __init__(self, archive: Archive, root: Path, writable: Path) -> None:
        self._archive, self._root, self.writable = archive, root, writable
        writable.mkdir()
        os.chown(writable, USER, USER)
        self._running: list[subprocess.Popen[bytes]] = []

    def _call(self, program: tuple[str, ...], settings: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        inner = self._archive.environment | settings
        line = [
            "unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", SETUP, "sh",
            f"--chdir={self._archive.config['WorkingDir']}", *(f"{key}={value}" for key, value in inner.items()), *program,
        ]  # fmt: skip
        return line, os.environ | {"ROOT": str(self._root), "WRITABLE": str(self.writable), "USER_ID": str(USER)}

    def run(self, *program: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end, a minute at most."""
        line, environment = self._call(program, settings)
        return subprocess.run(
            line, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        """Starts the entry point, as PID 1, with these arguments; what it says goes to `container.log` beside /tmp."""
        line, environment = self._call((*self._archive.config["Entrypoint"], *arguments), settings)
        with self.log.open("ab") as log:
            started = subprocess.Popen(line, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._running.append(started)
        return started

    @property
    def log(self) -> Path:
        """What the programs that were started have said."""
        return self.writable.with_suffix(".log")

    @staticmethod
    def terminate(started: subprocess.Popen[bytes]) -> int:
        """SIGTERM to PID 1, as a kubelet does, and its status; at most half a minute."""
        os.kill(_first(started), signal.SIGTERM)
        return started.wait(30)

    def end(self) -> None:
        """Ends what is still running; with PID 1 all its processes go, but not with `unshare`: it has changed its user since."""
        for started in self._running:
            if started.poll() is None:
                os.kill(_first(started), signal.SIGKILL)
                started.wait(30)


def _first(started: subprocess.Popen[bytes]) -> int:
    """PID 1 of the container, as we see it."""
    (first,) = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    return int(first)
