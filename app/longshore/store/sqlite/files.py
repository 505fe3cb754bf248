"""Where the database may lie and who may open it: checked before SQLite touches anything."""

import errno
import fcntl
import os
from pathlib import Path

from longshore.errors import StoreCorrupt, StoreLocked, StoreUnsupported

_MAGIC = b"SQLite format 3\0"
# File systems on which locks or fsync are not what SQLite needs (sqlite.org/faq.html#q5, sqlite.org/wal.html).
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs",
            "fuse.glusterfs", "fuse.s3fs", "fuse.rclone")  # fmt: skip


def mount_type(path: Path, mounts: str) -> str:
    """Type of the file system that holds ``path``, from the text of ``/proc/self/mountinfo``."""
    best, kind = "", ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].replace("\\040", " ")
        inside = point == "/" or str(path) == point or str(path).startswith(point + "/")
        if inside and len(point) >= len(best):
            best, kind = point, right.split(" ")[0]
    return kind


def refuse_network(path: Path) -> None:
    """Raise StoreUnsupported when the file would lie on a network file system."""
    mounts = Path("/proc/self/mountinfo").read_text()
    kind = mount_type(path.resolve(), mounts)
    if kind in _NETWORK:
        raise StoreUnsupported(
            f"{path} lies on a network file system ({kind}), where SQLite cannot keep its promises; "
            "set LONGSHORE_DATA_DIR to a local disk"
        )


def refuse_foreign(path: Path) -> None:
    """Raise StoreCorrupt when the file is there and is no SQLite database; reads 16 bytes, changes nothing."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreUnsupported(f"cannot read {path}: {error.strerror}") from error
    if head and head != _MAGIC:
        raise StoreCorrupt(
            f"{path} is no SQLite database; it was left untouched. Move it away or choose another LONGSHORE_DATA_DIR"
        )


class Lock:
    """Says that one engine owns the database; falls with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnsupported(f"cannot write to {path.parent}: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise StoreUnsupported(f"cannot lock {path}: {error.strerror}") from error
            raise StoreLocked(
                f"another engine (pid {holder or 'unknown'}) has {path.with_suffix('')} open; "
                "stop it, or choose another LONGSHORE_DATA_DIR"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give it back."""
        os.close(self._fd)
