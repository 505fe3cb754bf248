"""The service's one sequence of events: written with the turn that made them, told to those who follow."""

from collections import deque
from collections.abc import Callable, Mapping

import orjson

from longshore.engine.turn import Turn
from longshore.engine.waiters import Waiters
from longshore.job.spec import rfc3339_at
from longshore.store.ledger import EventRow, Ledger

REMEMBERED = 10_000  # followers keep up with memory; only those who come back late cost a read

ALL = ("events", "")


class Events:
    """Gives sequence numbers, keeps the latest in memory, wakes followers after the commit."""

    def __init__(self, ledger: Ledger, turn: Callable[[], Turn], waiters: Waiters) -> None:
        self._ledger, self._turn, self._waiters = ledger, turn, waiters
        self._seq = ledger.last_seq()
        self._recent: deque[EventRow] = deque(maxlen=REMEMBERED)
        self._forgotten = self._seq
        """Events up to this number are in the store alone."""

    def add(
        self, kind: str, uid: str, id: str, at: float, data: Mapping[str, object] | None = None, *, fact: bool = False
    ) -> None:
        """Part of the current turn; a ``fact`` stays in it when the disk refuses."""
        self._turn().event(self.row(kind, uid, id, at, data), fact=fact)

    def row(self, kind: str, uid: str, id: str, at: float, data: Mapping[str, object] | None = None) -> EventRow:
        """The next event of the sequence, for whoever puts it into the turn with what it tells of."""
        self._seq += 1
        return EventRow(self._seq, uid, id, kind, at, orjson.dumps(data) if data else b"")

    def committed(self, rows: list[EventRow]) -> None:
        """They hold now: tell who follows."""
        for row in rows:
            if len(self._recent) == REMEMBERED:
                self._forgotten = self._recent[0].seq
            self._recent.append(row)
            if (topic := ("events", row.uid)) in self._waiters:
                self._waiters.wake(topic)
        if rows and ALL in self._waiters:
            self._waiters.wake(ALL)

    def after(self, seq: int, *, uid: str | None, limit: int) -> list[list[object]]:
        """Events beyond ``seq`` as ``[seq, job, type, at, data]``, oldest first."""
        if seq < self._forgotten:
            found = self._ledger.events(uid=uid, after=seq, limit=limit)
        else:
            found = [row for row in self._recent if row.seq > seq and (uid is None or row.uid == uid)][:limit]
        return [wire(row) for row in found]


def wire(row: EventRow) -> list[object]:
    """An event as it crosses the engine's socket: the fields of ``store.port.Event`` in order."""
    data = orjson.Fragment(row.data) if row.data else {}
    return [row.seq, row.id, row.type, rfc3339_at(row.at), data]
