"""What an attempt printed, as far as it is kept, and pieces of it."""

from dataclasses import dataclass

from longshore.errors import InvalidRequest, NotFound

CHUNK_BYTES = 256 * 1024  # of one answer


@dataclass(frozen=True, slots=True)
class Output:
    """What an attempt printed: the first bytes and the last, and how many there were."""

    head: bytes = b""
    tail: bytes = b""
    """Begins at byte ``total - len(tail)``; empty while everything fits the head."""
    total: int = 0

    @property
    def dropped(self) -> int:
        """Bytes between head and tail that were not kept."""
        return self.total - len(self.head) - len(self.tail)


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


def packed(output: Output) -> bytes:
    """As a file: how many bytes of the beginning are kept and how many there were, in a line; then what is kept."""
    return b"%d %d\n" % (len(output.head), output.total) + output.head + output.tail


def unpacked(data: bytes) -> Output:
    """What ``packed`` wrote; raises ValueError for anything else."""
    line, _, kept = data.partition(b"\n")
    head, total = map(int, line.split())
    output = Output(kept[:head], kept[head:], total)
    if head < 0 or output.dropped < 0:
        raise ValueError("the sizes of this output do not fit together")
    return output


def last_text(output: Output, limit: int) -> str:
    """The last ``limit`` bytes as text, from the beginning of a line where there is one."""
    kept = output.tail if len(output.tail) >= limit else output.head + output.tail
    data = kept[-limit:]
    if len(kept) > limit and (line := data.find(b"\n")) >= 0:
        data = data[line + 1 :]
    return data.decode("utf-8", "replace")[-limit:]


def check_asked(id: str, *, size: int, index: int | None, number: int | None, attempts: int | None,
                together: bool = False) -> None:  # fmt: skip
    """Raise NotFound when an item or an attempt is asked for that never was.

    ``size`` is the number of items, 0 for a job that is no array. ``attempts`` is how many attempts the job, or that item,
    has had so far, with ``together`` all items of an array; None when that is not known. An array of which no item is named raises InvalidRequest.
    """
    if size and index is None:
        raise _item_unnamed(id, size)
    if index is not None and index >= size:
        there = f"its items are 0 to {size - 1}" if size else "it is no array"
        raise NotFound(f"job {id} has no item {index}; {there}")
    if number is not None and attempts is not None and number > attempts:
        whose = f"job {id}" if index is None else f"item {index} of job {id}"
        of = " of all its items" if index is not None and together else ""
        raise NotFound(f"{whose} has had no attempt {number}; there were {attempts}{of} so far")


def _item_unnamed(id: str, size: int) -> InvalidRequest:
    """What is asked for is of an item, and the job is an array of several."""
    detail = f"job {id} is an array of {size} items, each with output of its own; name one of them, 0 to {size - 1}"
    return InvalidRequest(f"index: {detail}", errors=[{"parameter": "index", "detail": detail}])
