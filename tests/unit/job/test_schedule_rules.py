"""What a Schedule asks for at a moment."""

from datetime import datetime
from typing import Any

import pytest

from longshore.job.schedule_rules import (
    MANY,
    Problem,
    condition,
    due,
    job_of,
    label_of,
    overlaps,
    owner_of,
    parse,
    settled,
    status_of,
    surplus,
)

Json = dict[str, Any]
BORN = "2026-03-01T00:00:00Z"


def at(text: str) -> datetime:
    """A time of March 2026, in UTC: `09 06:30`."""
    return datetime.fromisoformat(f"2026-03-{text}+00:00")


def make_schedule(status: Json | None = None, **spec: object) -> Json:
    template = {"spec": {"handler": "echo"}}
    return {
        "metadata": {"name": "morning", "namespace": "ns", "uid": "u-1", "generation": 3, "creationTimestamp": BORN},
        "spec": {"cron": "30 6 * * *", "timeZone": "UTC", "jobTemplate": template} | spec, "status": status or {},
    }  # fmt: skip


def spec_of(schedule: Json) -> Any:
    spec = parse(schedule)
    assert not isinstance(spec, Problem), spec
    return spec


@pytest.mark.parametrize(
    ("spec", "since", "now", "run", "missed", "following"),
    [
        pytest.param({}, "09 06:30", "10 06:29:59", None, 0, "10 06:30", id="not yet"),
        pytest.param({}, "09 06:30", "10 06:30", "10 06:30", 0, "11 06:30", id="to the second"),
        pytest.param({}, "10 06:30", "10 06:30", None, 0, "11 06:30", id="not twice"),
        pytest.param({}, "07 06:30", "10 07:00", "10 06:30", 2, "11 06:30", id="only the latest of three"),
        pytest.param({}, "01 06:30", "09 23:00", "09 06:30", 7, "10 06:30", id="late without a deadline"),
        pytest.param({"startingDeadlineSeconds": 60}, "09 06:30", "10 06:31", "10 06:30", 0, "11 06:30", id="within the deadline"),
        pytest.param({"startingDeadlineSeconds": 60}, "09 06:30", "10 06:31:01", "10 06:30", 0, "11 06:30", id="the operator's own second"),
        pytest.param({"startingDeadlineSeconds": 60}, "09 06:30", "10 06:31:02", None, 1, "11 06:30", id="after the deadline"),
        pytest.param({"startingDeadlineSeconds": 60}, "07 06:30", "10 12:00", None, 3, "11 06:30", id="three after the deadline"),
        pytest.param({"startingDeadlineSeconds": 0}, "09 06:30", "10 06:30:00.9", "10 06:30", 0, "11 06:30", id="a deadline of nothing"),
        pytest.param({"suspend": True}, "09 06:30", "10 07:00", None, 0, None, id="suspended"),
        pytest.param({"cron": "0 0 30 2 *"}, "01 00:00", "30 00:00", None, 0, None, id="a day that never comes"),
        pytest.param({"cron": "* * * * *"}, "01 00:00", "29 12:00", "29 12:00", MANY - 1, "29 12:01", id="more than are counted"),
        pytest.param({"timeZone": "Europe/Berlin"}, "09 05:30", "10 05:30", "10 05:30", 0, "11 05:30", id="a zone"),
        pytest.param({"timeZone": "Europe/Berlin"}, "28 05:30", "29 04:30", "29 04:30", 0, "30 04:30", id="summer time has begun"),
        pytest.param({"cron": "30 2 * * *", "timeZone": "Europe/Berlin"}, "28 01:30", "29 01:00", "29 01:00", 0, "30 00:30", id="a time in the gap"),
    ],
)  # fmt: skip
def test_due(spec: Json, since: str, now: str, run: str | None, missed: int, following: str | None) -> None:
    ticks = due(spec_of(make_schedule(**spec)), at(since), at(now))
    assert (run and at(run), missed, following and at(following)) == (ticks.run, ticks.missed, ticks.next)


