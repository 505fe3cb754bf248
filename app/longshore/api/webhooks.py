"""``/v1/webhooks``: deliveries that wait or were given up, and how to have them tried again."""

from flask import Blueprint, Response, request

from longshore.api import parse
from longshore.api.context import store
from longshore.api.guard import needs
from longshore.api.jobs import idempotency_key
from longshore.api.problems import pointer
from longshore.api.reply import reply
from longshore.errors import InvalidRequest

# An application may well have a blueprint called webhooks.
bp = Blueprint("longshore_webhooks", __name__)

MAX_JOBS = 1000
MAX_AFTER = 300


@bp.get("/v1/webhooks")
def deliveries() -> Response:
    """One page of deliveries that are not made: by id, in a cluster by the name of the job."""
    parse.known_parameters("after", "limit")
    after = request.args.get("after", "")
    if len(after) > MAX_AFTER:
        raise InvalidRequest("after: is no nextAfter of a page", errors=[
            {"parameter": "after", "detail": "is no nextAfter of a page"}])  # fmt: skip
    limit = parse.number("limit", 100, low=1, high=parse.MAX_PAGE) or 100
    found, following = store().deliveries(after=after, limit=limit)
    return reply({"items": found, "nextAfter": following})


@bp.post("/v1/webhooks:retry")
@needs("submit")
def retry() -> Response:
    """Try deliveries again now: of the named jobs, or all that wait or were given up."""
    parse.known_parameters()
    fields = parse.an_object(parse.body()[1])
    idempotency_key({})  # checked and not remembered: done twice, it is the same
    return reply({"count": store().retry_deliveries(_wanted(fields))}, 202)


def _wanted(fields: dict[str, object]) -> list[str] | None:
    """Names of jobs, or None for all; raises InvalidRequest unless exactly one of both is said."""
    for name in fields:
        if name not in ("jobs", "all"):
            raise _wrong(pointer([name]), "there is no such field")
    if "jobs" not in fields:
        if fields.get("all") is not True:
            raise _wrong("", "say `jobs`, a list of names, or `all`, which is true")
        return None
    jobs = fields["jobs"]
    if "all" in fields:
        raise _wrong("/all", "`jobs` and `all` exclude each other")
    if not isinstance(jobs, list) or not 1 <= len(jobs) <= MAX_JOBS:
        raise _wrong("/jobs", f"should be a list of 1 to {MAX_JOBS} names of jobs")
    for place, job in enumerate(jobs):
        if not isinstance(job, str) or not 1 <= len(job) <= 253:
            raise _wrong(f"/jobs/{place}", "should be the name of a job")
    return list(dict.fromkeys(jobs))


def _wrong(where: str, detail: str) -> InvalidRequest:
    return InvalidRequest(f"{where or 'the body'}: {detail}", errors=[{"pointer": where, "detail": detail}])
