"""The waiting line of one queue: who is next, and what holds the others.

The rule, in this order:

1. **Priority with ageing.** Jobs of one priority form a level. The level whose oldest job has the smallest
   ``waiting since − priority × ageing`` comes first: a level gains one step for each ``ageing`` seconds that its
   oldest job waits, so nothing starves. Without ageing the higher priority always wins.
2. **Fairness.** Within a level the fairness keys take turns by weight (stride scheduling: Waldspurger & Weihl,
   "Stride Scheduling", 1995): a key that joins late starts at the present, it has no turns saved up. Between
   keys with equal turns the one whose oldest job waits longer goes first.
3. **Age.** Within a key the longest-waiting job is next; a retry keeps its old place.

A job whose concurrency key is full is set aside and costs nothing until an attempt of that key ends. All steps are
O(log n); removal is lazy. Limits are computed from the set of live attempts, never counted up and down.
"""

import heapq
import itertools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from longshore.job.limits import QueuePolicy, TokenBucket


@dataclass(slots=True, eq=False)
class Entry:
    """A waiting job. ``since`` is when it became able to run (its creation or startAfter)."""

    uid: str
    since: float
    priority: int = 0
    fairness_key: str = ""
    concurrency_key: str = ""
    not_before: float = 0.0
    place: str = ""
    """Where in the line it is: ready, delayed, key (set aside), held, or gone."""
    why: str = ""
    """What holds it, a word of ``waiting.Held``; only when held."""


_Item = tuple[float, int, Entry]
_tie = itertools.count()


class _Turns:
    """The jobs of one fairness key, oldest first."""

    __slots__ = ("heap", "rank", "used")

    def __init__(self) -> None:
        self.heap: list[_Item] = []
        self.used = 0.0
        self.rank: tuple[float, float, str] | None = None
        """Its valid entry in the order of the level: turns used, age of its head, key."""

    def head(self) -> Entry | None:
        while self.heap and self.heap[0][2].place != "ready":
            heapq.heappop(self.heap)
        return self.heap[0][2] if self.heap else None


class _Level:
    """The jobs of one priority."""

    __slots__ = ("_ages", "_keys", "_order", "_present", "listed", "priority")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.listed: tuple[float, float] | None = None
        self._ages: list[_Item] = []
        self._keys: dict[str, _Turns] = {}
        self._order: list[tuple[float, float, str]] = []
        self._present = 0.0

    def push(self, entry: Entry) -> None:
        item = (entry.since, next(_tie), entry)
        heapq.heappush(self._ages, item)
        key = entry.fairness_key
        turns = self._keys.get(key)
        if turns is None:
            turns = self._keys[key] = _Turns()
        heapq.heappush(turns.heap, item)
        if turns.rank is None:
            turns.used = max(turns.used, self._present)
        if turns.rank is None or entry.since < turns.rank[1]:
            turns.rank = (turns.used, entry.since, key)
            heapq.heappush(self._order, turns.rank)

    def oldest(self) -> float | None:
        while self._ages and self._ages[0][2].place != "ready":
            heapq.heappop(self._ages)
        return self._ages[0][0] if self._ages else None

    def head(self) -> Entry | None:
        """Whose turn it is; drops what is out of date in the order, and keys that have run dry."""
        while self._order:
            rank = self._order[0]
            turns = self._keys.get(rank[2])
            if turns is None or turns.rank != rank:
                heapq.heappop(self._order)
                continue
            entry = turns.head()
            if entry is None:
                heapq.heappop(self._order)
                self._dry(turns, rank[2])
            elif entry.since != rank[1]:
                turns.rank = (turns.used, entry.since, rank[2])
                heapq.heapreplace(self._order, turns.rank)
            else:
                return entry
        return None

    def _dry(self, turns: _Turns, key: str) -> None:
        turns.rank = None
        if turns.used <= self._present:
            del self._keys[key]

    def take(self, weight: float) -> None:
        """The head was taken: its key goes back in the order by its weight."""
        used, _, key = self._order[0]
        turns = self._keys[key]
        heapq.heappop(turns.heap)
        self._present = used
        turns.used = used + 1.0 / weight
        entry = turns.head()
        if entry is None:
            heapq.heappop(self._order)
            self._dry(turns, key)
        else:
            turns.rank = (turns.used, entry.since, key)
            heapq.heapreplace(self._order, turns.rank)

    def ready(self) -> Iterator[Entry]:
        """Everybody who could be taken, in no order."""
        return (entry for _, _, entry in self._ages if entry.place == "ready")


