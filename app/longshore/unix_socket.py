"""Addresses of sockets in the file system, which the kernel limits to 107 bytes, however long the path of a folder is."""

import contextlib
import os
from collections.abc import Iterator

LONGEST = 107  # bytes: sizeof(sun_path) in unix(7), less the zero byte at the end


@contextlib.contextmanager
def short_address(path: str | os.PathLike[str]) -> Iterator[str]:
    """An address to bind or connect to while the block lasts; of a long path it leads through a descriptor of its folder."""
    text = os.fspath(path)
    if len(os.fsencode(text)) <= LONGEST:
        yield text
        return
    folder, name = os.path.split(text)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
