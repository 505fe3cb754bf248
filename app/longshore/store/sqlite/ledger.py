"""The engine's ledger in SQLite: WAL, one writing connection, one transaction per turn."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson

from longshore.store.ledger import (
    AttemptRow,
    Batch,
    ClaimRow,
    DeliveryRow,
    EndRow,
    EventRow,
    ItemRow,
    JobRow,
    KeyRow,
    LiveRow,
    LogRow,
    Standing,
    StoredJob,
    ToldRow,
    kept_of,
)
from longshore.store.sqlite import statements as sql
from longshore.store.sqlite.files import Lock, refuse_foreign, refuse_network
from longshore.store.sqlite.opening import open_database
from longshore.store.sqlite.retention import Retention, unwritable
from longshore.store.sqlite.schedules import ScheduleReader, put_schedules
from longshore.store.sqlite.schema import APPLICATION_ID
from longshore.store.sqlite.tally import Tally

NO_ITEM = -1  # `idx` of an attempt that belongs to no item: NULL would not do in a primary key

_Row = TypeVar("_Row", EndRow, ClaimRow)
# What one row is the cause of, and not the disk: a number beyond 64 bits, text that is no UTF-8, a value too large.
_OF_A_ROW = (OverflowError, UnicodeError, sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError)


class _Each(Protocol):
    def __call__(
        self, rows: list[_Row], apply: Callable[[list[_Row]], bool], /
    ) -> set[tuple[str, int | None, int]] | None: ...


Refused = set[tuple[str, int | None, int]]


class SqliteLedger(Retention, ScheduleReader):
    """``store.ledger.Ledger`` over a file. Raises StoreCorrupt, StoreLocked, StoreUnsupported when it cannot open it."""

    def __init__(self, path: Path, *, synchronous: str = "full", retention_jobs: int = 100_000,
                 retention_bytes: int = 4 * 1024**3) -> None:  # fmt: skip
        self._path = path
        self._retention_jobs, self._retention_bytes = retention_jobs, retention_bytes
        self._durable = synchronous.upper()
        refuse_network(path.parent)
        refuse_foreign(path)
        self._lock = Lock(path.with_name(path.name + ".lock"))
        try:
            self._db, self.exposed = open_database(path)
            self._tally = Tally(self._db)
        except BaseException:
            self._lock.release()
            raise
        self._shrinks = self._pragma("auto_vacuum") == 2
        self._level = ""

    # -- writing ---------------------------------------------------------------------------------------------

    def commit(self, batch: Batch, *, durable: bool = True) -> Refused:
        """See ``Ledger.commit``."""
        try:
            self._synchronous(self._durable if durable else "NORMAL")
            self._db.execute("BEGIN IMMEDIATE")
            refused = None
            with contextlib.suppress(*_OF_A_ROW):
                refused = self._apply(batch, self._at_once)
            if refused is None:  # rare: from the beginning, row by row, to know which
                self._db.execute("ROLLBACK")
                self._db.execute("BEGIN IMMEDIATE")
                refused = self._apply(batch, self._one_by_one) or set()
            self._db.execute("COMMIT")
            self._tally.keep()
        except (sqlite3.Error, *_OF_A_ROW) as error:
            with contextlib.suppress(sqlite3.Error):  # nothing was begun, or SQLite has rolled back by itself
                self._db.execute("ROLLBACK")
            raise unwritable(error) from error
        return refused

    def probe(self) -> None:
        """See ``Ledger.probe``."""
        try:
            self._synchronous(self._durable)
            # The page is written, whatever it said before.
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        except sqlite3.Error as error:
            raise unwritable(error) from error

    def _synchronous(self, level: str) -> None:
        # Claims may skip the fsync; the next full commit brings the whole log to the disk, claims included.
        if level != self._level:
            self._db.execute(f"PRAGMA synchronous = {level}")
            self._level = level

    def _apply(self, batch: Batch, each: "_Each") -> Refused | None:
        """Write the batch; what was refused, or None when ``each`` cannot tell."""
        many, tally = self._db.executemany, self._tally
        tally.begin()
        if batch.jobs:
            self._insert_jobs(batch.jobs)
            tally.move("", "Pending", len(batch.jobs))
        if batch.keys:
            many(sql.INSERT_KEY, [(k.key, k.fingerprint, orjson.dumps(k.ids).decode(), k.at) for k in batch.keys])
        # Ends first: a wish is decided on what the attempts before it came to, never the other way round.
        refused = each(batch.ends, self._apply_ends)
        if refused is None:
            return None
        for change in batch.changes:
            done = self._db.execute(sql.CHANGE_JOB, (*_standing(change.standing), change.uid, change.from_phase,
                                                     change.standing.phase, change.standing.redrives)).rowcount  # fmt: skip
            if done:
                tally.move(change.from_phase, change.standing.phase)
            else:
                refused.add((change.uid, None, 0))
        if batch.items:
            many(sql.PUT_ITEM, batch.items)
        claims = each(batch.claims, self._apply_claims)
        if claims is None:
            return None
        refused |= claims
        told = kept_of(batch, refused)
        for name, rows in (
            (sql.INSERT_EVENT, told.events),
            (sql.PUT_DELIVERY, told.deliveries),
            (sql.PUT_QUEUE, batch.queues),
        ):
            if rows:
                many(name, rows)
        self._settle(batch)
        put_schedules(self._db, batch.schedules)
        if batch.removed:
            self._remove([uid for uid, _, _ in batch.removed])
            many(sql.INSERT_TOMBSTONE, [(id, uid, at, uid) for uid, id, at in batch.removed])
        return refused

    def _settle(self, batch: Batch) -> None:
        if batch.told:
            self._db.executemany(sql.PUT_TOLD, [(*row[:-1], row.uid) for row in batch.told])
        if batch.delivered:
            self._db.executemany(sql.DELETE_DELIVERY, [(id,) for id in batch.delivered])

    def _insert_jobs(self, jobs: Sequence[JobRow]) -> None:
        self._db.executemany(sql.INSERT_JOB, [
            (*job[:7], orjson.dumps(job.labels).decode() if job.labels else "{}", *job[8:]) for job in jobs
        ])  # fmt: skip
        labels = [(key, value, job.uid) for job in jobs for key, value in job.labels.items()]
        if labels:
            self._db.executemany(sql.INSERT_LABEL, labels)

    def _remove(self, uids: Sequence[str]) -> None:
        for uid in uids:
            found = self._db.execute(sql.WEIGH_JOB, (uid,)).fetchone()
            if found is not None and self._db.execute(sql.DELETE_JOB, (uid,)).rowcount:
                self._tally.move(found[0], "")
                self._tally.weigh(-found[1])

    @staticmethod
    def _at_once(rows: list[_Row], apply: Callable[[list[_Row]], bool]) -> Refused | None:
        return set() if not rows or apply(rows) else None

    def _one_by_one(self, rows: list[_Row], apply: Callable[[list[_Row]], bool]) -> Refused:
        refused = set()
        for row in rows:
            self._db.execute("SAVEPOINT one")
            if not _applied(apply, row):
                self._db.execute("ROLLBACK TO one")
                refused.add((row.uid, row.idx, row.number))
            self._db.execute("RELEASE one")
        return refused

    def _apply_claims(self, claims: list[ClaimRow]) -> bool:
        plain = [(c.number, c.worker, c.at, c.uid, c.number - 1) for c in claims if c.idx is None]
        if plain and self._db.executemany(sql.CLAIM_JOB, plain).rowcount != len(plain):
            return False
        items = [c for c in claims if c.idx is not None]
        if not items:
            self._tally.move("Pending", "Running", len(plain))
            return True
        uids = tuple({c.uid for c in items})
        new = self._db.execute(sql.COUNT_PENDING.format(", ".join("?" * len(uids))), uids).fetchone()[0]
        jobs = self._db.executemany(sql.CLAIM_ARRAY, [(c.worker, c.at, c.uid) for c in items]).rowcount
        done = self._db.executemany(sql.CLAIM_ITEM, [(c.uid, c.idx, c.number) for c in items]).rowcount
        if not jobs == done == len(items):
            return False
        self._tally.move("Pending", "Running", len(plain) + new)
        return True

    def _apply_ends(self, ends: list[EndRow]) -> bool:
        plain = [(*_standing(e.standing), e.uid, e.number) for e in ends if e.idx is None]
        if plain and self._db.executemany(sql.END_JOB, plain).rowcount != len(plain):
            return False
        array = [e for e in ends if e.idx is not None]
        if array and not self._apply_item_ends(array):
            return False
        self._db.executemany(sql.INSERT_ATTEMPT, [
            (e.uid, _idx(e.idx), e.number, e.worker, e.started_at, e.finished_at, e.outcome, e.reason, e.exit_code,
             *e.error)
            for e in ends
        ])  # fmt: skip
        logs = [(e.log.uid, _idx(e.log.idx), *e.log[2:]) for e in ends if e.log is not None]
        if logs:
            self._db.executemany(sql.INSERT_LOG, logs)
        for e in ends:
            self._tally.move("Running", e.standing.phase)
            kept = e.standing.result if e.item is None else e.item.result
            if kept is not None or e.log is not None:
                self._tally.weigh(len(kept or b"") + (len(e.log.head) + len(e.log.tail) if e.log is not None else 0))
        return True

    def _apply_item_ends(self, ends: list[EndRow]) -> bool:
        rows = [(*e.item[2:], e.uid, e.idx, e.number) for e in ends if e.item is not None]
        if self._db.executemany(sql.END_ITEM, rows).rowcount != len(ends):
            return False
        jobs = self._db.executemany(sql.END_ARRAY, [(*_standing(e.standing), e.uid) for e in ends]).rowcount
        return jobs == len(ends)

    # -- reading ---------------------------------------------------------------------------------------------

    def live(self) -> Iterator[LiveRow]:
        """See ``Ledger.live``."""
        for row in self._db.execute(sql.SELECT_LIVE):
            stored = stored_job(row)
            yield LiveRow(stored.job, stored.attempts, stored.standing)

    def rev(self, uid: str) -> int:
        """How often the job's row changed."""
        found = self._db.execute("SELECT rev FROM jobs WHERE uid = ?", (uid,)).fetchone()
        return int(found[0]) if found else 1

    def live_items(self, uid: str) -> list[ItemRow]:
        """See ``Ledger.live_items``."""
        return [ItemRow(*row) for row in self._db.execute(sql.SELECT_ITEMS, (uid,))]

    def job(self, id: str) -> StoredJob | None:
        """The job of that name."""
        row = self._db.execute(sql.SELECT_JOB, (id,)).fetchone()
        return stored_job(row) if row else None

    def spec(self, uid: str) -> bytes:
        """Its specification."""
        row = self._db.execute("SELECT spec FROM jobs WHERE uid = ?", (uid,)).fetchone()
        return bytes(row[0])

    def removed(self, id: str) -> bool:
        """See ``Ledger.removed``."""
        return self._db.execute("SELECT 1 FROM tombstones WHERE id = ?", (id,)).fetchone() is not None

    def attempts(self, uid: str, *, last: int = 10) -> list[AttemptRow]:
        """See ``Ledger.attempts``."""
        return attempt_rows(self._db, uid, last)

    def item_attempts(self, uid: str, idx: int) -> int:
        """See ``Ledger.item_attempts``."""
        row = self._db.execute("SELECT attempts FROM items WHERE uid = ? AND idx = ?", (uid, idx)).fetchone()
        return int(row[0]) if row else 0

    def log(self, uid: str, idx: int | None, number: int | None) -> LogRow | None:
        """See ``Ledger.log``."""
        row = self._db.execute(sql.SELECT_LOG, (uid, _idx(idx), number, number)).fetchone()
        return LogRow(uid, idx, *row) if row else None

    def key(self, key: str) -> KeyRow | None:
        """The idempotency key, while it is kept."""
        row = self._db.execute("SELECT key, fingerprint, ids, at FROM keys WHERE key = ?", (key,)).fetchone()
        return KeyRow(row[0], row[1], tuple(orjson.loads(row[2])), row[3]) if row else None

    def last_seq(self) -> int:
        """Sequence number of the last event."""
        return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])

    def events(self, *, uid: str | None, after: int, limit: int) -> list[EventRow]:
        """Events beyond ``after``, oldest first."""
        statement = sql.SELECT_EVENTS if uid is None else sql.SELECT_EVENTS_OF
        values = (after, limit) if uid is None else (uid, after, limit)
        return [EventRow(*row) for row in self._db.execute(statement, values)]

    def told(self, uid: str) -> ToldRow | None:
        """What became of the last delivery about a job; None while none was tried."""
        return told_row(self._db, uid)

    def given_up(self) -> list[ToldRow]:
        """Deliveries that nobody tries any more."""
        return [ToldRow(*row) for row in self._db.execute(sql.SELECT_GIVEN_UP)]

    def deliveries(self) -> list[DeliveryRow]:
        """Webhooks that are not settled."""
        return [DeliveryRow(*row) for row in self._db.execute(sql.SELECT_DELIVERIES)]

    def queues(self) -> dict[str, bytes]:
        """Run-time overrides by queue."""
        return {name: bytes(body) for name, body in self._db.execute("SELECT name, overrides FROM queues")}

    def next_expiry(self) -> float | None:
        """When the next ended job may be removed."""
        return self._db.execute("SELECT min(expires_at) FROM jobs WHERE expires_at IS NOT NULL").fetchone()[0]  # type: ignore[no-any-return]  # REAL or NULL

    def counts(self) -> dict[str, int]:
        """See ``Ledger.counts``."""
        return self._tally.counts()

    def close(self) -> None:
        """Write the log back into the file and let go of it."""
        with contextlib.suppress(sqlite3.Error):  # a full disk must not keep the engine from ending
            self._db.execute("PRAGMA optimize")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        self._lock.release()


