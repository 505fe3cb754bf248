"""Schedules of one machine: which jobs come to be, over restarts, refused writes, changes and clocks that jump."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from longshore.engine.engine import Engine
from longshore.engine.journal import Journal
from longshore.engine.loop import Loop
from longshore.errors import StoreUnavailable
from longshore.job.schedule_rules import LABEL
from longshore.job.status import Outcome
from longshore.settings import Settings
from longshore.store.ledger import Batch
from longshore.store.sqlite.ledger import Refused, SqliteLedger
from still_engine import Caller, Pool

Json = dict[str, Any]
HANDLERS: list[dict[str, object]] = [{"name": "h", "runner": "slot"}]


def at(text: str) -> float:
    """A time of March 2126 (ended jobs of the past would expire by the real clock), in UTC: `09 06:30`."""
    return datetime.fromisoformat(f"2126-03-{text}").replace(tzinfo=UTC).timestamp()


class Clock:
    now = at("09 06:00")


class ClockedEngine(Engine):
    @staticmethod
    def now() -> float:
        return Clock.now


class Ledger(SqliteLedger):
    """Refuses so many writes as the test wants."""

    refusals = 0

    def commit(self, batch: Batch, *, durable: bool = True) -> Refused:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("as the test wants it", retry_after=1)
        return super().commit(batch, durable=durable)


class Rig:
    """One engine after the other over one folder; time passes when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.settings = folder / "data", dict[str, object]()
        self.lines: list[Json] = []
        self.folder.mkdir()
        self.boot()

    def boot(self, handlers: list[dict[str, object]] | None = None) -> None:
        self.ledger = Ledger(self.folder / "x.db", synchronous="normal")
        journal = Journal(style="json")
        journal.raw = lambda data: self.lines.append(orjson.loads(data))  # type: ignore[method-assign]
        settings = Settings.model_validate({"data_dir": self.folder, **self.settings})
        self.engine = ClockedEngine(Loop(), settings, self.ledger, journal, list)
        self.pool = Pool(self.engine)
        self.engine.pool = self.pool  # type: ignore[assignment]  # no processes
        self.engine.restore()
        self.engine.pool_ready(HANDLERS if handlers is None else handlers)
        self.go_on()

    def killed(self, handlers: list[dict[str, object]] | None = None) -> None:
        """As a kill leaves it, and started again."""
        copy = self.folder.with_name("copy")
        shutil.copytree(self.folder, copy)
        self.close()
        shutil.rmtree(self.folder)
        copy.rename(self.folder)
        self.boot(handlers)

    def close(self) -> None:
        self.engine.schedules._clock.close()
        self.ledger.close()
        self.engine.loop.close()

    def go_on(self, rounds: int = 6) -> None:
        for _ in range(rounds):
            self.engine.loop.turn(block=False)
            if self.engine.turn.failing:
                self.engine.turn.failing_until = 1e-9  # time does not pass for a disk that has refused
                self.engine.turn.probe()
            self.engine._dispatch()
            if self.engine.turn:
                self.engine.turn.settle(quiet=True)

    def pass_to(self, when: str) -> None:
        """The clock of the wall shows this time; its timer rings."""
        Clock.now = at(when)
        self.engine.schedules._rung(was_set=False)
        self.go_on()

    def ask(self, op: str, **params: object) -> Any:
        """As the api does; raises AssertionError with the code of an error."""
        caller = Caller()
        self.engine.commands.serve(caller, {"op": op, "v": 1, **params})  # type: ignore[arg-type]
        self.go_on()
        assert not caller.error, caller.error
        return caller.answer

    def put(self, name: str = "morning", *, replace: bool = True, job: Json | None = None, **spec: object) -> Json:
        whole = {"cron": "30 6 * * *", "jobTemplate": {"spec": job or {"handler": "h"}}} | spec
        found: Json = self.ask("put_schedule", name=name, spec=whole, labels={}, replace=replace)[1]
        return found

    def status(self, name: str = "morning") -> Json:
        found: Json = self.ask("schedule", name=name)["status"]
        return found

    def ready(self, name: str = "morning") -> tuple[str, str]:
        (condition,) = self.status(name)["conditions"]
        return condition["status"], condition["reason"]

    def jobs(self) -> dict[str, str]:
        """Phase of each job, by the time that it was made for."""
        rows = self.ledger._db.execute("SELECT id, phase FROM jobs ORDER BY id")
        return {_day_of(id): phase for id, phase in rows}

    def end(self, outcome: Outcome = Outcome.SUCCEEDED) -> None:
        """All that runs ends."""
        for key in list(self.pool.attempts):
            self.pool.end(key, outcome)
        self.go_on()

    def said(self, action: str) -> list[Json]:
        return [line for line in self.lines if line["action"] == action]


