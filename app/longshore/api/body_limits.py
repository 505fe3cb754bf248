"""What a body may cost before it is parsed: bytes and values, by kind.

JSON that is read takes many times its bytes: ``[[],[],…]`` sixty times, objects with one field thirty times. So the values
of a body are counted before, by the commas and brackets in it. That counts those inside of texts too, and the limits leave
room for it.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from longshore.errors import RequestError, Unavailable

MIB = 1024 * 1024
LARGE_SECONDS = 5.0  # how long a large body waits for the one before it


class TooLarge(RequestError):
    """The body is larger than this kind of request may have."""

    code = "too-large"
    status = 413


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """Of one kind of body."""

    kind: str
    """What it holds, for the refusal."""
    max_bytes: int
    max_values: int
    """Members of lists and objects."""
    max_containers: int
    """Lists and objects; each takes 60 to 230 bytes of memory."""

    def check_size(self, size: int) -> None:
        """Raises TooLarge for more bytes."""
        if size > self.max_bytes:
            raise TooLarge(f"the body has {size} bytes; {self.kind} may have {self.max_bytes}")

    def check_values(self, data: bytes) -> None:
        """Raises TooLarge for more values than may be read."""
        containers = data.count(b"[") + data.count(b"{")
        values = containers + data.count(b",")
        if containers > self.max_containers or values > self.max_values:
            raise TooLarge(
                f"the body has some {values} values, {containers} of them lists and objects; {self.kind} may have "
                f"{self.max_values} and {self.max_containers}"
            )


ONE = BodyLimit("a request about one thing", MIB, 250_000, 50_000)
"""A job, a manifest, a verb, a policy of a queue. The largest job has 10,000 items in 512 KiB."""


def many(max_bytes: int) -> BodyLimit:
    """A batch of jobs, or of attempts for a worker."""
    return BodyLimit("a batch", max_bytes, 1_000_000, 300_000)


_large = threading.BoundedSemaphore(1)


@contextlib.contextmanager
def one_large_at_a_time(size: int) -> Iterator[None]:
    """Room for what reading a large body takes; raises Unavailable when another one takes it for too long."""
    if size <= MIB:
        yield
        return
    if not _large.acquire(timeout=LARGE_SECONDS):
        raise Unavailable("another large batch is being read; come again in a moment", retry_after=1)
    try:
        yield
    finally:
        _large.release()