def _standing(standing: Standing) -> tuple[object, ...]:
    return standing


def _idx(idx: int | None) -> int:
    return NO_ITEM if idx is None else idx


def stored_job(row: tuple[Any, ...]) -> StoredJob:
    """A row of ``statements.JOB_COLUMNS`` as the value it stands for."""
    job = JobRow._make((*row[:7], orjson.loads(row[7]), *row[8:11], bool(row[11]), row[12]))
    standing = Standing._make((*row[15:-3], bool(row[-3]), bool(row[-2]), row[-1]))
    return StoredJob(job, row[13], row[14], standing)


def attempt_rows(db: sqlite3.Connection, uid: str, last: int) -> list[AttemptRow]:
    """The last ended attempts, oldest first; the same read for the engine and the api."""
    rows = db.execute(sql.SELECT_ATTEMPTS, (uid, last)).fetchall()
    return [AttemptRow(None if idx == NO_ITEM else idx, *rest) for idx, *rest in reversed(rows)]


def told_row(db: sqlite3.Connection, uid: str) -> ToldRow | None:
    """What became of the last delivery about a job; the same read for the engine and the api."""
    row = db.execute(sql.SELECT_TOLD, (uid,)).fetchone()
    return ToldRow(*row) if row is not None else None


def _applied(apply: Callable[[list[_Row]], bool], row: _Row) -> bool:
    """Whether the row was written; one that SQLite cannot hold is refused like one that comes too late."""
    try:
        return apply([row])
    except _OF_A_ROW:
        return False
