"""The Schedule resource: jobs that are created by the clock."""

from enum import StrEnum
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from longshore.job.conditions import Conditions
from longshore.job.cron import Cron
from longshore.job.patterns import CRON_SHAPE
from longshore.job.spec import INTEGRAL, Delay, Frozen, JobSpec, Labels, Metadata, Name, Time

SCHEDULE_KIND = "Schedule"
MAX_ACTIVE = 100


def _cron(value: str) -> str:
    Cron.parse(value)
    return value


def _zone(value: str) -> str:
    zone(value)
    return value


def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name; raises ValueError for any other."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone known here; write an IANA name such as Europe/Berlin") from error


class ConcurrencyPolicy(StrEnum):
    """What happens when it is time while jobs of the schedule have not ended."""

    ALLOW = "Allow"  # they run side by side
    FORBID = "Forbid"  # this tick is left out
    REPLACE = "Replace"  # the old ones are cancelled, the new one is created


class ScheduleOrigin(StrEnum):
    """Who declares a schedule."""

    REQUEST = "request"  # whoever sent it over HTTP or applied the resource
    FILE = "file"  # `[schedules]` of the settings file
    HANDLER = "handler"  # `@handler(schedule=...)`


class JobTemplate(Frozen):
    """What each created job looks like."""

    labels: Labels = Field(default_factory=dict)
    """Labels of the created jobs, beside `longshore.dev/schedule`."""
    spec: JobSpec
    """What to run."""


class ScheduleSpec(Frozen):
    """When jobs are created, and which."""

    cron: Annotated[str, Field(max_length=256, pattern=CRON_SHAPE), AfterValidator(_cron)]
    """Five fields (minute, hour, day of month, month, day of week) or a macro such as `@hourly`."""
    time_zone: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$"), AfterValidator(_zone)] = (
        "UTC"
    )
    """Time zone of the fields, by its IANA name, such as `Europe/Berlin`."""
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW
    """While earlier jobs have not ended: `Allow` creates the next, `Forbid` leaves it out, `Replace` cancels them first."""
    starting_deadline_seconds: Delay | None = None
    """Do not create a job later than this after its time; without one only the last missed time is made up for, ever so late."""
    suspend: bool = False
    """No jobs are created while true; times that pass meanwhile are not made up for."""
    successful_jobs_history_limit: Annotated[int, Field(ge=0, le=1000), INTEGRAL] = 3
    """How many of its succeeded jobs are kept."""
    failed_jobs_history_limit: Annotated[int, Field(ge=0, le=1000), INTEGRAL] = 1
    """How many of its failed and cancelled jobs are kept."""
    job_template: JobTemplate
    """What is created."""


class ScheduleReplacement(ScheduleSpec):
    """Body of ``PUT /v1/schedules/{name}``: the specification's fields at top level, and labels."""

    name: Name | None = None
    """Name of the schedule, as in the path."""
    labels: Labels = Field(default_factory=dict)
    """Labels of the schedule, as Kubernetes takes them."""


class ScheduleSubmission(ScheduleReplacement):
    """Body of ``POST /v1/schedules``: the specification's fields at top level, and what the schedule is called."""

    name: Name
    """Name of the schedule, unique in its namespace; its jobs are named after it."""


class ScheduleMetadata(Metadata):
    """The part of Kubernetes object metadata that the manifest of a schedule may carry."""

    name: Name
    """Name of the schedule."""


class ScheduleManifest(Frozen):
    """A Schedule resource as ``kubectl apply`` takes it."""

    api_version: Literal["longshore.dev/v1alpha1"]
    """Always `longshore.dev/v1alpha1`."""
    kind: Literal["Schedule"]
    """Always `Schedule`."""
    metadata: ScheduleMetadata
    """Name and labels."""
    spec: ScheduleSpec
    """When jobs are created, and which."""


class ActiveJob(Frozen):
    """A job of the schedule that has not ended."""

    name: Name
    """Its name."""
    uid: Annotated[str, Field(max_length=64)] = ""
    """Its uid."""


class ScheduleStatus(Frozen):
    """What the schedule has done."""

    last_schedule_time: Time | None = None
    """The last time that a job was created for: the time by the schedule, not when it came to pass."""
    last_successful_time: Time | None = None
    """When a job of the schedule last succeeded."""
    active: Annotated[tuple[ActiveJob, ...], Field(max_length=MAX_ACTIVE)] = ()
    """Its jobs that have not ended; at most the last 100."""
    conditions: Conditions = ()
    """Kubernetes conditions; `Ready` is False when the cron field or the time zone cannot be read."""
