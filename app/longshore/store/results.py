"""Where results that are too large for a status are kept, and output of ended attempts: a port, and a folder behind it.

The folder is a volume that workers and the api share. Jobs run as the same user as their worker and could leave anything in
it: no symbolic link is ever followed, neither in reading nor in writing, and only plain files are read. Workers and the api
may run as different users of one group (a volume's ``fsGroup``): the group reads and removes what is kept, others see nothing.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from longshore.errors import SettingsError

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PROBE = ".probe"
GROUP_FOLDER, GROUP_FILE = 0o770, 0o640  # whatever the umask of the process


class Results(Protocol):
    """Files by name, as ``job.results`` makes names. Everything raises OSError when the volume does not do its part."""

    def put(self, name: str, data: bytes, *, durable: bool) -> None:
        """Keep it, whole or not at all; ``durable``: so that a power cut cannot take it any more."""
        ...

    def get(self, name: str, limit: int) -> bytes:
        """The file; FileNotFoundError when there is none, ValueError for what is no plain file of at most ``limit`` bytes."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of what is in a folder, without it; empty when there is none, or a link in its place."""
        ...

    def remove(self, folder: str) -> None:
        """A folder and all that is in it."""
        ...

    def probe(self) -> None:
        """Whether something can be kept now."""
        ...


class ResultsFolder:
    """A folder of a file system, as a rule a volume that several nodes have mounted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, data: bytes, *, durable: bool) -> None:
        *folders, file = name.split("/")
        with self._folder(folders, make=True) as folder:
            temporary = f".{secrets.token_hex(8)}"
            try:
                _write(temporary, data, folder, durable=durable)
                os.rename(temporary, file, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with suppress(OSError):  # what is left goes with the job
                    os.unlink(temporary, dir_fd=folder)
                raise
            if durable:
                os.fsync(folder)

    def get(self, name: str, limit: int) -> bytes:
        *folders, file = name.split("/")
        try:
            with self._folder(folders) as folder:
                # A pipe that a job has put there must not hold us up either.
                found = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
                raise ValueError("it is no plain file, or not in plain folders") from error
            raise
        if not stat.S_ISREG(os.fstat(found).st_mode):
            os.close(found)
            raise ValueError("it is no plain file, or not in plain folders")
        with os.fdopen(found, "rb") as opened:
            data = opened.read(limit + 1)
        if len(data) > limit:
            raise ValueError(f"it has more than {limit} bytes")
        return data

    def names(self, folder: str) -> list[str]:
        try:
            with self._folder([part for part in folder.split("/") if part]) as found:
                return os.listdir(found)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                return []
            raise

    def remove(self, folder: str) -> None:
        *above, last = folder.split("/")
        with suppress(FileNotFoundError), self._folder(above) as found:
            if stat.S_ISDIR(os.lstat(last, dir_fd=found).st_mode):
                try:
                    shutil.rmtree(last, dir_fd=found)  # follows no links
                except RecursionError as error:
                    raise OSError("folders are nested too deeply in it") from error
            else:
                os.unlink(last, dir_fd=found)

    def probe(self) -> None:
        with self._folder([]) as root:
            name = f"{PROBE}-{secrets.token_hex(4)}"
            try:
                _write(name, b"x" * 4096, root, durable=True)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=root)

    @contextmanager
    def _folder(self, parts: list[str], *, make: bool = False) -> Iterator[int]:
        """An open folder below the root, part by part, so that none of them can be a link."""
        here = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, GROUP_FOLDER, dir_fd=here)
                        os.fsync(here)
                below = os.open(part, FOLDER_FLAGS, dir_fd=here)
                if make:
                    _close_to_others(below)
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)


def _close_to_others(folder: int) -> None:
    """New folders get the mode that they should have; one that an older release left open is closed."""
    mode = stat.S_IMODE(os.fstat(folder).st_mode)
    if mode & 0o777 != GROUP_FOLDER:
        with suppress(OSError):  # another user of the group made it, or the volume knows no modes
            os.fchmod(folder, mode & ~0o777 | GROUP_FOLDER)


def _write(name: str, data: bytes, folder: int, *, durable: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, GROUP_FILE, dir_fd=folder), "wb") as file:
        with suppress(OSError):  # not every volume knows modes
            os.fchmod(file.fileno(), GROUP_FILE)
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def open_results(folder: Path | None) -> ResultsFolder | None:
    """The results directory of the settings; raises SettingsError when it is not there or takes nothing."""
    if folder is None:
        return None
    found = ResultsFolder(folder)
    try:
        found.probe()
    except OSError as error:
        raise SettingsError(f"results_dir: {folder} cannot be written to: {error.strerror or error}; it should be a folder "
                            "that all workers and the api share") from error  # fmt: skip
    return found
