"""A job's output as lines of the service's log: whole lines, whole letters, a bound in bytes."""

from collections.abc import Iterator

LINE_BYTES = 2048  # of one line; a longer one is told in pieces, so that a pipe takes each piece whole (PIPE_BUF)


class Echo:
    """Collects what an attempt prints, however it comes in pieces, until there is a line of it."""

    __slots__ = ("_half", "_room", "cut")

    def __init__(self, max_bytes: int) -> None:
        self._half = bytearray()
        self._room = max_bytes
        self.cut = False
        """Whether there was more than ``max_bytes``."""

    def add(self, data: bytes) -> list[bytes]:
        """The lines that are whole by now."""
        if self._room <= 0 and data:
            self.cut = True
            return []
        self.cut = len(data) > self._room
        data = data[: self._room]
        self._room -= len(data)
        *whole, rest = (bytes(self._half) + data).split(b"\n")
        self._half = bytearray(rest)
        lines = [piece for line in whole for piece in _pieces(_shown(line))]
        if len(self._half) > LINE_BYTES:
            *full, last = _pieces(bytes(self._half))
            lines += full
            self._half = bytearray(last)
        return lines

    def rest(self) -> list[bytes]:
        """What is left when the attempt is over: a line without an end."""
        half, self._half = bytes(self._half), bytearray()
        return list(_pieces(_shown(half))) if half else []


def _shown(line: bytes) -> bytes:
    """What a terminal would show of it in the end: a progress bar returns and writes over itself."""
    return line.removesuffix(b"\r").rpartition(b"\r")[2]


def _pieces(line: bytes) -> Iterator[bytes]:
    while len(line) > LINE_BYTES:
        at = LINE_BYTES
        while at > LINE_BYTES - 4 and line[at] & 0xC0 == 0x80:  # within a letter of several bytes
            at -= 1
        yield line[:at]
        line = line[at:]
    yield line
