"""Lists for the api: read-only connections, one per thread, so that a long scan never holds up the engine."""

import base64
import binascii
import sqlite3
import threading
import urllib.parse
from contextlib import closing
from pathlib import Path

import orjson

from longshore.errors import EngineUnavailable, InvalidRequest
from longshore.job.items import array_progress, array_size
from longshore.job.numerals import whole
from longshore.job.spec import rfc3339_at
from longshore.job.status import Reason
from longshore.store.document import Progress, asks_to_be_told, document
from longshore.store.ledger import StoredJob
from longshore.store.port import JobDoc, Page, Query
from longshore.store.sqlite import statements as sql
from longshore.store.sqlite.ledger import attempt_rows, stored_job, told_row

_PHASES = {"pending": "Pending", "running": "Running", "succeeded": "Succeeded", "failed": "Failed",
           "cancelled": "Cancelled"}  # fmt: skip


PAGE_BYTES = 8 * 1024 * 1024
"""Of specifications and results in a page; at least one job or item is in it, whatever its size."""


class SqliteReader:
    """Reads what the engine has committed."""

    def __init__(self, path: str) -> None:
        self._uri = f"file:{urllib.parse.quote(str(Path(path).absolute()))}?mode=ro"
        self._local = threading.local()

    def find(self, query: Query) -> Page:
        """One page of jobs, newest first; raises InvalidRequest for a cursor that is none."""
        where, values = _where(query)
        if query.cursor:
            where.append("seq < ?")
            values.append(_decode(query.cursor))
        statement = f"SELECT seq, {sql.JOB_COLUMNS} FROM jobs {_clause(where)} ORDER BY seq DESC LIMIT ?"
        db = self._db()
        items: list[JobDoc] = []
        room, last, more = PAGE_BYTES, 0, False
        with closing(db.execute(statement, (*values, query.limit + 1))) as rows:
            for seq, *row in rows:
                stored = stored_job(tuple(row))
                room -= _size(stored)
                if len(items) == query.limit or (items and room < 0):
                    more = True
                    break
                progress = None
                if stored.job.array and stored.standing.finished_at is None:
                    stored, progress = _with_items(db, stored)
                told = told_row(db, stored.job.uid) if asks_to_be_told(stored) else None
                items.append(document(stored, attempt_rows(db, stored.job.uid, 10), progress, told))
                last = seq
        return Page(items, _encode(last) if more else "")

    def count(self, query: Query) -> dict[str, int]:
        """How many jobs match, by phase; every phase is there."""
        where, values = _where(query)
        rows = self._db().execute(f"SELECT phase, count(*) FROM jobs {_clause(where)} GROUP BY phase", values)
        return dict.fromkeys(_PHASES.values(), 0) | dict(rows.fetchall())

    def items(self, id: str, *, after: int = -1, limit: int = 100) -> tuple[list[dict[str, object]], bool]:
        """Items of an array job that were ever started, by index; and whether more follow."""
        rows = self._db().execute(
            """SELECT idx, state, items.attempts, items.retries, items.not_before, items.error_type,
            items.error_message, items.result FROM items JOIN jobs USING (uid)
            WHERE jobs.id = ? AND idx > ? ORDER BY idx LIMIT ?""",
            (id, after, limit + 1),
        )  # fmt: skip
        found: list[dict[str, object]] = []
        room = PAGE_BYTES
        with closing(rows):
            for row in rows:
                room -= len(row[-1] or b"")
                if len(found) == limit or (found and room < 0):
                    return found, True
                found.append(_item(row))
        return found, False

    def failed_dependents(self) -> dict[str, list[str]]:
        """Jobs that failed because of one that they wait for, oldest first, with the names that they wait for."""
        rows = self._db().execute(sql.SELECT_FAILED_DEPENDENTS, (Reason.DEPENDENCY_FAILED,))
        return {id: orjson.loads(spec).get("after") or [] for id, spec in rows}

    def deliveries(self, *, after: str, limit: int) -> list[dict[str, object]]:
        """Webhooks that wait or were given up, by id, beyond the id ``after``."""
        return [_delivery(row) for row in self._db().execute(sql.SELECT_UNDELIVERED, (after, limit))]

    def _db(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            try:
                db = sqlite3.connect(self._uri, uri=True, isolation_level=None, timeout=5.0)
                db.execute("PRAGMA query_only = ON")
            except sqlite3.Error as error:
                raise EngineUnavailable(retry_after=1) from error
            self._local.db = db
        return db


def _delivery(row: tuple[str, str | None, str, str, int, str, float | None]) -> dict[str, object]:
    id, job, url, state, attempts, error, next_at = row
    found: dict[str, object] = {"id": id, "url": url, "state": state, "attempts": attempts, "lastError": error}
    if job is not None:
        found["job"] = job
    return found if next_at is None else found | {"nextAt": rfc3339_at(next_at)}


def _size(stored: StoredJob) -> int:
    """Bytes of what may be large in the document of a job."""
    standing = stored.standing
    return len(stored.job.spec) + len(standing.result or b"") + len(standing.items or b"") + len(standing.log_tail)


def _where(query: Query) -> tuple[list[str], list[object]]:
    where: list[str] = []
    values: list[object] = []
    if query.phases:
        where.append(f"phase IN ({', '.join('?' * len(query.phases))})")
        values += query.phases
    for column, value in (("queue", query.queue), ("handler", query.handler)):
        if value:
            where.append(f"{column} = ?")
            values.append(value)
    for key, value in query.labels.items():
        where.append("seq IN (SELECT seq FROM labels WHERE key = ? AND value = ?)")
        values += (key, value)
    return where, values


def _clause(where: list[str]) -> str:
    return f"WHERE {' AND '.join(where)}" if where else ""


def _with_items(db: sqlite3.Connection, stored: StoredJob) -> tuple[StoredJob, Progress]:
    """A live array with the items that run counted now: what is stored of them is as of the last end."""
    (running,) = db.execute(sql.COUNT_RUNNING_ITEMS, (stored.job.uid,)).fetchone()
    items = orjson.loads(stored.standing.items or b"{}")
    items.pop("running", None)
    if running:
        items["running"] = running
    size = array_size(orjson.loads(stored.job.spec))
    progress = array_progress(items.get("succeeded", 0) + items.get("failed", 0), size)
    standing = stored.standing._replace(items=orjson.dumps(items))
    return stored._replace(standing=standing), (0, progress.percent, progress.message)


def _item(row: tuple[object, ...]) -> dict[str, object]:
    index, state, attempts, retries, not_before, error_type, error_message, result = row
    item: dict[str, object] = {
        "index": index,
        "phase": str(state).capitalize(),
        "attempts": attempts,
        "retries": retries,
    }
    if isinstance(not_before, float):
        item["notBefore"] = rfc3339_at(not_before)
    if error_type:
        item["error"] = {"type": error_type, "message": error_message}
    if isinstance(result, bytes):
        item["result"] = orjson.Fragment(result)
    return item


def _encode(seq: int) -> str:
    return base64.urlsafe_b64encode(f"s{seq}".encode()).decode().rstrip("=")


def _decode(cursor: str) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        if not text.startswith("s") or (seq := whole(text[1:])) is None:
            raise ValueError(text)
        return seq
    except (binascii.Error, UnicodeError, ValueError):
        raise InvalidRequest(
            "the cursor is not one of ours",
            errors=[{"parameter": "cursor", "detail": "pass nextCursor of the page before"}],
        ) from None
