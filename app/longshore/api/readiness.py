"""Whether jobs are taken now, asked by one request at a time and shared by all.

``/readyz`` is open, and in a cluster its answer is a question to the API server. So an answer counts for a moment, and
while one request asks, others get the last answer: probes can neither load the API server nor hold threads while it is slow.
"""

import threading
import time
from collections.abc import Callable

from longshore.errors import LongshoreError
from longshore.store.port import ServicePort

SHARED_SECONDS = 2.0
"""How long an answer of the API server counts. The engine is asked each time: that is one message in this machine."""


class Readiness:
    """The last answer, and the next."""

    def __init__(self, store: ServicePort, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._shared_seconds = 0.0 if store.backend == "engine" else SHARED_SECONDS
        self._asking = threading.Lock()
        self._last, self._until = "not ready", 0.0

    def now(self) -> str:
        """``ok``, ``not ready``, or the code of the error that asking met."""
        if not self._shared_seconds:
            return self._ask()
        if self._clock() < self._until or not self._asking.acquire(blocking=False):
            return self._last
        try:
            self._last = self._ask()
            self._until = self._clock() + self._shared_seconds
            return self._last
        finally:
            self._asking.release()

    def _ask(self) -> str:
        try:
            return "ok" if self._store.status().get("ready") else "not ready"
        except LongshoreError as error:
            return error.code
