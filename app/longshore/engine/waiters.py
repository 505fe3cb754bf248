"""Requests that wait for something to happen to a job: its end, a change, an event, more output."""

import math
import time
from collections.abc import Callable, Hashable

from longshore.engine.loop import Loop, Timer
from longshore.engine.rpc import Peer

# Deadlines are rounded up to tenths of a second and share a timer: thousands of short waits that were
# answered long ago must not each leave a timer behind.
BUCKETS_PER_SECOND = 10

Answer = Callable[[bool], None]


class _Waiter:
    __slots__ = ("answer", "bucket", "peer", "topic")

    def __init__(self, topic: Hashable, peer: Peer, bucket: int, answer: Answer) -> None:
        self.topic, self.peer, self.bucket, self.answer = topic, peer, bucket, answer


class Waiters:
    """Who waits for what. ``answer(expired)`` is called once: when the topic wakes, or at the deadline."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._topics: dict[Hashable, set[_Waiter]] = {}
        self._buckets: dict[int, tuple[Timer, set[_Waiter]]] = {}
        self._closed = False

    def __len__(self) -> int:
        return sum(len(waiters) for waiters in self._topics.values())

    def __contains__(self, topic: Hashable) -> bool:
        return topic in self._topics

    def park(self, topic: Hashable, peer: Peer, seconds: float, answer: Answer) -> None:
        """Call ``answer(False)`` when the topic wakes, ``answer(True)`` when the time is over, neither when the peer left.

        The time is over at once for a peer that waits no longer.
        """
        if self._closed or peer.hurried:
            answer(True)
            return
        bucket = math.ceil((time.monotonic() + seconds) * BUCKETS_PER_SECOND)
        waiter = _Waiter(topic, peer, bucket, answer)
        self._topics.setdefault(topic, set()).add(waiter)
        if bucket not in self._buckets:
            timer = self._loop.at(bucket / BUCKETS_PER_SECOND, lambda: self._expire(bucket))
            self._buckets[bucket] = (timer, set())
        self._buckets[bucket][1].add(waiter)
        peer.on_close = lambda: self._forget(waiter)
        peer.on_hurry = lambda: self._give_up(waiter)

    def wake(self, topic: Hashable) -> None:
        """The topic happened."""
        for waiter in list(self._topics.get(topic, ())):
            self._forget(waiter)
            waiter.answer(False)

    def wake_all(self) -> None:
        """Answer everybody with what is known: the engine is going away."""
        for topic in list(self._topics):
            for waiter in list(self._topics.get(topic, ())):
                self._forget(waiter)
                waiter.answer(True)

    def close(self) -> None:
        """Nobody waits from now on: what is known is the answer."""
        self._closed = True
        self.wake_all()

    def _expire(self, bucket: int) -> None:
        for waiter in list(self._buckets.get(bucket, (None, ()))[1]):
            self._give_up(waiter)

    def _give_up(self, waiter: _Waiter) -> None:
        self._forget(waiter)
        waiter.answer(True)

    def _forget(self, waiter: _Waiter) -> None:
        waiter.peer.on_close = waiter.peer.on_hurry = None
        topic = self._topics.get(waiter.topic)
        if topic is not None:
            topic.discard(waiter)
            if not topic:
                del self._topics[waiter.topic]
        entry = self._buckets.get(waiter.bucket)
        if entry is not None:
            entry[1].discard(waiter)
            if not entry[1]:
                entry[0].cancel()
                del self._buckets[waiter.bucket]
