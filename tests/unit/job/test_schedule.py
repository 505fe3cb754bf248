"""What a Schedule says, and what it may not say."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from longshore.job.queues import QueueSpec, QueueStatus
from longshore.job.schedule import ConcurrencyPolicy, ScheduleSpec, ScheduleStatus


def read(**fields: Any) -> ScheduleSpec:
    given = {"cron": "0 6 * * *", "jobTemplate": {"spec": {"handler": "echo"}}} | fields
    return ScheduleSpec.model_validate_json(json.dumps(given))


def test_defaults_are_those_of_a_cron_job() -> None:
    spec = read()

    assert ("UTC", ConcurrencyPolicy.ALLOW, False) == (spec.time_zone, spec.concurrency_policy, spec.suspend)
    assert (3, 1) == (spec.successful_jobs_history_limit, spec.failed_jobs_history_limit)
    assert spec.starting_deadline_seconds is None


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("cron", "61 * * * *", "minute: 61 is outside"),
        ("cron", "@reboot", "is not a cron schedule: write five fields"),
        ("cron", "TZ=UTC 0 6 * * *", "should match pattern"),
        ("timeZone", "Europe/Atlantis", "not a time zone known here"),
        ("timeZone", "../../etc/passwd", "should match pattern"),
        ("timeZone", "Europe", "not a time zone known here"),
        ("timeZone", "", "should match pattern"),
        ("concurrencyPolicy", "Queue", "Input should be"),
        ("startingDeadlineSeconds", -1, "greater than or equal"),
        ("successfulJobsHistoryLimit", -1, "greater than or equal"),
        ("jobTemplate", {"spec": {}}, "exactly one of handler and command"),
        ("jobTemplate", {"labels": {"a": "b c"}, "spec": {"handler": "echo"}}, "no label value"),
        ("when", "now", "Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_refused_by_name(field: str, value: object, says: str) -> None:
    with pytest.raises(ValidationError) as error:
        read(**{field: value})
    assert field == error.value.errors()[0]["loc"][0]
    assert says in str(error.value)


@pytest.mark.parametrize("cron", ["@hourly", "@Daily", " 0  6 * * *", "*/5\t* * * *", "0 6 * * mon-fri"])
def test_every_way_to_write_a_schedule_passes(cron: str) -> None:
    assert cron == read(cron=cron).cron


def test_statuses_begin_empty() -> None:
    assert () == ScheduleStatus().active
    assert 0 == QueueStatus().depth
    assert QueueSpec() == QueueSpec.model_validate_json("{}")
