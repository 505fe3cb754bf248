"""The schedules of a laptop in SQLite, and which jobs each of them has made."""

import sqlite3
from collections.abc import Iterable

from longshore.job.schedule_rules import LABEL, MADE_BY_SCHEDULE
from longshore.store.ledger import ScheduledJob, ScheduleRow
from longshore.store.sqlite import statements as sql


class ScheduleReader:
    """The reads of a ledger that are about schedules."""

    _db: sqlite3.Connection

    def schedules(self) -> list[ScheduleRow]:
        """All schedules, by name."""
        rows = self._db.execute(sql.SELECT_SCHEDULES)
        return [ScheduleRow._make((*row[:8], None if row[8] is None else bool(row[8]))) for row in rows]

    def scheduled(self, label: str, uid: str) -> list[ScheduledJob]:
        """See ``Ledger.scheduled``."""
        rows = self._db.execute(sql.SELECT_SCHEDULED, (LABEL, label, MADE_BY_SCHEDULE, uid))
        return [ScheduledJob(*row) for row in rows]


def put_schedules(db: sqlite3.Connection, rows: Iterable[tuple[str, ScheduleRow | None]]) -> None:
    """Write the rows in their order, so that the last word about a name counts."""
    for name, row in rows:
        if row is None:
            db.execute(sql.DELETE_SCHEDULE, (name,))
        else:
            db.execute(sql.PUT_SCHEDULE, row)