class Line:
    """One queue's waiting jobs and live attempts."""

    def __init__(self, policy: QueuePolicy, now: float) -> None:
        self._policy = policy
        self._entries: dict[str, Entry] = {}
        self._levels: dict[int, _Level] = {}
        self._order: list[tuple[float, float, int]] = []
        self._delayed: list[_Item] = []
        self._aside: dict[str, list[_Item]] = {}
        self._running: dict[str, set[Hashable]] = {}
        self._live: set[Hashable] = set()
        self._bucket = TokenBucket(policy.rate_limit, now) if policy.rate_limit else None

    # -- what there is ---------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, uid: str) -> bool:
        return uid in self._entries

    @property
    def policy(self) -> QueuePolicy:
        """How the queue treats its jobs."""
        return self._policy

    @property
    def running(self) -> int:
        """How many attempts of the queue are live."""
        return len(self._live)

    def entry(self, uid: str) -> Entry | None:
        """The waiting job of that identity."""
        return self._entries.get(uid)

    def depth(self, now: float) -> int:
        """How many could run now if there were room: delayed and held ones do not count."""
        self._wake(now)
        return sum(1 for entry in self._entries.values() if entry.place in ("ready", "key"))

    def oldest(self, now: float) -> float | None:
        """Since when the longest-waiting of those waits."""
        self._wake(now)
        found = [since for level in self._levels.values() if (since := level.oldest()) is not None]
        found += [item[0] for items in self._aside.values() for item in items if item[2].place == "key"]
        return min(found, default=None)

    def ready(self) -> Iterator[Entry]:
        """Everybody who could be taken, in no order."""
        return itertools.chain.from_iterable(level.ready() for level in self._levels.values())

    def entries(self) -> Iterator[Entry]:
        """Everybody in the line, whatever keeps them, in no order."""
        return iter(self._entries.values())

    def held(self, why: str) -> list[str]:
        """Who is held for that cause."""
        return [uid for uid, entry in self._entries.items() if entry.place == "held" and entry.why == why]

    # -- coming and going ------------------------------------------------------------------------------------

    def push(self, entry: Entry) -> None:
        """Join the line, or come back to it; a job is in it once."""
        self.remove(entry.uid)
        self._entries[entry.uid] = entry
        if entry.not_before:
            entry.place = "delayed"
            heapq.heappush(self._delayed, (entry.not_before, next(_tie), entry))
        else:
            self._ready(entry)

    def hold(self, entry: Entry, why: str) -> None:
        """Be in the line without being able to run; ``push`` the entry again when it can."""
        self.remove(entry.uid)
        self._entries[entry.uid] = entry
        entry.place, entry.why = "held", why

    def remove(self, uid: str) -> Entry | None:
        """Leave the line."""
        entry = self._entries.pop(uid, None)
        if entry is None:
            return None
        # The heaps still hold this very object; a fresh one takes its place should the job come back.
        entry.place = "gone"
        return Entry(entry.uid, entry.since, entry.priority, entry.fairness_key, entry.concurrency_key,
                     entry.not_before, why=entry.why)  # fmt: skip

    def _ready(self, entry: Entry) -> None:
        entry.place, entry.not_before = "ready", 0.0
        level = self._levels.get(entry.priority)
        if level is None:
            level = self._levels[entry.priority] = _Level(entry.priority)
        level.push(entry)
        self._list(level)

    def _wake(self, now: float) -> None:
        while self._delayed and (self._delayed[0][0] <= now or self._delayed[0][2].place != "delayed"):
            entry = heapq.heappop(self._delayed)[2]
            if entry.place == "delayed":
                self._ready(entry)

    # -- limits ----------------------------------------------------------------------------------------------

    def begin(self, attempt: Hashable, concurrency_key: str) -> None:
        """An attempt lives."""
        self._live.add(attempt)
        if concurrency_key:
            self._running.setdefault(concurrency_key, set()).add(attempt)

    def end(self, attempt: Hashable, concurrency_key: str) -> None:
        """An attempt is gone; harmless when it never was."""
        self._live.discard(attempt)
        sharing = self._running.get(concurrency_key)
        if sharing is None:
            return
        sharing.discard(attempt)
        if not sharing:
            del self._running[concurrency_key]
        self._readmit(concurrency_key)

    def key_running(self, concurrency_key: str) -> int:
        """How many live attempts share the key."""
        return len(self._running.get(concurrency_key, ()))

    def _key_full(self, concurrency_key: str) -> bool:
        limit = self._policy.key_concurrency
        return bool(concurrency_key) and limit is not None and self.key_running(concurrency_key) >= limit

    def _readmit(self, concurrency_key: str) -> None:
        waiting = self._aside.get(concurrency_key)
        while waiting and not self._key_full(concurrency_key):
            entry = heapq.heappop(waiting)[2]
            if entry.place == "key":
                self._ready(entry)
                return  # one place, one job; the next end brings the next
        if waiting is not None and not waiting:
            del self._aside[concurrency_key]

    def change(self, policy: QueuePolicy, now: float) -> None:
        """Another policy from now on; the line is built anew, which costs O(n log n)."""
        if policy.rate_limit != self._policy.rate_limit:
            self._bucket = TokenBucket(policy.rate_limit, now) if policy.rate_limit else None
        self._policy = policy
        waiting = [entry for entry in self._entries.values() if entry.place in ("ready", "key")]
        self._levels.clear()
        self._order.clear()
        self._aside.clear()
        for entry in sorted(waiting, key=lambda entry: entry.since):
            self._ready(entry)

    def restart_rate(self, now: float) -> None:
        """Nothing is saved up: whoever starts jobs from now on does not know what was started before."""
        if self._policy.rate_limit:
            self._bucket = TokenBucket(self._policy.rate_limit, now)

    def full(self) -> bool:
        """Whether the queue's concurrency is used up."""
        limit = self._policy.concurrency
        return limit is not None and len(self._live) >= limit

    def rate_ready_at(self, now: float) -> float:
        """When the rate lets the next job start: ``now`` or later."""
        return self._bucket.ready_at(now) if self._bucket else now

    # -- whose turn it is ------------------------------------------------------------------------------------

    def pop(self, now: float) -> Entry | None:
        """Take the next job that may start now out of the line."""
        entry = self.peek(now)
        if entry is None or (self._bucket and not self._bucket.take(now)):
            return None
        del self._entries[entry.uid]
        entry.place = "gone"
        weight = self._policy.fairness_weights.get(entry.fairness_key, 1.0)
        self._levels[entry.priority].take(weight)
        return entry

    def peek(self, now: float) -> Entry | None:
        """Who would be taken now."""
        if self._policy.paused or self.full():
            return None
        self._wake(now)
        while (entry := self._head()) is not None:
            if not self._key_full(entry.concurrency_key):
                return entry if self.rate_ready_at(now) <= now else None
            entry.place = "key"
            aside = self._aside.setdefault(entry.concurrency_key, [])
            heapq.heappush(aside, (entry.since, next(_tie), entry))
        return None

    def next_entry(self) -> Entry | None:
        """The head of the line, whatever limits keep it from starting."""
        return self._head()

    def next_wake(self, now: float) -> float | None:
        """When a job may become able to start by time alone; None when only something else can change that."""
        if self._policy.paused or self.full():
            return None
        self._wake(now)
        while self._delayed and self._delayed[0][2].place != "delayed":
            heapq.heappop(self._delayed)
        times = [self._delayed[0][0]] if self._delayed else []
        if self._bucket and self._head() is not None:
            times.append(self.rate_ready_at(now))
        return min(times, default=None)

    def _rank(self, level: _Level) -> tuple[float, float] | None:
        oldest = level.oldest()
        if oldest is None:
            return None
        ageing = self._policy.ageing_seconds
        return (-level.priority, oldest) if ageing is None else (oldest - level.priority * ageing, -level.priority)

    def _list(self, level: _Level) -> None:
        rank = self._rank(level)
        if rank is not None and (level.listed is None or rank < level.listed):
            level.listed = rank
            heapq.heappush(self._order, (*rank, level.priority))

    def _head(self) -> Entry | None:
        while self._order:
            *listed, priority = self._order[0]
            level = self._levels[priority]
            rank = self._rank(level)
            if level.listed != tuple(listed):
                heapq.heappop(self._order)  # listed again meanwhile, further in front
            elif rank is None:
                heapq.heappop(self._order)
                level.listed = None
            elif rank != level.listed:
                level.listed = rank
                heapq.heapreplace(self._order, (*rank, priority))
            else:
                return level.head()
        return None