def ready(status: str, reason: str, message: str, since: str) -> Json:
    return {
        "type": "Ready", "status": status, "observedGeneration": 3, "reason": reason, "message": message,
        "lastTransitionTime": since,
    }  # fmt: skip


TIMES = "30 6 * * * (UTC)"


@pytest.mark.parametrize(
    ("status", "spec", "expected"),
    [
        pytest.param({}, {}, "01 00:00", id="never seen: from its creation"),
        pytest.param({"lastScheduleTime": "2026-03-05T06:30:00Z"}, {}, "05 06:30", id="the last tick"),
        pytest.param({"conditions": [ready("True", "Scheduled", TIMES, BORN)]}, {}, "01 00:00", id="in force since its creation"),
        pytest.param({"conditions": [ready("True", "Scheduled", TIMES, "2026-03-04T00:00:00Z")]}, {}, "04 00:00", id="in force since"),
        pytest.param({"conditions": [ready("True", "Scheduled", TIMES, BORN)]}, {"cron": "0 7 * * *"}, "09 12:00", id="other times"),
        pytest.param({"conditions": [ready("True", "Scheduled", TIMES, BORN)]}, {"timeZone": "Asia/Tokyo"}, "09 12:00", id="another zone"),
        pytest.param({"conditions": [ready("True", "MissedTicks", TIMES + "; 3 times passed", BORN)]}, {}, "01 00:00", id="missed some"),
        pytest.param({"conditions": [ready("False", "Suspended", "x", BORN)]}, {}, "09 12:00", id="resumed now"),
        pytest.param({"conditions": [ready("False", "InvalidSchedule", "x", BORN)]}, {}, "09 12:00", id="readable now"),
        pytest.param({"conditions": [ready("False", "JobRefused", "x", "2026-03-08T06:30:01Z")]}, {}, "01 00:00", id="refused: still due"),
    ],
)  # fmt: skip
def test_what_is_settled(status: Json, spec: Json, expected: str) -> None:
    schedule = make_schedule(status, **spec)
    assert at(expected) == settled(schedule, spec_of(schedule), at("09 12:00"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"cron": "61 * * * *"}, "spec.cron: minute: 61 is outside 0-59"),
        ({"timeZone": "Europe/Berln"}, "spec.timeZone: 'Europe/Berln' is not a time zone known here"),
        ({"jobTemplate": {"spec": {}}}, "spec.jobTemplate.spec: exactly one of handler and command"),
    ],
)
def test_what_the_api_server_cannot_check_is_said(spec: Json, message: str) -> None:
    problem = parse(make_schedule(**spec))
    assert isinstance(problem, Problem)
    assert "InvalidSchedule" == problem.reason
    assert problem.message.startswith(message)


def test_the_condition_through_a_life() -> None:
    schedule = make_schedule()
    spec = spec_of(schedule)

    def turn(now: str, **change: Any) -> tuple[str, str, str, str]:
        nonlocal spec
        schedule["spec"] |= change
        spec = spec_of(schedule)
        ticks = due(spec, settled(schedule, spec, at(now)), at(now))
        found = condition(schedule, spec, None, ticks, at(now))
        schedule["status"] = status_of(schedule["status"], found, {}, ticks.run, None)
        return found["status"], found["reason"], found["message"], found["lastTransitionTime"]

    first, suspended = BORN, "suspend is true; times that pass meanwhile are not made up for"
    resumed = "2026-03-07T08:00:00.000000Z"
    passed = f"{TIMES}; 1 times passed without a job and are not made up for"
    assert ("True", "Scheduled", TIMES, first) == turn("01 01:00")
    assert ("True", "Scheduled", TIMES, first) == turn("01 06:30")
    assert ("True", "MissedTicks", passed, first) == turn("03 12:00")
    assert ("True", "MissedTicks", passed, first) == turn("03 12:01"), "a look in between forgets what was missed"
    assert ("True", "Scheduled", TIMES, first) == turn("04 06:30")
    assert ("False", "Suspended", suspended, "2026-03-04T08:00:00.000000Z") == turn("04 08:00", suspend=True)
    assert ("True", "Scheduled", TIMES, resumed) == turn("07 08:00", suspend=False)
    assert "2026-03-04T06:30:00.000000Z" == schedule["status"]["lastScheduleTime"], "a suspended time was made up for"
    assert ("True", "Scheduled", "0 7 * * * (UTC)", "2026-03-08T12:00:00.000000Z") == turn("08 12:00", cron="0 7 * * *")
    assert "2026-03-04T06:30:00.000000Z" == schedule["status"]["lastScheduleTime"], "a time before the change was run"


