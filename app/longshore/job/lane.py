"""Who of several waiting jobs is next.

The rule, in this order:

1. **Priority with ageing.** Jobs of one priority form a level. The level whose oldest job has the smallest
   ``waiting since − priority × ageing`` comes first: a level gains one step for each ``ageing`` seconds that its
   oldest job waits, so nothing starves. Without ageing the higher priority always wins.
2. **Fairness.** Within a level the fairness keys take turns by weight (stride scheduling: Waldspurger & Weihl,
   "Stride Scheduling", 1995): a key that joins late starts at the present, it has no turns saved up. Between
   keys with equal turns the one whose oldest job waits longer goes first.
3. **Age.** Within a key the longest-waiting job is next; a retry keeps its old place.

Jobs that need the same room stand in one lane, so that those for which there is none can be passed over together; turns
are counted for all lanes of a line in one place. All steps are O(log n) and O(lanes). Removal is lazy: a job leaves by being
at another place, and what the heaps still hold of it is dropped when it comes up.
"""

import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

READY = "ready"
REMEMBERED_PRIORITIES = 64


@dataclass(slots=True, eq=False)
class Entry:
    """A waiting job. ``since`` is when it became able to run (its creation or startAfter)."""

    uid: str
    since: float
    priority: int = 0
    fairness_key: str = ""
    concurrency_key: str = ""
    not_before: float = 0.0
    lane: str = ""
    """What room it needs, such as a worker that knows its handler."""
    place: str = ""
    """Where in the line it is: ready, delayed, key (set aside), held, or gone."""
    why: str = ""
    """What holds it, a word of ``waiting.Held``; only when held."""
    many: bool = False
    """Whether it is an array job, which stands for as many attempts as its items."""


Item = tuple[float, int, Entry]
Rank = tuple[float, float, str]
"""Of a fairness key in its level: turns used, age of its head, key."""
tie = itertools.count()


class Turns:
    """What the fairness keys of one priority have used, in all lanes."""

    __slots__ = ("_used", "levels", "present")

    def __init__(self) -> None:
        self._used: dict[str, float] = {}
        self.present = 0.0
        self.levels = 0
        """Lanes in which somebody of the priority waits."""

    def used(self, key: str) -> float:
        """Turns of a key; one that has none on record starts at the present."""
        return self._used.get(key, self.present)

    def joined(self, key: str) -> None:
        """It waits again, and has saved nothing up meanwhile."""
        if key in self._used:
            self._used[key] = max(self._used[key], self.present)

    def took(self, key: str, used: float, weight: float) -> None:
        """It had a turn, when it had used so many."""
        self.present = max(self.present, used)
        self._used[key] = used + 1.0 / weight

    def dry(self, key: str) -> None:
        """Nobody of it waits in some lane; what is not ahead of the present need not be remembered."""
        if self._used.get(key, 0.0) <= self.present:
            self._used.pop(key, None)


class _Key:
    """The jobs of one fairness key, oldest first."""

    __slots__ = ("heap", "rank")

    def __init__(self) -> None:
        self.heap: list[Item] = []
        self.rank: Rank | None = None
        """Its valid entry in the order of the level."""

    def head(self) -> Entry | None:
        while self.heap and self.heap[0][2].place != READY:
            heapq.heappop(self.heap)
        return self.heap[0][2] if self.heap else None


class _Level:
    """The jobs of one priority in a lane."""

    __slots__ = ("_ages", "_keys", "_order", "_turns", "listed", "priority")

    def __init__(self, priority: int, turns: Turns) -> None:
        self.priority, self._turns = priority, turns
        self.listed: tuple[float, float] | None = None
        self._ages: list[Item] = []
        self._keys: dict[str, _Key] = {}
        self._order: list[Rank] = []

    def push(self, entry: Entry) -> None:
        item = (entry.since, next(tie), entry)
        heapq.heappush(self._ages, item)
        name = entry.fairness_key
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = _Key()
        heapq.heappush(key.heap, item)
        if key.rank is None:
            self._turns.joined(name)
        if key.rank is None or entry.since < key.rank[1]:
            key.rank = (self._turns.used(name), entry.since, name)
            heapq.heappush(self._order, key.rank)

    def oldest(self) -> float | None:
        while self._ages and self._ages[0][2].place != READY:
            heapq.heappop(self._ages)
        return self._ages[0][0] if self._ages else None

    def head(self) -> tuple[Rank, Entry] | None:
        """Whose turn it is; drops what is out of date in the order, and keys that have run dry."""
        while self._order:
            rank = self._order[0]
            key = self._keys.get(rank[2])
            if key is None or key.rank != rank:
                heapq.heappop(self._order)
                continue
            entry = key.head()
            if entry is None:
                heapq.heappop(self._order)
                self._dry(rank[2])
            elif (now := (self._turns.used(rank[2]), entry.since, rank[2])) != rank:
                key.rank = now
                heapq.heapreplace(self._order, now)
            else:
                return rank, entry
        return None

    def _dry(self, name: str) -> None:
        del self._keys[name]
        self._turns.dry(name)

    def take(self, weight: float) -> None:
        """The head was taken: its key goes back in the order by its weight."""
        used, _, name = self._order[0]
        key = self._keys[name]
        heapq.heappop(key.heap)
        self._turns.took(name, used, weight)
        entry = key.head()
        if entry is None:
            heapq.heappop(self._order)
            self._dry(name)
        else:
            key.rank = (self._turns.used(name), entry.since, name)
            heapq.heapreplace(self._order, key.rank)

    def entries(self) -> Iterator[Entry]:
        return (entry for _, _, entry in self._ages if entry.place == READY)