def _day_of(id: str) -> str:
    minutes = id.rpartition("-")[2]
    return datetime.fromtimestamp(int(minutes) * 60, UTC).strftime("%d %H:%M") if minutes.isdecimal() else id


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    Clock.now = at("09 06:00")
    found = Rig(tmp_path)
    yield found
    found.close()


def test_a_time_makes_one_job_and_no_second_after_a_kill(rig: Rig) -> None:
    rig.put()
    rig.pass_to("09 06:29")
    assert {} == rig.jobs()
    rig.pass_to("09 06:30")
    assert {"09 06:30": "Running"} == rig.jobs()
    rig.killed()
    rig.pass_to("09 06:31")

    assert ["09 06:30"] == list(rig.jobs())
    assert "2126-03-09T06:30:00" == rig.status()["lastScheduleTime"][:19]
    assert ("True", "Scheduled") == rig.ready()


def test_a_time_does_not_run_twice_when_its_job_was_removed_meanwhile(rig: Rig) -> None:
    rig.put(successfulJobsHistoryLimit=0)
    rig.pass_to("09 06:30")
    rig.end()
    assert {} == rig.jobs()
    rig.ledger._db.execute("UPDATE schedules SET status = CAST('{}' AS BLOB)")  # as if the schedule did not remember
    rig.killed()

    assert {} == rig.jobs()


@pytest.mark.parametrize("refusals", [1, 2, 3])
def test_a_disk_that_refuses_costs_no_time_and_doubles_none(rig: Rig, refusals: int) -> None:
    rig.put()
    rig.ledger.refusals = refusals
    rig.pass_to("09 06:30")
    for _ in range(refusals + 2):
        rig.go_on()

    assert {"09 06:30": "Running"} == rig.jobs()
    assert "2126-03-09T06:30:00" == rig.status()["lastScheduleTime"][:19]
    assert 1 == len(rig.status()["active"])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("Allow", {"09 06:30": "Running", "10 06:30": "Running"}),
        ("Forbid", {"09 06:30": "Running"}),
        ("Replace", {"09 06:30": "Cancelled", "10 06:30": "Running"}),
    ],
)
def test_while_a_job_of_it_runs_the_policy_decides(rig: Rig, policy: str, expected: dict[str, str]) -> None:
    rig.put(concurrencyPolicy=policy)
    rig.pass_to("09 06:30")
    rig.pass_to("10 06:30")

    assert expected == rig.jobs()


def test_forbid_leaves_out_a_time_at_which_a_job_ran_while_the_service_was_down(rig: Rig) -> None:
    rig.put(concurrencyPolicy="Forbid")
    rig.pass_to("09 06:30")
    Clock.now = at("10 06:40")
    rig.killed()

    assert ["09 06:30"] == list(rig.jobs())
    rig.end()
    rig.pass_to("11 06:30")
    assert ["09 06:30", "11 06:30"] == list(rig.jobs())


def test_of_thousands_of_missed_times_the_last_is_made_up_for(rig: Rig) -> None:
    rig.put(cron="* * * * *")
    Clock.now = at("29 12:00")
    rig.killed()

    assert ["29 12:00"] == list(rig.jobs())
    assert ("True", "MissedTicks") == rig.ready()


def test_a_missed_time_beyond_its_deadline_is_not_made_up_for(rig: Rig) -> None:
    rig.put(startingDeadlineSeconds=60)
    rig.put("patient", startingDeadlineSeconds=3600)
    Clock.now = at("09 07:00")
    rig.killed()

    assert ["patient"] == [row[0].rpartition("-")[0] for row in rig.ledger._db.execute("SELECT id FROM jobs")]
    assert ("True", "MissedTicks") == rig.ready()


def test_a_schedule_whose_handler_is_gone_says_so_once_and_catches_up_when_it_is_back(rig: Rig) -> None:
    rig.put()
    rig.killed(handlers=[])
    rig.pass_to("09 06:30")
    rig.pass_to("10 06:30")

    assert {} == rig.jobs()
    assert ("False", "UnknownHandler") == rig.ready()
    assert 1 == len(rig.said("schedule_refused"))
    rig.engine.pool_ready(HANDLERS)
    rig.go_on()
    assert ["10 06:30"] == list(rig.jobs())
    assert "True" == rig.ready()[0]


