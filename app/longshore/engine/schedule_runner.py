"""What is done about one schedule: the rules decide, and a job is created, left out, cancelled or removed."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson

from longshore.engine.live import Live
from longshore.engine.schedule_entry import Entry, Json, job_resource
from longshore.errors import LongshoreError, UnknownHandler
from longshore.job import schedule_rules as rules
from longshore.job.cron import job_name
from longshore.job.schedule import ScheduleSpec
from longshore.job.spec import parse_spec, rfc3339
from longshore.job.status import Phase
from longshore.store.ledger import ScheduledJob, ScheduleRow

if TYPE_CHECKING:
    from longshore.engine.engine import Engine

REFUSED_AGAIN_SECONDS = 30.0  # after its queue was full: as long as the operator waits
# What a job gets from its handler when nobody says otherwise, as at a submit.
_DEFAULTS = ("queue", "priority", "fairnessKey", "concurrencyKey", "ttlSecondsAfterFinished", "resources")


class ScheduleRunner:
    """Looks at one schedule at a time; ``mark`` asks for another look, because what was done was taken back."""

    def __init__(self, engine: "Engine", mark: Callable[[Entry], None]) -> None:
        self._engine, self._mark = engine, mark

    def jobs_of(self, entry: Entry) -> list[ScheduledJob]:
        """Its jobs that are kept, ended or not, as the store has them."""
        return self._engine.ledger.scheduled(rules.label_of(entry.row.name), entry.row.uid)

    def decide(self, entry: Entry) -> datetime | None:
        """Do what the schedule asks for now; returns when to look at it again, None: not by the clock."""
        now = datetime.fromtimestamp(self._engine.now(), UTC)
        before = (entry.row, entry.done, entry.ran)
        schedule, success = entry.resource(), self._tidied(entry)
        parsed = rules.parse(schedule)
        if isinstance(parsed, rules.Problem):
            # A zone that this machine's tables have no more, or a rule of a newer release.
            again = None
            ready = rules.condition(schedule, None, parsed, None, now)
            self._tell(entry, parsed)
        else:
            since = max(rules.settled(schedule, parsed, now), entry.done)
            decision, problem = rules.due(parsed, since, now), None
            again = decision.next
            if decision.run is not None:
                problem = self._fire(entry, schedule, parsed, decision.run, now)
            if problem is not None and problem.reason == rules.REFUSED:
                # A handler comes with a reload, which calls `declare`; a full queue has room by itself.
                soon = now + timedelta(seconds=REFUSED_AGAIN_SECONDS)
                again = soon if again is None else min(soon, again)
            self._tell(entry, problem)
            ready = rules.condition(schedule, parsed, problem, decision, now)
        self._write(entry, schedule["status"], ready, success, before)
        return again

    def _fire(
        self, entry: Entry, schedule: Json, spec: ScheduleSpec, tick: datetime, now: datetime
    ) -> rules.Problem | None:
        """Create the job of a time, or leave it out; the problem when it can be neither."""
        engine, id = self._engine, job_name(entry.row.name, tick)
        others = [uid for uid, name in entry.active.items() if name != id]
        jobs = self.jobs_of(entry) if rules.must_look(spec, others, tick, now) else ()
        if rules.skips(spec, others, map(job_resource, jobs), tick, now):
            entry.done = tick
            self._say("tick_left_out", entry, f"jobs of it run: {rfc3339(tick)} is left out")
            return None
        if not (id in engine.board.by_id or engine.ledger.job(id) is not None or engine.ledger.removed(id)):
            try:
                self.create(entry, schedule, id)
            except LongshoreError as error:
                reason = rules.UNKNOWN_HANDLER if error.code == "unknown-handler" else rules.REFUSED
                return rules.Problem(reason, f"no job for {rfc3339(tick)}: {error.message}")
            self._say("tick_ran", entry, f"created {id}", job=id)
            self.cancel(rules.replaced(spec, others))
        entry.done = entry.ran = tick
        return None

    def cancel(self, uids: Iterable[str]) -> None:
        """Cancel those of the jobs that have not ended, with this turn's commit."""
        for uid in list(uids):  # a cancel may take it out of the schedule's active jobs
            if (live := self._engine.board.by_uid.get(uid)) is not None and not Phase(live.standing.phase).terminal:
                self._engine.commands.cancel(live)

    def create(self, entry: Entry, schedule: Json, id: str) -> Live:
        """A job of the schedule under that name, with this turn's commit; raises as ``Intake.accept`` does, UnknownHandler too."""
        engine, template = self._engine, schedule["spec"]["jobTemplate"]
        handler = str(template["spec"].get("handler") or "")
        if not engine.runnable(handler):
            text = f"there is no handler {handler!r} any more" if handler else "command jobs are switched off"
            raise UnknownHandler(text)
        defaults = {name: engine.handlers[handler].get(name) for name in _DEFAULTS} if handler else {}
        spec = {name: value for name, value in defaults.items() if value is not None} | template["spec"]
        parse_spec(orjson.dumps(spec))  # the defaults are what an application says of itself
        labels = (template.get("labels") or {}) | {rules.LABEL: rules.label_of(entry.row.name)}
        ((live, _),) = engine.intake.accept([[id, False, spec, entry.row.uid, labels, "", rules.MADE_BY_SCHEDULE, ""]])
        assert live is not None  # only a name that somebody chose leads to a job that is there
        entry.active[live.uid] = id

        def undo() -> None:
            entry.active.pop(live.uid, None)

        engine.turn.undo(undo)
        engine.turn.urgent()
        return live

    def _write(self, entry: Entry, old: Json, ready: Json, success: datetime | None,
               before: tuple[ScheduleRow, datetime, datetime | None]) -> None:  # fmt: skip
        """What the schedule remembers, when it is something new."""
        new = rules.status_of(old, ready, {}, entry.ran, success)
        decided = entry.done != before[1]
        if new == old and not decided:
            return

        def undo() -> None:
            entry.row, entry.done, entry.ran = before
            self._mark(entry)

        self._engine.turn.undo(undo)
        if new != old:
            entry.row = entry.row._replace(status=orjson.dumps(new))
            self._engine.turn.batch.schedules.append((entry.row.name, entry.row))

    def _tidied(self, entry: Entry) -> datetime | None:
        """The last success, None when no job has ended since the last look; ended jobs beyond the limits are removed."""
        if not entry.ended:
            return None
        entry.ended = False

        def undo() -> None:
            entry.ended = True
            self._mark(entry)

        self._engine.turn.undo(undo)
        spec = rules.parse(entry.resource())
        jobs = [job_resource(job) for job in self.jobs_of(entry)]
        if isinstance(spec, ScheduleSpec):
            now = self._engine.now()
            surplus = rules.surplus(spec, jobs)
            self._engine.turn.batch.removed += [(j["metadata"]["uid"], j["metadata"]["name"], now) for j in surplus]
        return rules.last_success(jobs)

    def _tell(self, entry: Entry, problem: rules.Problem | None) -> None:
        """Say in the log what is wrong with a schedule, once as long as it is the same."""
        reason = problem.reason if problem is not None else ""
        if problem is not None and reason != entry.problem:
            self._say("schedule_refused", entry, problem.message, level="error", reason=reason)
        entry.problem = reason

    def _say(self, action: str, entry: Entry, detail: str, *, level: str = "info", **more: object) -> None:
        self._engine.journal(action, level=level, schedule=entry.row.name, detail=detail, **more)
