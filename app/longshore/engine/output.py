"""What attempts print: the first bytes and the latest, the rest only counted."""

from collections import deque

from longshore.engine.attempt import Output

CHUNK_BYTES = 256 * 1024


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

    def output(self) -> Output:
        """What is kept."""
        tail = b"".join(self._ring)
        if len(tail) > self._ring_limit:
            tail = tail[len(tail) - self._ring_limit :]
        return Output(bytes(self._head), tail, self.total)


def read(output: Output, offset: int, limit: int) -> tuple[bytes, int]:
    """At most ``limit`` bytes from ``offset`` and where they begin; later than asked when bytes were not kept.

    A negative offset counts from the end.
    """
    if offset < 0:
        offset = max(0, output.total + offset)
    head = len(output.head)
    if offset < head:
        return output.head[offset : offset + limit], offset
    start = output.total - len(output.tail)
    offset = min(max(offset, start), output.total)
    return output.tail[offset - start : offset - start + limit], offset


def chunk(output: Output, offset: int, *, complete: bool, number: int) -> dict[str, object]:
    """A piece of an attempt's output as it crosses the socket: the fields of ``store.port.LogChunk``."""
    data, start = read(output, offset, CHUNK_BYTES)
    asked = max(0, output.total + offset) if offset < 0 else min(offset, output.total)
    return {
        "data": data.decode("latin-1"), "offset": start, "next_offset": start + len(data),
        "complete": complete and start + len(data) >= output.total, "dropped": max(0, start - asked),
        "attempt": number,
    }  # fmt: skip


def last_text(output: Output, limit: int) -> str:
    """The last ``limit`` bytes as text, from the beginning of a line where there is one."""
    kept = output.tail if len(output.tail) >= limit else output.head + output.tail
    data = kept[-limit:]
    if len(kept) > limit and (line := data.find(b"\n")) >= 0:
        data = data[line + 1 :]
    return data.decode("utf-8", "replace")[-limit:]