def test_what_is_declared_comes_changes_and_goes_with_the_code(rig: Rig) -> None:
    first = {"name": "Nightly_Report", "runner": "slot", "schedule": "0 3 * * *", "timeZone": "Europe/Berlin"}
    rig.killed([first])
    made = rig.ask("schedule", name="nightly-report")
    assert ("handler", "0 3 * * *", "Europe/Berlin") == (
        made["origin"], made["spec"]["cron"], made["spec"]["timeZone"])  # fmt: skip
    rig.pass_to("10 02:00")
    assert ["10 02:00"] == list(rig.jobs())
    rig.killed([first | {"schedule": "0 4 * * *"}])
    assert made["uid"] == rig.ask("schedule", name="nightly-report")["uid"]
    rig.pass_to("10 02:59")
    assert ["10 02:00"] == list(rig.jobs())
    rig.pass_to("10 03:00")
    assert ["10 02:00", "10 03:00"] == list(rig.jobs())
    rig.killed()
    with pytest.raises(AssertionError, match="not-found"):
        rig.ask("schedule", name="nightly-report")


def test_the_settings_file_wins_over_a_handler_and_takes_over_a_name_of_http(rig: Rig) -> None:
    rig.put("nightly")
    table = {"cron": "0 5 * * *", "job_template": {"spec": {"handler": "h", "args": {"snake_case": 1}}}}
    rig.settings["schedules"] = {"nightly": table}
    rig.killed([*HANDLERS, {"name": "nightly", "runner": "slot", "schedule": "0 3 * * *"}])

    found = rig.ask("schedule", name="nightly")
    assert ("file", "0 5 * * *") == (found["origin"], found["spec"]["cron"])
    assert {"snake_case": 1} == found["spec"]["jobTemplate"]["spec"]["args"]
    assert ["nightly"] == [line["schedule"] for line in rig.said("schedule_taken_over")]
    for op in ("put_schedule", "delete_schedule"):
        with pytest.raises(AssertionError, match="conflict"):
            rig.ask(op, name="nightly", spec=found["spec"], replace=True)


def test_a_pause_of_a_declared_schedule_outlives_a_restart_and_is_not_made_up_for(rig: Rig) -> None:
    declared = [{"name": "h", "runner": "slot", "schedule": "30 6 * * *"}]
    rig.killed(declared)
    rig.ask("pause_schedule", name="h", on=True)
    rig.pass_to("10 07:00")
    rig.killed(declared)
    assert ("False", "Suspended") == rig.ready("h")
    rig.ask("pause_schedule", name="h", on=False)
    assert {} == rig.jobs()
    rig.pass_to("11 06:30")

    assert ["11 06:30"] == list(rig.jobs())


def test_a_change_between_two_times_holds_from_then_on(rig: Rig) -> None:
    rig.put()
    rig.pass_to("09 06:20")
    rig.put(cron="10 * * * *")  # 06:10 has passed: it belongs to no time that was asked for
    rig.pass_to("09 06:30")
    assert {} == rig.jobs()
    rig.pass_to("09 07:10")
    assert ["09 07:10"] == list(rig.jobs())


def test_a_clock_that_is_set_back_runs_nothing_twice(rig: Rig) -> None:
    rig.put(cron="0 * * * *")
    rig.pass_to("09 08:00")
    rig.end()
    Clock.now = at("09 06:59")
    rig.engine.schedules._rung(was_set=True)
    rig.go_on()
    for when in ("09 07:00", "09 08:00", "09 09:00"):
        rig.pass_to(when)

    assert ["09 08:00", "09 09:00"] == list(rig.jobs())
    assert ["clock_was_set"] == [line["action"] for line in rig.said("clock_was_set")]


def test_ended_jobs_beyond_the_limits_go_and_the_last_success_is_remembered(rig: Rig) -> None:
    rig.put(successfulJobsHistoryLimit=2, failedJobsHistoryLimit=1, job={"handler": "h", "maxRetries": 0})
    for day, outcome in enumerate([Outcome.SUCCEEDED] * 3 + [Outcome.FAILED] * 2, start=9):
        rig.pass_to(f"{day:02} 06:30")
        rig.end(outcome)

    assert {"10 06:30", "11 06:30", "13 06:30"} == set(rig.jobs())
    assert "2126-03-11T06:30:00" == rig.status()["lastSuccessfulTime"][:19]
    assert "active" not in rig.status()


