"""What this process has counted and nobody else knows yet, and when it is sent.

A change is ``[name, [label values], data]``: data is the amount for a counter, ``[whether it was set, number]`` for a
gauge, ``[sum, [observations per bucket]]`` for a histogram, and null for a number that was not finite.

Counting only adds to a dictionary. A slot sends what has gathered with the end of each job, and in the middle of one
when something is counted a second or more after the last sending; a gauge does not wait so long. So a slot that is killed
loses what it counted within one second. An api process is asked by the scrape, see ``api/app_metrics.py``.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import Final

import orjson

SECONDS: Final = 1.0
GAUGE_SECONDS: Final = 0.2
MOST: Final = 1000  # sets of label values that gather before they are sent
FRAME_BYTES: Final = 32 * 1024  # far below what a slot may say at any time, see ``engine.reports``

Key = tuple[str, tuple[str, ...]]
Change = list[object]


class Changes:
    """The unsent counts of one process. Threads and signal handlers may count at any time."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: a fork has the counts of its parent, which sends them itself."""
        # A signal handler may count while the code that it interrupts does.
        self._lock = threading.RLock()
        self._amounts: dict[Key, float] = {}
        self._gauges: dict[Key, tuple[bool, float]] = {}
        self._histograms: dict[Key, tuple[float, list[int]]] = {}
        self._odd: set[Key] = set()
        self._send: Callable[[list[Change]], None] | None = None
        self._sent = 0.0

    def send_by(self, send: Callable[[list[Change]], None]) -> None:
        """From now on send what has gathered, in the middle of a job too."""
        self._send = send

    def begin_job(self, now: float) -> None:
        """A job that ends within a second sends what it counts with its end alone. ``now`` is ``time.monotonic()``."""
        self._sent = now

    def __bool__(self) -> bool:
        return bool(self._amounts or self._gauges or self._histograms or self._odd)

    def add(self, key: Key, amount: float) -> None:
        """Of a counter."""
        if not isfinite(amount):
            self._odd.add(key)
            return
        with self._lock:
            self._amounts[key] = self._amounts.get(key, 0.0) + amount
        if self._send is not None:
            self._due(len(self._amounts), SECONDS)

    def gauge(self, key: Key, value: float, *, whole: bool) -> None:
        """Of a gauge: its new value when it is ``whole``, else the difference to the old one."""
        if not isfinite(value):
            self._odd.add(key)
            return
        with self._lock:
            was, before = self._gauges.get(key, (False, 0.0))
            self._gauges[key] = (True, value) if whole else (was, before + value)
        if self._send is not None:
            self._due(len(self._gauges), GAUGE_SECONDS)

    def observe(self, key: Key, value: float, bucket: int, buckets: int) -> None:
        """Of a histogram: ``bucket`` is the index of the bucket that the value falls in, of ``buckets``."""
        if not isfinite(value):
            self._odd.add(key)
            return
        with self._lock:
            total, counts = self._histograms.get(key) or (0.0, [0] * buckets)
            counts[bucket] += 1
            self._histograms[key] = (total + value, counts)
        if self._send is not None:
            self._due(len(self._histograms), SECONDS)

    def create(self, key: Key, kind: str, buckets: int = 0) -> None:
        """Show the series from now on, at zero."""
        with self._lock:
            if kind == "counter":
                self._amounts.setdefault(key, 0.0)
            elif kind == "gauge":
                self._gauges.setdefault(key, (False, 0.0))
            else:
                self._histograms.setdefault(key, (0.0, [0] * buckets))

    def due(self, seconds: float = SECONDS) -> bool:
        """Whether something has waited for so long; of a process that sends by itself when it is asked."""
        return bool(self) and time.monotonic() - self._sent >= seconds

    def flush_if_due(self) -> None:
        """Send what has waited for a second."""
        if self._send is not None and self.due():
            self._flush()

    def take(self) -> list[Change]:
        """What has gathered, which whoever asks has to send."""
        if not self:
            return []
        with self._lock:
            self._sent = time.monotonic()
            amounts, self._amounts = self._amounts, {}
            gauges, self._gauges = self._gauges, {}
            histograms, self._histograms = self._histograms, {}
            odd, self._odd = self._odd, set()
        found: list[Change] = [[name, labels, amount] for (name, labels), amount in amounts.items()]
        found += [[name, labels, value] for (name, labels), value in gauges.items()]
        found += [[name, labels, value] for (name, labels), value in histograms.items()]
        found += [[name, labels, None] for name, labels in odd]
        return found

    def _due(self, gathered: int, seconds: float) -> None:
        if gathered >= MOST or time.monotonic() - self._sent >= seconds:
            self._flush()

    def _flush(self) -> None:
        send, taken = self._send, self.take()
        if send is not None and taken:
            send(taken)


def frames(changes: Sequence[Change]) -> Iterator[dict[str, object]]:
    """The changes as frames of a slot, none of which is longer than the engine reads at any time."""
    parts: list[bytes] = []
    size = 0
    for part in map(orjson.dumps, changes):
        if parts and size + len(part) > FRAME_BYTES:
            yield _frame(parts)
            parts, size = [], 0
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield _frame(parts)


def _frame(parts: list[bytes]) -> dict[str, object]:
    return {"counted": orjson.Fragment(b"[" + b",".join(parts) + b"]")}


CHANGES = Changes()
os.register_at_fork(after_in_child=CHANGES.reset)
