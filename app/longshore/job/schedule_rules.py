"""Decides what a Schedule asks for at a moment, for both hosts: the operator and the engine of ``longshore serve``.

The functions are pure: a schedule and its jobs come in as JSON in the shape of the resources, with the time; a decision goes out. The
hosts read, create, cancel and write. What must outlast a host is kept in the schedule's status: ``lastScheduleTime``, and in the
``Ready`` condition the timetable and when it came into force. Therefore times that passed during a suspension, or that belong to
another cron field, are not made up for.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from pydantic import ValidationError

from longshore.job.cron import Cron, job_name
from longshore.job.schedule import MAX_ACTIVE, SCHEDULE_KIND, ConcurrencyPolicy, ScheduleSpec, zone
from longshore.job.spec import API_VERSION, KIND, rfc3339
from longshore.job.status import TERMINAL, Phase
from longshore.job.wording import sentence

Json = dict[str, Any]

LABEL: Final = "longshore.dev/schedule"
MADE_BY_SCHEDULE: Final = (
    "schedule"  # the ``source`` of such a job on one machine, where its fingerprint is the schedule's uid
)
TICK_ANNOTATION: Final = "longshore.dev/scheduled-for"
MAX_LABEL: Final = 63
MANY: Final = 100  # missed times are counted up to here
GRACE: Final = timedelta(seconds=1)  # a host itself is never later than that; a deadline of 0 means "not later"

SCHEDULED, MISSED, SUSPENDED, INVALID, REFUSED, UNKNOWN_HANDLER = (
    "Scheduled",
    "MissedTicks",
    "Suspended",
    "InvalidSchedule",
    "JobRefused",
    "UnknownHandler",
)


@dataclass(frozen=True, slots=True)
class Ticks:
    """Which of the passed times gets a job, and when to look again."""

    run: datetime | None
    """The time to create a job for."""
    missed: int
    """Times that passed without one, at most ``MANY``."""
    next: datetime | None
    """The next time; None when there is none, or the schedule is suspended."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a schedule is not in force."""

    reason: str
    message: str


