"""How many jobs are kept in each phase, and how many bytes of results and output: counted once, then carried along.

A commit says what it moves while it is applied, and the tally follows when it holds, so that nobody who asks for the
status makes the engine's only thread walk through a table.
"""

import sqlite3
from collections import Counter

from longshore.job.status import TERMINAL
from longshore.store.sqlite import statements as sql


class Tally:
    """``begin``, then any number of ``move`` and ``weigh``, then ``keep``; whatever is not kept did not happen."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._phases = Counter[str](dict(db.execute(sql.COUNT_PHASES).fetchall()))
        self.kept_bytes = int(db.execute(sql.COUNT_BYTES).fetchone()[0])
        """Of results, results of items, and output."""
        self._moved = Counter[str]()
        self._weighed = 0

    def begin(self) -> None:
        """A transaction starts, or starts again."""
        self._moved.clear()
        self._weighed = 0

    def move(self, before: str, after: str, count: int = 1) -> None:
        """So many jobs go from one phase to another; an empty name is where jobs come from and go to."""
        self._moved[before] -= count
        self._moved[after] += count

    def weigh(self, size: int) -> None:
        """So many bytes more are kept, or fewer."""
        self._weighed += size

    def keep(self) -> None:
        """The transaction holds."""
        self._phases.update(self._moved)
        self.kept_bytes += self._weighed
        self.begin()

    def counts(self) -> dict[str, int]:
        """Kept jobs by phase, phases without any left out."""
        return {phase: count for phase, count in self._phases.items() if phase and count}

    @property
    def ended(self) -> int:
        """How many have ended."""
        return sum(self._phases[phase] for phase in TERMINAL)
