"""Where the database may lie and who may open it: checked before SQLite touches anything."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from longshore.errors import StoreCorrupt, StoreLocked, StoreUnsupported

OWNER_FOLDER, OWNER_FILE = 0o700, 0o600  # jobs' arguments and results are nobody else's business
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


def create_private(path: Path) -> None:
    """Create an empty file that its owner alone can open; nothing happens when the file is there.

    SQLite gives its log and its index the mode of the database file, so all three are closed from their first byte.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_FILE)
    except FileExistsError:
        return
    except OSError as error:
        raise StoreUnsupported(f"cannot write to {path.parent}: {error.strerror}") from error
    os.fchmod(fd, OWNER_FILE)  # the umask may have taken more than it should
    os.close(fd)


def close_to_others(database: Path) -> str:
    """Take the rights of group and others from the database's files and its folder, which older releases left open.

    Returns a sentence that says what is still open and what to do; empty when nothing is.
    """
    for path in (database, *(database.with_name(database.name + end) for end in ("-wal", "-shm"))):
        try:
            os.chmod(path, OWNER_FILE)
        except FileNotFoundError:
            pass  # a log and its index are there only while they are needed
        except OSError as error:
            return f"others may be able to read {path}, and its mode cannot be changed: {error.strerror}"
    return _close_folder(database.parent)


def _close_folder(folder: Path) -> str:
    found = folder.stat()
    if not found.st_mode & 0o077:
        return ""
    sentence = f"others can look into {folder} (mode {found.st_mode & 0o7777:04o}; the files in it are closed to them)"
    here = folder.resolve()
    people = (Path.cwd(), Path(os.path.expanduser("~")))
    if found.st_mode & 0o1000 or any(place.is_relative_to(here) for place in people):
        return f"{sentence}; set LONGSHORE_DATA_DIR to a folder that is Longshore's alone"
    try:
        os.chmod(folder, OWNER_FOLDER)
    except OSError:
        return f"{sentence}; its owner can run chmod 700 on it"
    return ""


class Lock:
    """Says that one engine owns the database; falls with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                path.parent.mkdir(mode=OWNER_FOLDER)
                os.chmod(path.parent, OWNER_FOLDER)  # the umask may have taken more than it should
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, OWNER_FILE)
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
        with contextlib.suppress(OSError):  # another user's file; it holds a process id alone
            os.fchmod(self._fd, OWNER_FILE)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give it back."""
        os.close(self._fd)
