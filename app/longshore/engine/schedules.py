"""Creates jobs by the clock on one machine, by the same rules as the operator (``longshore.job.schedule_rules``).

All schedules lie in memory as they are kept, and a heap knows the next time of each. One timer by the clock of the wall
fires at the first of these times, so between two of them nothing wakes up, however many schedules there are. A job and what
its schedule remembers of it are one transaction, and the job's name is made of the schedule's and the time: therefore no
time runs twice, and none is lost that the rules want, over a kill at any moment.

What is to be looked at is looked at in rounds that hold up the loop for milliseconds: ten thousand schedules may be due at
midnight, or have missed thousands of times while the service was down.
"""

import heapq
import itertools
import time
import traceback
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import orjson
from pydantic import ValidationError

from longshore.engine.hello import HandlerInfo
from longshore.engine.live import Live, new_uid
from longshore.engine.schedule_entry import Entry, dumped
from longshore.engine.schedule_runner import ScheduleRunner
from longshore.engine.wall_clock import WallClock
from longshore.job import schedule_rules as rules
from longshore.job.schedule import ScheduleOrigin, ScheduleSpec
from longshore.store.ledger import ScheduleRow

if TYPE_CHECKING:
    from longshore.engine.engine import Engine

ROUND_SECONDS = 0.02  # a round may hold up the loop for that long