def test_the_job_of_a_tick() -> None:
    schedule = make_schedule(jobTemplate={"labels": {"team": "x"}, "spec": {"handler": "echo", "args": {"a": 1}}})
    job = job_of(schedule, at("09 06:30"))
    assert {"team": "x", "longshore.dev/schedule": "morning"} == job["metadata"]["labels"]
    assert {"handler": "echo", "args": {"a": 1}} == job["spec"]
    assert "u-1" == owner_of(job)
    assert job_of(schedule, at("09 06:30"))["metadata"]["name"] == job["metadata"]["name"]
    assert job_of(schedule, at("09 06:31"))["metadata"]["name"] != job["metadata"]["name"]


def test_a_long_name_fits_a_label_and_stays_its_own() -> None:
    one, other = (label_of("a" * 80 + end) for end in "xy")
    assert one != other
    assert len(one) <= 63
    assert "a" * 63 == label_of("a" * 63)


def make_job(name: str, phase: str, end: str) -> Json:
    metadata = {"name": name, "creationTimestamp": "2026-03-05T06:00:00Z"}
    return {"metadata": metadata, "status": {"phase": phase, "finishedAt": f"2026-03-05T{end}:00Z"}}


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [(3, 1, {"f1", "c1"}), (1, 3, {"s1", "s2"}), (0, 0, {"s1", "s2", "s3", "f1", "c1", "f2"}), (9, 9, set())],
)
def test_the_oldest_beyond_the_limits_go(good: int, bad: int, expected: set[str]) -> None:
    ends = [("s1", "Succeeded", "07:01"), ("f1", "Failed", "07:02"), ("s2", "Succeeded", "07:03"),
            ("c1", "Cancelled", "07:04"), ("s3", "Succeeded", "07:05"), ("f2", "Failed", "07:06")]  # fmt: skip
    jobs = [make_job(*end) for end in ends] + [{"metadata": {"name": "new"}}]
    spec = spec_of(make_schedule(successfulJobsHistoryLimit=good, failedJobsHistoryLimit=bad))
    assert expected == {job["metadata"]["name"] for job in surplus(spec, jobs)}


@pytest.mark.parametrize(("tick", "expected"), [("05:59", False), ("06:01", True), ("06:59", True), ("07:00", False)])
def test_whether_an_ended_job_was_in_the_way(tick: str, expected: bool) -> None:
    assert expected == overlaps([make_job("a", "Failed", "07:00")], at(f"05 {tick}"))


def test_an_unchanged_status_is_equal_and_a_time_never_goes_back() -> None:
    found = ready("True", "Scheduled", TIMES, BORN)
    old = {"conditions": [found], "lastScheduleTime": "2026-03-05T06:30:00Z"}
    assert old == status_of(old, found, {}, at("05 06:30"), None)
    assert old == status_of(old, found, {}, at("04 06:30"), None)
    new = status_of(old, found, {"u": "b", "v": "a"}, at("06 06:30"), at("06 06:31"))
    assert [{"name": "a", "uid": "v"}, {"name": "b", "uid": "u"}] == new["active"]
    assert ("2026-03-06T06:30:00.000000Z", "2026-03-06T06:31:00.000000Z") == (
        new["lastScheduleTime"],
        new["lastSuccessfulTime"],
    )
    assert "active" not in status_of(new, found, {}, None, None)