def test_a_trigger_makes_a_job_now_and_once_under_its_key(rig: Rig) -> None:
    rig.put(suspend=True)
    first = rig.ask("trigger_schedule", name="morning", id="m1", key=["k", "digest"])
    again = rig.ask("trigger_schedule", name="morning", id="m2", key=["k", "digest"])

    assert ("m1", "m1") == (first["id"], again["id"])
    assert "morning" == first["labels"][LABEL]
    assert ["m1"] == [job["name"] for job in rig.status()["active"]]


def test_a_deleted_schedule_takes_its_jobs_along_and_leaves_those_of_others(rig: Rig) -> None:
    rig.put()
    rig.put("evening")
    rig.pass_to("09 06:30")
    rig.ask("delete_schedule", name="morning")

    phases = dict(rig.ledger._db.execute("SELECT id, phase FROM jobs").fetchall())
    assert ["Cancelled", "Running"] == [phases[id] for id in sorted(phases, reverse=True)]
    rig.killed()
    assert ["evening"] == [found["name"] for found in rig.ask("schedules")[0]]


def test_a_row_that_cannot_be_read_stops_no_other_schedule(rig: Rig) -> None:
    rig.put("a-broken")
    rig.put()
    rig.ledger._db.execute("UPDATE schedules SET status = CAST('no json' AS BLOB) WHERE name = 'a-broken'")
    rig.killed()
    rig.pass_to("09 06:30")
    rig.pass_to("10 06:30")

    assert {"09 06:30", "10 06:30"} == set(rig.jobs())
    assert ["a-broken"] == [line["schedule"] for line in rig.said("schedule_failed")]


def test_a_full_service_is_asked_again_and_loses_no_time(rig: Rig) -> None:
    rig.settings["max_pending"] = 1
    rig.killed()
    rig.put("one")
    rig.put("two")
    rig.pass_to("09 06:30")
    assert 1 == len(rig.jobs())
    assert ("False", "JobRefused") == rig.ready("two")
    rig.end()
    rig.pass_to("09 06:31")
    assert 2 == rig.ledger._db.execute("SELECT count(*) FROM jobs").fetchone()[0]


def test_many_schedules_wake_nobody_between_two_times(rig: Rig) -> None:
    count: Callable[[], int] = lambda: rig.engine.loop.turns  # noqa: E731
    looks: list[str] = []
    decide = rig.engine.schedules.runner.decide
    for number in range(500):
        rig.engine.schedules.put(_row(number))
    while rig.engine.schedules._planned or rig.engine.turn:
        rig.go_on(1)
    before = count()
    rig.engine.schedules.runner.decide = lambda entry: (looks.append(entry.row.name), decide(entry))[1]  # type: ignore[method-assign, func-returns-value]
    rig.pass_to("09 06:29")
    assert [] == looks
    rig.pass_to("09 06:30")

    assert ["s7"] == looks
    assert 12 == count() - before  # the test's own turns of the loop
    assert rig.engine.schedules._heap[0][0] == at("09 07:00")


def _row(number: int) -> Any:
    from longshore.store.ledger import ScheduleRow

    cron = "30 6 * * *" if number == 7 else f"0 {7 + number % 12} * * *"
    spec = orjson.dumps({"cron": cron, "jobTemplate": {"spec": {"handler": "h"}}})
    return ScheduleRow(f"s{number}", f"uid-{number}", "request", b"{}", spec, b"{}", Clock.now, 1)


def test_a_month_with_a_gap_has_one_job_for_each_day(rig: Rig) -> None:
    rig.put(cron="30 2 * * *", timeZone="Europe/Berlin")
    begun = Clock.now
    for half_hours in range(23 * 48):
        Clock.now = begun + half_hours * 1800
        rig.engine.schedules._rung(was_set=False)
        rig.go_on(2)

    days = [when.partition(" ")[0] for when in rig.jobs()]
    assert [f"{day:02}" for day in range(10, 32)] + ["01"] == [*days[: days.index("01")], "01"]
    assert len(days) == len(set(days))


def test_a_zone_that_this_machine_does_not_know_any_more_is_said_in_the_status(rig: Rig) -> None:
    rig.put()
    spec = b'{"cron": "30 6 * * *", "timeZone": "Mars/Olympus", "jobTemplate": {"spec": {"handler": "h"}}}'
    rig.ledger._db.execute("UPDATE schedules SET spec = ?", (spec,))
    rig.killed()
    rig.pass_to("09 06:30")

    assert ({}, ("False", "InvalidSchedule")) == (rig.jobs(), rig.ready())
    assert 1 == len(rig.said("schedule_refused"))