class Schedules:
    """The schedules of one engine."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self.entries: dict[str, Entry] = {}
        self._by_uid: dict[str, Entry] = {}
        self._heap: list[tuple[float, int, Entry]] = []
        self._tie = itertools.count()
        self._marked: deque[Entry] = deque()
        self._clock = WallClock(engine.loop, self._rung)
        self._planned = False
        self._bytes = 0
        self.runner = ScheduleRunner(engine, self._mark)

    # -- what there is ---------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Take over what is kept; nothing is created before the handlers are known (``declare``)."""
        for row in self._engine.ledger.schedules():
            self._add(Entry(row))
            self._mark(self.entries[row.name])
        for live in self._engine.board.by_uid.values() if self.entries else ():
            entry = self._by_uid.get(live.row.fingerprint)
            if entry is not None and live.row.source == rules.MADE_BY_SCHEDULE:
                entry.active[live.uid] = live.id

    def declare(self, handlers: Sequence[HandlerInfo]) -> None:
        """The schedules of the code and of the settings file are these; what was declared before and is no more goes."""
        wanted, before = self._declared(handlers), len(self._engine.turn.batch.schedules)
        for name, (origin, spec) in wanted.items():
            entry = self.entries.get(name)
            if entry is None:
                self.put(ScheduleRow(name, new_uid(), origin, b"{}", spec, b"{}", self._engine.now(), 1))
            elif (entry.row.origin, entry.row.spec) != (origin, spec):
                if entry.row.origin == ScheduleOrigin.REQUEST:
                    self._engine.journal("schedule_taken_over", level="warning", schedule=name, origin=origin)
                self.put(entry.row._replace(origin=origin, spec=spec, generation=entry.row.generation + 1))
        for name, entry in list(self.entries.items()):
            if entry.row.origin != ScheduleOrigin.REQUEST and name not in wanted:
                self.remove(entry)
        if len(self._engine.turn.batch.schedules) > before:  # should the disk refuse them, they are declared again
            self._engine.turn.undo(lambda: self._engine.intake.again.add(lambda _now: self.declare(handlers)))
        for entry in self.entries.values():
            if entry.problem:  # perhaps its handler is back
                self._mark(entry)
        self.wake()

    def _declared(self, handlers: Sequence[HandlerInfo]) -> dict[str, tuple[str, bytes]]:
        found: dict[str, tuple[str, bytes]] = {}
        for info in handlers:
            if not (cron := info.get("schedule")):
                continue
            raw = {"cron": cron, "timeZone": info.get("timeZone") or "UTC",
                   "jobTemplate": {"spec": {"handler": info["name"]}}}  # fmt: skip
            name = rules.name_of(str(info["name"]))
            try:
                spec = ScheduleSpec.model_validate_json(orjson.dumps(raw), by_alias=True, by_name=False)
            except ValidationError as error:  # the handler was checked where it was registered, in another process
                self._engine.journal("schedule_refused", level="error", schedule=name, detail=str(error))
                continue
            found[name] = (ScheduleOrigin.HANDLER, dumped(spec))
        # The settings file comes last: who runs a service may change the times that a developer has chosen.
        return found | {
            name: (ScheduleOrigin.FILE, dumped(spec)) for name, spec in self._engine.settings.schedules.items()
        }

    def put(self, row: ScheduleRow) -> Entry:
        """Keep the schedule, new or changed, with this turn's commit."""
        old = self.entries.get(row.name)
        entry = Entry(row)
        if old is not None:
            if old.row.uid == row.uid:
                entry.active, entry.done, entry.ran = old.active, old.done, old.ran
            self._drop(old)
        self._add(entry)
        self._engine.turn.batch.schedules.append((row.name, row))

        def undo() -> None:
            self._drop(entry)
            if old is not None:
                self._add(old)
                self._mark(old)

        self._engine.turn.undo(undo)
        self._mark(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        """Forget the schedule with this turn's commit; its jobs are left as they are."""
        self._drop(entry)
        self._engine.turn.batch.schedules.append((entry.row.name, None))

        def undo() -> None:
            self._add(entry)
            self._mark(entry)

        self._engine.turn.undo(undo)

    def _add(self, entry: Entry) -> None:
        self.entries[entry.row.name] = self._by_uid[entry.row.uid] = entry
        self._bytes += len(entry.row.spec)

    def _drop(self, entry: Entry) -> None:
        if self.entries.get(entry.row.name) is entry:
            del self.entries[entry.row.name]
        if self._by_uid.get(entry.row.uid) is entry:
            del self._by_uid[entry.row.uid]
        self._bytes -= len(entry.row.spec)
        entry.look_at = None

    @property
    def size_bytes(self) -> int:
        """Specifications of all schedules, in bytes of JSON."""
        return self._bytes

    # -- its jobs --------------------------------------------------------------------------------------------

    def ended(self, live: Live) -> None:
        """A job of a schedule has ended, and the store has its end."""
        if (entry := self._by_uid.get(live.row.fingerprint)) is not None:
            entry.active.pop(live.uid, None)
            entry.ended = True
            self._mark(entry)

    # -- rounds ----------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The handlers are known, the disk works again, or jobs are taken again: do what is due."""
        if self.entries:
            self._plan()

    def _mark(self, entry: Entry) -> None:
        if not entry.marked:
            entry.marked = True
            self._marked.append(entry)
        self._plan()

    def _plan(self) -> None:
        """A round follows this turn of the loop."""
        if not self._planned:
            self._planned = True
            self._engine.loop.after(0.0, self._round)

    def _rung(self, was_set: bool) -> None:
        if was_set:
            self._engine.journal("clock_was_set", schedules=len(self.entries))
            for entry in self.entries.values():
                self._mark(entry)
        self._plan()

    def _round(self) -> None:
        self._planned = False
        engine = self._engine
        if not engine.ready or engine.turn.failing or engine.intake.closed:
            return  # what changes that calls `wake`
        until = time.monotonic() + ROUND_SECONDS
        while (entry := self._next()) is not None:
            self._look(entry)
            if time.monotonic() >= until:
                self._plan()
                return
        self._clock.wake_at(self._heap[0][0] if self._heap else None)

    def _next(self) -> Entry | None:
        """The next schedule to look at: one that is marked, then one whose time has come."""
        while self._marked:
            entry = self._marked.popleft()
            entry.marked = False
            if self.entries.get(entry.row.name) is entry and not entry.broken:
                return entry
        now = self._engine.now()
        while self._heap:
            when, _, entry = self._heap[0]
            if entry.look_at != when:
                heapq.heappop(self._heap)  # planned otherwise since, or gone
            elif when > now:
                return None
            else:
                heapq.heappop(self._heap)
                return entry
        return None

    def _look_again(self, entry: Entry, when: datetime | None) -> None:
        entry.look_at = None if when is None else when.timestamp()
        if entry.look_at is not None:
            heapq.heappush(self._heap, (entry.look_at, next(self._tie), entry))

    def _look(self, entry: Entry) -> None:
        try:
            again = self.runner.decide(entry)
        except Exception as error:  # whatever it is: this schedule's, and no other's
            entry.broken = True
            self._engine.turn.abandon()
            detail = "".join(traceback.format_exception(error))
            self._engine.journal("schedule_failed", level="error", schedule=entry.row.name, traceback=detail,
                                 detail="it is left alone until it is changed")  # fmt: skip
        else:
            self._look_again(entry, again)