class Lane:
    """Jobs that need the same room; ``turns`` by priority is shared with the other lanes of the line."""

    __slots__ = ("_ageing", "_levels", "_order", "_swept_at", "_turns")

    def __init__(self, ageing_seconds: float | None, turns: dict[int, Turns]) -> None:
        self._ageing, self._turns = ageing_seconds, turns
        self._levels: dict[int, _Level] = {}
        self._order: list[tuple[float, float, int]] = []
        self._swept_at = REMEMBERED_PRIORITIES

    def push(self, entry: Entry) -> None:
        """One more waits."""
        entry.place = READY
        level = self._levels.get(entry.priority)
        if level is None:
            self._sweep()
            turns = self._turns.setdefault(entry.priority, Turns())
            turns.levels += 1
            level = self._levels[entry.priority] = _Level(entry.priority, turns)
        level.push(entry)
        rank = self._rank(level)
        if rank is not None and (level.listed is None or rank < level.listed):
            level.listed = rank
            heapq.heappush(self._order, (*rank, level.priority))

    def take(self, entry: Entry, weight: float) -> None:
        """The first has been taken, and it is this one."""
        entry.place = "gone"
        self._levels[entry.priority].take(weight)

    def _sweep(self) -> None:
        """Drop levels in which nobody waits, once there are twice as many as when this was done last."""
        if len(self._levels) < self._swept_at:
            return
        for priority in [priority for priority, level in self._levels.items() if level.oldest() is None]:
            self._drop(priority)
        self._swept_at = max(REMEMBERED_PRIORITIES, 2 * len(self._levels))

    def _drop(self, priority: int) -> None:
        """Nobody of that priority waits here any more; priorities are any number, so those of the past are not kept."""
        del self._levels[priority]
        turns = self._turns[priority]
        turns.levels -= 1
        # Who is ahead of the others is remembered for the priorities that are usual.
        if not turns.levels and len(self._turns) > REMEMBERED_PRIORITIES:
            del self._turns[priority]

    def entries(self) -> Iterator[Entry]:
        """Everybody in it, in no order."""
        return itertools.chain.from_iterable(level.entries() for level in self._levels.values())

    def top(self) -> tuple[float, float, int] | None:
        """The rank of its first level, and its priority."""
        while self._order:
            *listed, priority = self._order[0]
            level = self._levels.get(priority)
            if level is None:
                heapq.heappop(self._order)  # nobody of it is left
                continue
            rank = self._rank(level)
            if level.listed != tuple(listed):
                heapq.heappop(self._order)  # listed again meanwhile, further in front
            elif rank is None:
                heapq.heappop(self._order)
                self._drop(priority)
            elif rank != level.listed:
                level.listed = rank
                heapq.heapreplace(self._order, (*rank, priority))
            else:
                return self._order[0]
        return None

    def head(self, priority: int) -> tuple[Rank, Entry] | None:
        """The first of a level."""
        level = self._levels.get(priority)
        return level.head() if level is not None else None

    def _rank(self, level: _Level) -> tuple[float, float] | None:
        oldest = level.oldest()
        if oldest is None:
            return None
        ageing = self._ageing
        return (-level.priority, oldest) if ageing is None else (oldest - level.priority * ageing, -level.priority)


def first(lanes: Iterable[Lane]) -> Entry | None:
    """Who is next of all of them."""
    lanes = list(lanes)
    tops = [top for lane in lanes if (top := lane.top()) is not None]
    if not tops:
        return None
    priority = min(tops)[2]
    heads = [head for lane in lanes if (head := lane.head(priority)) is not None]
    return min(heads, key=lambda head: head[0])[1]