def parse(schedule: Json) -> ScheduleSpec | Problem:
    """What it says, as far as the API server could not check it."""
    try:
        return ScheduleSpec.model_validate_json(orjson.dumps(schedule["spec"]), by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return Problem(INVALID, f"spec.{where}: {sentence(first['type'], first['msg'])}")


def due(spec: ScheduleSpec, since: datetime, now: datetime) -> Ticks:
    """Of the times after ``since`` up to ``now`` only the last gets a job, unless its deadline has passed."""
    if spec.suspend:
        return Ticks(None, 0, None)
    cron, place = Cron.parse(spec.cron), zone(spec.time_zone)
    following, passed = cron.after(now, place), cron.missed(since, now, place, limit=MANY)
    if passed.latest is None:
        return Ticks(None, 0, following)
    deadline = spec.starting_deadline_seconds
    if deadline is not None and now - passed.latest > timedelta(seconds=deadline) + GRACE:
        return Ticks(None, passed.count, following)
    return Ticks(passed.latest, passed.count - 1, following)


def must_look(spec: ScheduleSpec, others: Sequence[str], tick: datetime, now: datetime) -> bool:
    """Whether ``skips`` needs the jobs of the schedule: only then are they read.

    ``others`` are its active jobs, but for the one of the tick.
    """
    forbids = spec.concurrency_policy is ConcurrencyPolicy.FORBID
    return forbids and (bool(others) or now - tick > GRACE)


def skips(spec: ScheduleSpec, others: Sequence[str], jobs: Iterable[Json], tick: datetime, now: datetime) -> bool:
    """Whether Forbid leaves the tick out: another job runs, or ran when the tick passed while no host looked."""
    if spec.concurrency_policy is not ConcurrencyPolicy.FORBID:
        return False
    return bool(others) or (now - tick > GRACE and overlaps(jobs, tick))


def replaced(spec: ScheduleSpec, others: Sequence[str]) -> Sequence[str]:
    """Which of its active jobs are cancelled before the next one is created."""
    return others if spec.concurrency_policy is ConcurrencyPolicy.REPLACE else ()


def upcoming(spec: ScheduleSpec, now: datetime, count: int) -> list[datetime]:
    """The next times of the schedule, at most ``count``; none while it is suspended."""
    found: list[datetime] = []
    if spec.suspend:
        return found
    cron, place = Cron.parse(spec.cron), zone(spec.time_zone)
    following = cron.after(now, place)
    while following is not None and len(found) < count:
        found.append(following)
        following = cron.after(following, place)
    return found


def timetable(spec: ScheduleSpec) -> str:
    """The times in words; equal for equal times."""
    return f"{spec.cron} ({spec.time_zone})"


def settled(schedule: Json, spec: ScheduleSpec, now: datetime) -> datetime:
    """Nothing is created for times up to this one."""
    old = condition_of(schedule)
    last = (schedule.get("status") or {}).get("lastScheduleTime")
    times: list[datetime] = [_time(schedule["metadata"]["creationTimestamp"]), *([_time(last)] if last else ())]
    if old.get("reason") in (SUSPENDED, INVALID):
        times.append(now)
    elif old.get("status") == "True":
        same = old["message"].partition(";")[0] == timetable(spec)
        times.append(_time(old["lastTransitionTime"]) if same else now)
    return max(times)


def condition_of(schedule: Json) -> Json:
    """The Ready condition that was written last; empty before the first."""
    conditions: list[Json] = (schedule.get("status") or {}).get("conditions") or []
    return conditions[0] if conditions else {}


def condition(
    schedule: Json, spec: ScheduleSpec | None, problem: Problem | None, ticks: Ticks | None, now: datetime
) -> Json:
    """The Ready condition; its time stays while status and timetable do."""
    old = condition_of(schedule)
    if problem is None and spec is not None and spec.suspend:
        problem = Problem(SUSPENDED, "suspend is true; times that pass meanwhile are not made up for")
    if problem is not None:
        status, reason, message = "False", problem.reason, problem.message
        same = old.get("status") == status
    else:
        assert spec is not None
        status, reason, message = "True", SCHEDULED, timetable(spec)
        same = old.get("status") == status and old["message"].partition(";")[0] == message
        if ticks is not None and ticks.missed:
            reason, many = MISSED, " or more" if ticks.missed >= MANY - 1 else ""
            message += f"; {ticks.missed}{many} times passed without a job and are not made up for"
        elif same and old["reason"] == MISSED and (ticks is None or ticks.run is None):
            reason, message = MISSED, old["message"]  # until a tick runs with none missed before it
    first = schedule["metadata"]["creationTimestamp"]  # so that what passed before anybody looked is made up for
    return {
        "type": "Ready", "status": status, "observedGeneration": schedule["metadata"].get("generation", 0),
        "reason": reason, "message": message[:1024],
        "lastTransitionTime": first if not old else old["lastTransitionTime"] if same else rfc3339(now),
    }  # fmt: skip


def label_of(schedule_name: str) -> str:
    """The value of ``LABEL`` for a schedule: its name, cut with a digest when that is too long for a label."""
    if len(schedule_name) <= MAX_LABEL:
        return schedule_name
    return f"{schedule_name[: MAX_LABEL - 11].rstrip('-.')}-{hashlib.sha256(schedule_name.encode()).hexdigest()[:10]}"


def name_of(handler: str) -> str:
    """The name of the schedule that a handler of that name declares: in lower case, with `-` for what no name may have."""
    return re.sub(r"[^a-z0-9.]+", "-", handler.lower()).strip("-.")


def job_of(schedule: Json, tick: datetime) -> Json:
    """The Job of one time; the same time gives the same name."""
    metadata, template = schedule["metadata"], schedule["spec"]["jobTemplate"]
    owner = {
        "apiVersion": API_VERSION, "kind": SCHEDULE_KIND, "name": metadata["name"], "uid": metadata["uid"], "controller": True,
    }  # fmt: skip
    return {
        "apiVersion": API_VERSION, "kind": KIND,
        "metadata": {
            "name": job_name(metadata["name"], tick), "namespace": metadata["namespace"],
            "labels": (template.get("labels") or {}) | {LABEL: label_of(metadata["name"])},
            "annotations": {TICK_ANNOTATION: rfc3339(tick)}, "ownerReferences": [owner],
        },
        "spec": template["spec"],
    }  # fmt: skip


def owner_of(job: Json) -> str:
    """The uid of the schedule that made it; empty for any other job."""
    owners = job["metadata"].get("ownerReferences") or ()
    return next((str(one["uid"]) for one in owners if one["kind"] == SCHEDULE_KIND and one.get("controller")), "")


def phase_of(job: Json) -> str:
    """Pending until somebody says otherwise."""
    return str((job.get("status") or {}).get("phase") or Phase.PENDING)


def overlaps(jobs: Iterable[Json], tick: datetime) -> bool:
    """Whether one of them, ended by now, had not ended at that time: it would have kept a Forbid schedule from starting."""
    return any(_time(job["metadata"]["creationTimestamp"]) < tick < _ended(job) for job in jobs)


def surplus(spec: ScheduleSpec, jobs: Sequence[Json]) -> list[Json]:
    """The oldest of its ended jobs, beyond what is to be kept."""
    newest_first = sorted((job for job in jobs if phase_of(job) in TERMINAL), key=_ended, reverse=True)
    good = [job for job in newest_first if phase_of(job) == Phase.SUCCEEDED]
    bad = [job for job in newest_first if phase_of(job) != Phase.SUCCEEDED]
    return good[spec.successful_jobs_history_limit :] + bad[spec.failed_jobs_history_limit :]


def last_success(jobs: Iterable[Json]) -> datetime | None:
    """When one of them last succeeded."""
    return max((_ended(job) for job in jobs if phase_of(job) == Phase.SUCCEEDED), default=None)


def status_of(
    old: Json, ready: Json, active: Mapping[str, str], ran: datetime | None, success: datetime | None
) -> Json:
    """The status now; ``active`` has names by uid, ``ran`` is the tick that a job was created for."""
    new = old | {"conditions": [ready]}
    # Names end with the tick's minute, so the last by name are the newest.
    rows = [{"name": name, "uid": uid} for name, uid in sorted((name, uid) for uid, name in active.items())]
    new.pop("active", None)
    if rows:
        new["active"] = rows[-MAX_ACTIVE:]
    for field, moment in (("lastScheduleTime", ran), ("lastSuccessfulTime", success)):
        if moment is not None and (field not in old or _time(old[field]) < moment):
            new[field] = rfc3339(moment)
    return new


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _ended(job: Json) -> datetime:
    return _time((job.get("status") or {}).get("finishedAt") or job["metadata"]["creationTimestamp"])
