"""Removes what is kept no longer, beside the jobs: in rounds that hold up the loop for milliseconds, with turns between them."""

import time
from collections.abc import Callable

from longshore.engine.loop import Loop, Timer
from longshore.engine.turn import RETRY_SECONDS, Turn
from longshore.errors import StoreUnavailable
from longshore.store.ledger import Ledger

SWEEP_SECONDS = 600.0  # old keys, tombstones and events go so often
SURPLUS_SECONDS = 1.0  # ended jobs beyond what is kept may stay so long, and then go together
REMOVE_SECONDS = 0.05  # between two rounds of removing expired jobs


class Retention:
    """Ended jobs go by time, by number and by bytes; then the file gets smaller."""

    def __init__(self, loop: Loop, turn: Turn, ledger: Ledger, journal: Callable[..., None]) -> None:
        self._loop, self._turn, self._ledger, self._journal = loop, turn, ledger, journal
        self._timer: Timer | None = None
        self._when = 0.0
        self._shrinking = False

    def start(self) -> None:
        """From now on; what expired while nothing ran goes first."""
        self._remove()
        self._loop.after(SWEEP_SECONDS, self._sweep)

    def ended(self, expires_at: float | None) -> None:
        """Jobs have ended; the first of them expires then. None when there are none."""
        self._plan(expires_at)
        if expires_at is not None and self._ledger.overfull:
            self._plan(time.time() + SURPLUS_SECONDS)

    def _plan(self, when: float | None) -> None:
        """Look at expired jobs at ``when``, unless that is planned for earlier."""
        if when is None or (self._timer is not None and self._when <= when):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._when = when
        self._timer = self._loop.after(min(SWEEP_SECONDS, max(0.0, when - time.time())), self._remove)

    def _remove(self) -> None:
        """A round of removing what is kept no longer; the loop has its turns between two rounds."""
        self._timer = None
        now = time.time()
        if self._turn.failing or self._turn.batch.removed:
            self._plan(now + RETRY_SECONDS)
            return
        try:
            if self._ledger.lighten(now):
                self._plan(now + REMOVE_SECONDS)
                return
        except StoreUnavailable as error:
            self._journal("trim_failed", level="warning", detail=error.message)
            return  # the next sweep tries again
        found = self._ledger.expired(now)
        self._turn.batch.removed += [(uid, id, now) for uid, id in found]
        if found:
            self._turn.urgent()
            self._plan(now + REMOVE_SECONDS)
        else:
            self._plan(self._ledger.next_expiry())
            self._shrink_later()

    def _sweep(self) -> None:
        self._trim()
        self._remove()
        self._loop.after(SWEEP_SECONDS, self._sweep)

    def _trim(self) -> None:
        try:
            if self._ledger.trim(time.time()):
                self._loop.after(REMOVE_SECONDS, self._trim)
        except StoreUnavailable as error:
            self._journal("trim_failed", level="warning", detail=error.message)

    def _shrink(self) -> None:
        """Make the file smaller, a round at a time, when much was removed."""
        self._shrinking = False
        try:
            if self._ledger.shrink():
                self._shrink_later()
        except StoreUnavailable as error:
            self._journal("trim_failed", level="warning", detail=error.message)

    def _shrink_later(self) -> None:
        if not self._shrinking:
            self._shrinking = True
            self._loop.after(REMOVE_SECONDS, self._shrink)
