"""Array jobs: which items wait, run and have ended, and index sets as people write them (``0-97,99``)."""

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from longshore.job.lifecycle import Course, Verdict
from longshore.job.status import MAX_ITEM_ERRORS, ItemError, ItemsStatus, JobError, Phase, Progress, Reason

UNKEPT = "the worker has no results directory"


class IndexSet:
    """A set of small integers kept as sorted ranges: compact when indexes come close to order."""

    __slots__ = ("_ends", "_starts", "size")

    def __init__(self, indexes: Iterable[int] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []  # inclusive
        self.size = 0
        for index in indexes:
            self.add(index)

    def __len__(self) -> int:
        return self.size

    def __contains__(self, index: object) -> bool:
        if not isinstance(index, int):
            return False
        at = bisect_right(self._starts, index) - 1
        return at >= 0 and index <= self._ends[at]

    def __iter__(self) -> Iterator[int]:
        for start, end in zip(self._starts, self._ends, strict=True):
            yield from range(start, end + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IndexSet) and (self._starts, self._ends) == (other._starts, other._ends)

    __hash__ = None  # type: ignore[assignment]  # mutable, like set

    def add(self, index: int) -> bool:
        """Put one in; False when it was there. O(log n) to find, and ranges melt together."""
        at = bisect_right(self._starts, index)
        if at and index <= self._ends[at - 1]:
            return False
        joins_left = at > 0 and self._ends[at - 1] == index - 1
        joins_right = at < len(self._starts) and self._starts[at] == index + 1
        if joins_left and joins_right:
            self._ends[at - 1] = self._ends[at]
            del self._starts[at], self._ends[at]
        elif joins_left:
            self._ends[at - 1] = index
        elif joins_right:
            self._starts[at] = index
        else:
            self._starts.insert(at, index)
            self._ends.insert(at, index)
        self.size += 1
        return True

    def __str__(self) -> str:
        pairs = zip(self._starts, self._ends, strict=True)
        return ",".join(str(start) if start == end else f"{start}-{end}" for start, end in pairs)

    @classmethod
    def parse(cls, text: str) -> "IndexSet":
        """Read what ``str`` wrote; raises ValueError for anything else."""
        found = cls()
        for part in filter(None, text.split(",")):
            first, dash, last = part.partition("-")
            start = int(first)
            end = int(last) if dash else start
            if start < 0 or end < start or (found._ends and start <= found._ends[-1] + 1):
                raise ValueError(f"{text!r} is no index set")
            found._starts.append(start)
            found._ends.append(end)
            found.size += end - start + 1
        return found


def array_size(spec: Mapping[str, object]) -> int:
    """How many items the array job with that (stored) specification has; 0 when it is no array."""
    items = spec.get("items")
    if isinstance(items, list):
        return len(items)
    count = spec.get("count")
    return count if isinstance(count, int) else 0


def array_progress(ended: int, size: int) -> Progress:
    """Progress of an array of ``size`` items, of which so many have ended."""
    return Progress(percent=round(100 * ended / size, 2), message=f"{ended} of {size} items have ended")


class ArrayState:
    """The items of one array job. Never-started items are a number, not a list: 10,000 cost nothing."""

    __slots__ = (
        "_again",
        "_due",
        "_errors",
        "_fresh",
        "failed",
        "parallelism",
        "running",
        "size",
        "succeeded",
        "unkept",
    )

    def __init__(self, size: int, parallelism: int | None) -> None:
        self.size = size
        self.parallelism = parallelism or size
        self.succeeded = IndexSet()
        self.failed = IndexSet()
        self.unkept = IndexSet()
        """Of those that succeeded: what they returned could not be kept."""
        self.running: set[int] = set()
        self._fresh = 0
        self._again: dict[int, float] = {}
        self._due: list[tuple[float, int]] = []
        self._errors: deque[ItemError] = deque(maxlen=MAX_ITEM_ERRORS)

    def next_index(self, now: float) -> int | None:
        """The item to start now, or None: all started, too many running, or waiting for their back-off."""
        if len(self.running) >= self.parallelism:
            return None
        if (first := self._first_again()) is not None and first[0] <= now:
            return first[1]
        while self._fresh < self.size and self._touched(self._fresh):
            self._fresh += 1
        return self._fresh if self._fresh < self.size else None

    def next_wake(self) -> float | None:
        """When the earliest item that waits for its back-off may start."""
        if len(self.running) >= self.parallelism:
            return None
        first = self._first_again()
        return first[0] if first else None

    def wake(self, now: float) -> float | None:
        """When an item may start by time alone: ``now``, the end of a back-off, or None."""
        return now if self.next_index(now) is not None else self.next_wake()

    def _first_again(self) -> tuple[float, int] | None:
        while self._due and self._again.get(self._due[0][1]) != self._due[0][0]:
            heapq.heappop(self._due)
        return self._due[0] if self._due else None

    def _touched(self, index: int) -> bool:
        return index in self.running or index in self._again or index in self.succeeded or index in self.failed

    def begin(self, index: int) -> None:
        """An attempt of the item lives."""
        self._again.pop(index, None)
        self.running.add(index)

    def again(self, index: int, not_before: float) -> None:
        """The item waits for another attempt."""
        self.running.discard(index)
        self._again[index] = not_before
        heapq.heappush(self._due, (not_before, index))

    def succeed(self, index: int) -> None:
        """The item ended well."""
        self.running.discard(index)
        self.succeeded.add(index)

    def fail(self, index: int, error: JobError) -> None:
        """The item ended badly."""
        self.running.discard(index)
        self.failed.add(index)
        self._errors.append(ItemError(index=index, error=error))

    def settle(self, index: int, verdict: Verdict, error_type: str, message: str) -> JobError | None:
        """An attempt of the item ended, and that follows; returns what was wrong, None when it ended well."""
        phase = verdict.course.phase
        if phase is Phase.SUCCEEDED:
            self.succeed(index)
            return None
        error = JobError(type=error_type or verdict.reason or "Error", message=message[:1024])
        if phase is Phase.FAILED:
            self.fail(index, error)
        elif phase is Phase.PENDING:
            self.again(index, verdict.not_before or 0.0)
        else:
            self.running.discard(index)
        return error

    def verdict(self, course: Course) -> Verdict:
        """What became of the whole array, whose course that is; the same course while it goes on."""
        if course.cancel and not self.running:
            return Verdict(replace(course, phase=Phase.CANCELLED), Reason.CANCELLED, "cancelled while it ran")
        if not self.ended:
            return Verdict(course)
        texts = [f"{len(self.failed)} of {self.size} items failed"] if self.failed else []
        if self.unkept:
            texts.append(f"results of {len(self.unkept)} of {self.size} items were not kept: {UNKEPT}")
        phase, reason = (Phase.FAILED, Reason.ITEMS_FAILED) if self.failed else (Phase.SUCCEEDED, "")
        return Verdict(replace(course, phase=phase), reason, "; ".join(texts))

    def reopen_failed(self) -> list[int]:
        """A redrive: failed items wait again, succeeded ones stay as they are. Returns which."""
        indexes = list(self.failed)
        self.failed = IndexSet()
        self._errors.clear()
        for index in indexes:
            self.again(index, 0.0)
        return indexes

    @property
    def ended(self) -> bool:
        """Whether every item has ended."""
        return self.succeeded.size + self.failed.size == self.size

    def progress(self) -> Progress:
        """How far the whole array is: items that have ended, whatever single attempts say of themselves."""
        return array_progress(self.succeeded.size + self.failed.size, self.size)

    def status(self) -> ItemsStatus:
        """As it is published."""
        return ItemsStatus(
            succeeded=self.succeeded.size, failed=self.failed.size, running=len(self.running),
            succeeded_indexes=str(self.succeeded), failed_indexes=str(self.failed),
            unkept_indexes=str(self.unkept), errors=tuple(self._errors),
        )  # fmt: skip

    def restore(self, status: ItemsStatus) -> None:
        """Take over what was published before a restart; whatever ran then waits again."""
        self.succeeded = IndexSet.parse(status.succeeded_indexes)
        self.failed = IndexSet.parse(status.failed_indexes)
        self.unkept = IndexSet.parse(status.unkept_indexes)
        self._errors.extend(status.errors)
