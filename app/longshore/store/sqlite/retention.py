"""What is kept no longer: which jobs go, what is forgotten, how the file shrinks. All in rounds, each of a bounded length."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from longshore.errors import StoreUnavailable
from longshore.store.sqlite import statements as sql
from longshore.store.sqlite.tally import Tally

KEY_SECONDS = 24 * 3600.0
TOMBSTONE_SECONDS = 7 * 86_400.0
MAX_TOMBSTONES = 200_000
MAX_EVENTS = 100_000
# What one round of retention does to the file at most: the engine's only thread waits for it.
ROUND_BYTES = 8 * 1024 * 1024
ROUND_LOGS = 8  # of one job, 1.25 MiB each by default
ROUND_SECONDS = 0.01
SPARE_PAGES = 256  # pages that are free are used by what comes next; so many, or an eighth of the file, may stay


class Retention:
    """The part of ``SqliteLedger`` that forgets."""

    _db: sqlite3.Connection
    _tally: Tally
    _shrinks: bool
    _retention_jobs: int
    _retention_bytes: int

    def _synchronous(self, level: str) -> None:
        raise NotImplementedError

    @contextmanager
    def _round(self) -> Iterator[None]:
        """A transaction without fsync: what comes back after a power cut goes once more."""
        try:
            self._synchronous("NORMAL")
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise unwritable(error) from error

    def expired(self, now: float, *, limit: int = 500) -> list[tuple[str, str]]:
        """See ``Ledger.expired``."""
        surplus = max(0, self._tally.ended - self._retention_jobs)
        too_much = self._tally.kept_bytes - self._retention_bytes
        found: list[tuple[str, str]] = []
        weight = 0
        for uid, id, expires_at, size in self._db.execute(sql.SELECT_OLDEST, (limit,)):
            if expires_at > now and len(found) >= surplus and weight >= too_much:
                break
            if found and weight + size > ROUND_BYTES:
                break
            found.append((uid, id))
            weight += size
        return found

    @property
    def overfull(self) -> bool:
        """See ``Ledger.overfull``."""
        return self._tally.ended > self._retention_jobs or self._tally.kept_bytes > self._retention_bytes

    def lighten(self, now: float) -> bool:
        """See ``Ledger.lighten``."""
        found = self.expired(now, limit=1)
        if not found:
            return False
        uid = found[0][0]
        _, before = self._db.execute(sql.WEIGH_JOB, (uid,)).fetchone()
        if before <= ROUND_BYTES:
            return False
        with self._round():
            self._db.execute(sql.DELETE_LOGS, (uid, ROUND_LOGS))
            self._db.execute(sql.CLEAR_RESULTS, (uid, ROUND_LOGS))
            _, after = self._db.execute(sql.WEIGH_JOB, (uid,)).fetchone()
        self._tally.kept_bytes += after - before
        return bool(after < before)

    def trim(self, now: float, *, limit: int = 500) -> int:
        """See ``Ledger.trim``."""
        with self._round():
            gone = self._db.execute(sql.TRIM_KEYS, (now - KEY_SECONDS, limit)).rowcount
            gone += self._db.execute(sql.TRIM_TOMBSTONES, (now - TOMBSTONE_SECONDS, MAX_TOMBSTONES, limit)).rowcount
            gone += self._db.execute(sql.TRIM_EVENTS, (MAX_EVENTS, limit)).rowcount
        return gone

    def shrink(self) -> bool:
        """See ``Ledger.shrink``."""
        if not self._shrinks or not self._spare():
            return False
        limit = time.monotonic() + ROUND_SECONDS
        try:
            self._synchronous("NORMAL")
            while (more := self._spare()) and time.monotonic() < limit:
                # SQLite frees a page for each step of this statement, and hands out a row without columns for each. An
                # execute() of Python takes one step of such a statement; a script is stepped to its end.
                self._db.executescript("PRAGMA incremental_vacuum(64)")
            if not more:
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")  # the file is cut when the log is written into it
        except sqlite3.Error as error:
            raise unwritable(error) from error
        return more

    def _spare(self) -> bool:
        """Whether more pages are free than may stay."""
        return self._pragma("freelist_count") > max(SPARE_PAGES, self._pragma("page_count") // 8)

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])


def unwritable(error: Exception) -> StoreUnavailable:
    """What the engine is told of a write that failed."""
    return StoreUnavailable(f"the store does not take writes now: {error}", retry_after=5)
