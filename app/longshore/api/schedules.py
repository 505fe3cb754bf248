"""``/v1/schedules``: jobs by the clock; look at schedules, make and change them, pause them, and run one now."""

import os
from datetime import UTC, datetime
from typing import cast

from flask import Blueprint, Response, request

from longshore.api import parse
from longshore.api.context import schedules, store
from longshore.api.guard import needs
from longshore.api.jobs import idempotency_key
from longshore.api.reply import address, job, not_modified, reply
from longshore.errors import InvalidRequest
from longshore.job import preconditions, schedule_rules
from longshore.job.idempotency import name_from_time
from longshore.job.schedule import ScheduleManifest, ScheduleReplacement, ScheduleSpec, ScheduleSubmission
from longshore.job.spec import rfc3339
from longshore.store.schedule_port import ScheduleDoc

bp = Blueprint("schedules", __name__)
MAX_NEXT = 100
_NAME_ROOM = 253 - 27  # what a generated name leaves of a job's name


@bp.get("/v1/schedules")
def find() -> Response:
    """One page, by name."""
    parse.known_parameters("limit", "cursor")
    limit = parse.number("limit", 100, low=1, high=parse.MAX_PAGE) or 100
    found, following = schedules().schedules(cursor=request.args.get("cursor", ""), limit=limit)
    now = datetime.now(UTC)
    return reply({"items": [_shown(doc, now, 1) for doc in found], "nextCursor": following})


@bp.get("/v1/schedules/<id:name>")
def get(name: str) -> Response:
    """The schedule, with its next times."""
    parse.known_parameters("next")
    count = parse.number("next", 1, low=0, high=MAX_NEXT)
    return _schedule(schedules().schedule(name), count=1 if count is None else count)


@bp.post("/v1/schedules")
@needs("admin")
def create() -> Response:
    """Make a schedule: 201, or 200 when there is the same one already."""
    parse.known_parameters()
    raw, data = parse.body()
    idempotency_key(data)  # the name does what a key is for
    found, at = _submission(raw, data, ScheduleSubmission)
    assert found.name is not None  # of a submission
    return _put(found.name, found, at, replace=False)


@bp.put("/v1/schedules/<id:name>")
@needs("admin")
def put(name: str) -> Response:
    """Make a schedule or replace it as a whole: 201 or 200."""
    parse.known_parameters()
    raw, data = parse.body()
    found, at = _submission(raw, data, ScheduleReplacement)
    if found.name not in (None, name):
        where = "/metadata/name" if at else "/name"
        detail = f"should be the name in the path, {name}"
        raise InvalidRequest(f"{where}: {detail}", errors=[{"pointer": where, "detail": detail}])
    return _put(name, found, at, replace=True)


@bp.delete("/v1/schedules/<id:name>")
@needs("admin")
def delete(name: str) -> Response:
    """Remove the schedule and its jobs."""
    parse.known_parameters()
    schedules().delete_schedule(name, only=_precondition())
    return Response(status=204)


@bp.post("/v1/schedules/<id:name>:pause")
@needs("admin")
def pause(name: str) -> Response:
    """Create no more jobs."""
    parse.known_parameters()
    idempotency_key({})
    return _schedule(schedules().pause_schedule(name, on=True, only=_precondition()))


@bp.post("/v1/schedules/<id:name>:resume")
@needs("admin")
def resume(name: str) -> Response:
    """Go on; times that passed meanwhile are not made up for."""
    parse.known_parameters()
    idempotency_key({})
    return _schedule(schedules().pause_schedule(name, on=False, only=_precondition()))


@bp.post("/v1/schedules/<id:name>:trigger")
@needs("submit")
def trigger(name: str) -> Response:
    """A job of the schedule now, whatever the clock says."""
    parse.known_parameters()
    generated = name_from_time(parse.now(), int.from_bytes(os.urandom(10)))
    id = f"{name[:_NAME_ROOM].rstrip('-.')}-{generated}"
    found = schedules().trigger_schedule(name, id, key=idempotency_key({}), only=_precondition())
    return job(found, 202, {"Location": address(str(found["id"]))})


def _precondition() -> preconditions.Precondition:
    return parse.precondition().of_first_word()


def _submission(raw: bytes, data: object, kind: type[ScheduleReplacement]) -> tuple[ScheduleReplacement, str]:
    """A submission or a whole manifest, and where its specification stands in the body; raises InvalidRequest."""
    fields = parse.an_object(data)
    if "apiVersion" not in fields and "kind" not in fields:
        return parse.model(kind, raw), ""
    manifest = parse.model(ScheduleManifest, raw)
    parse.check_namespace(manifest.metadata.namespace, store().namespace)
    given = {name: getattr(manifest.spec, name) for name in manifest.spec.model_fields_set}
    return ScheduleSubmission.model_construct(
        _fields_set=set(given) | {"name", "labels"},
        name=manifest.metadata.name, labels=manifest.metadata.labels, **given,
    ), "/spec"  # fmt: skip


def _put(name: str, asked: ScheduleReplacement, at: str, *, replace: bool) -> Response:
    parse.check_handler(asked.job_template.spec, f"{at}/jobTemplate/spec")
    spec = asked.model_dump_json(exclude_unset=True, exclude={"name", "labels"}).encode()
    found, created = schedules().put_schedule(name, asked.labels, spec, replace=replace, only=_precondition())
    return _schedule(found, 201 if created else 200)


def _schedule(doc: ScheduleDoc, status: int = 200, *, count: int = 1) -> Response:
    tag = preconditions.schedule_tag(doc)
    headers = {"ETag": f'"{tag}"'}
    if status == 201:
        headers["Location"] = address(str(doc["name"]), "schedules")
    return not_modified(tag, headers) or reply(_shown(doc, datetime.now(UTC), count), status, headers)


def _shown(doc: ScheduleDoc, now: datetime, count: int) -> ScheduleDoc:
    """With the next times, which are computed here: nobody keeps them."""
    spec = schedule_rules.parse(cast("schedule_rules.Json", doc))
    times = schedule_rules.upcoming(spec, now, count) if isinstance(spec, ScheduleSpec) else []
    return {**doc, "nextTimes": [rfc3339(time) for time in times]}
