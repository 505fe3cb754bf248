"""The waiting line of one queue: who is next, and what holds the others.

Whose turn it is, ``lane`` says. A job whose concurrency key is full is set aside and costs nothing until an attempt of that
key ends. Limits are computed from the set of live attempts, never counted up and down.
"""

import heapq
from collections.abc import Collection, Hashable, Iterator

from longshore.job.lane import READY, Entry, Item, Lane, Turns, first, tie
from longshore.job.limits import QueuePolicy, TokenBucket

_COUNTED = (READY, "key")


class Line:
    """One queue's waiting jobs and live attempts."""

    def __init__(self, policy: QueuePolicy, now: float) -> None:
        self._policy = policy
        self._entries: dict[str, Entry] = {}
        self._lanes: dict[str, Lane] = {}
        self._turns: dict[int, Turns] = {}
        self._delayed: list[Item] = []
        self._depth = 0
        self._ages: list[Item] = []
        """All who count for ``depth``, and some who did, as a heap: status and metrics ask for the oldest, whatever waits."""
        self._aside: dict[str, list[Item]] = {}
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
        return self._depth

    def oldest(self, now: float) -> float | None:
        """Since when the longest-waiting of those waits."""
        self._wake(now)
        while self._ages and not _waits(self._ages[0]):
            heapq.heappop(self._ages)
        return self._ages[0][0] if self._ages else None

    def beside(self, entry: Entry) -> Iterator[Entry]:
        """Everybody in its lane who could be taken, in no order."""
        lane = self._lanes.get(entry.lane)
        return lane.entries() if lane is not None else iter(())

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
            heapq.heappush(self._delayed, (entry.not_before, next(tie), entry))
        else:
            self._join(entry)

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
        self._depth -= entry.place in _COUNTED
        # The heaps still hold this very object; a fresh one takes its place should the job come back.
        entry.place = "gone"
        return Entry(entry.uid, entry.since, entry.priority, entry.fairness_key, entry.concurrency_key,
                     entry.not_before, entry.lane, why=entry.why, many=entry.many)  # fmt: skip

    def _join(self, entry: Entry) -> None:
        self._ready(entry)
        self._depth += 1
        if len(self._ages) > 2 * self._depth + 64:  # most of it is of the past
            self._ages = [item for item in self._ages if _waits(item)]
            heapq.heapify(self._ages)
        heapq.heappush(self._ages, (entry.since, next(tie), entry))

    def _ready(self, entry: Entry) -> None:
        entry.not_before = 0.0
        lane = self._lanes.get(entry.lane)
        if lane is None:
            lane = self._lanes[entry.lane] = Lane(self._policy.ageing_seconds, self._turns)
        lane.push(entry)

    def _wake(self, now: float) -> None:
        while self._delayed and (self._delayed[0][0] <= now or self._delayed[0][2].place != "delayed"):
            entry = heapq.heappop(self._delayed)[2]
            if entry.place == "delayed":
                self._join(entry)

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
        waiting = [entry for entry in self._entries.values() if entry.place in (READY, "key")]
        self._lanes.clear()
        self._turns.clear()
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

    def pop(self, now: float, without: Collection[str] = ()) -> Entry | None:
        """Take the next job that may start now out of the line; lanes ``without`` room are passed over."""
        entry = self.peek(now, without)
        if entry is None or (self._bucket and not self._bucket.take(now)):
            return None
        del self._entries[entry.uid]
        self._depth -= 1
        weight = self._policy.fairness_weights.get(entry.fairness_key, 1.0)
        self._lanes[entry.lane].take(entry, weight)
        return entry

    def peek(self, now: float, without: Collection[str] = ()) -> Entry | None:
        """Who would be taken now."""
        if self._policy.paused or self.full():
            return None
        self._wake(now)
        while (entry := self._first(without)) is not None:
            if not self._key_full(entry.concurrency_key):
                return entry if self.rate_ready_at(now) <= now else None
            entry.place = "key"
            aside = self._aside.setdefault(entry.concurrency_key, [])
            heapq.heappush(aside, (entry.since, next(tie), entry))
        return None

    def _first(self, without: Collection[str]) -> Entry | None:
        lanes = self._lanes
        return first(lanes.values() if not without else (lane for name, lane in lanes.items() if name not in without))

    @property
    def lanes(self) -> tuple[str, ...]:
        """Those in which somebody may stand."""
        return tuple(self._lanes)

    def next_in(self, lane: str) -> Entry | None:
        """The first of a lane, whatever limits keep it from starting."""
        found = self._lanes.get(lane)
        return first((found,)) if found is not None else None

    def next_wake(self, now: float, without: Collection[str] = ()) -> float | None:
        """When a job may become able to start by time alone; None when only something else can change that."""
        if self._policy.paused or self.full():
            return None
        self._wake(now)
        while self._delayed and self._delayed[0][2].place != "delayed":
            heapq.heappop(self._delayed)
        times = [self._delayed[0][0]] if self._delayed else []
        if self._bucket and self._first(without) is not None:
            times.append(self.rate_ready_at(now))
        return min(times, default=None)


def _waits(item: Item) -> bool:
    since, _, entry = item
    return entry.place in _COUNTED and entry.since == since
