"""What attempts print: the first bytes and the latest, the rest only counted."""

from collections import deque

from longshore.job.output import Output


class Capture:
    """Output of one attempt, in bounded memory."""

    __slots__ = ("_head", "_head_limit", "_ring", "_ring_limit", "_ring_size", "total")

    def __init__(self, head_bytes: int, ring_bytes: int) -> None:
        self._head = bytearray()
        self._head_limit, self._ring_limit = head_bytes, ring_bytes
        self._ring: deque[bytes] = deque()
        self._ring_size = 0
        self.total = 0

    def add(self, data: bytes) -> None:
        """More output."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._ring.append(data)
            self._ring_size += len(data)
            while self._ring_size - len(self._ring[0]) >= self._ring_limit:
                self._ring_size -= len(self._ring.popleft())

    @property
    def mid_line(self) -> bool:
        """Whether the last line has not been ended."""
        last = self._ring[-1] if self._ring else self._head
        return bool(last) and not last.endswith(b"\n")

    def output(self) -> Output:
        """What is kept."""
        tail = b"".join(self._ring)
        if len(tail) > self._ring_limit:
            tail = tail[len(tail) - self._ring_limit :]
        return Output(bytes(self._head), tail, self.total)
