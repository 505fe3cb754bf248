"""``/v1/attempts`` of a worker: what the operator hands over, the feed of outcomes, stop and output of one attempt."""

import re
from typing import Any

from flask import Blueprint, Response, request

from longshore.api import parse
from longshore.api.body_limits import many
from longshore.api.context import attempts, budget, parts, polls
from longshore.api.guard import needs
from longshore.api.reply import reply
from longshore.api.streams import TURN_SECONDS, follow, page
from longshore.errors import InvalidRequest, RequestError
from longshore.job.attempts import CURSOR, VERSION, Offers
from longshore.job.spec import MAX_ITEMS

bp = Blueprint("attempts", __name__, url_prefix="/v1")


class WrongVersion(RequestError):
    """The operator speaks another version of the attempts API."""

    code = "unsupported-version"
    status = 400


@bp.post("/attempts")
@needs("admin")
def take() -> Response:
    """Start attempts now, or say of each why not."""
    parse.known_parameters()
    raw, data = parse.body(many(parts().settings.max_body_bytes))
    _check_version(parse.an_object(data))
    return reply(attempts().take(parse.model(Offers, raw)))


def _check_version(fields: dict[str, Any]) -> None:
    # Before anything else: the body of another version may look different altogether.
    version = fields.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version != VERSION:
        raise WrongVersion(f"this worker speaks version {VERSION} of the attempts API, not {version}")


@bp.get("/attempts")
@needs("admin")
def feed() -> Response:
    """What happened since the cursor ``after``; up to ``ack`` it is on record and can be forgotten."""
    parse.known_parameters("after", "ack", "wait")
    after = _cursor("after")
    acknowledged = _cursor("ack") if "ack" in request.args else after
    with polls().wait(parse.seconds("wait")) as wait:
        return reply(attempts().feed(after, acknowledged, wait=wait))


def _cursor(name: str) -> str:
    cursor = request.args.get(name, "")
    if cursor and not re.fullmatch(CURSOR, cursor):
        detail = "should be a cursor that this API gave"
        raise InvalidRequest(f"{name}: {detail}", errors=[{"parameter": name, "detail": detail}])
    return cursor


@bp.delete("/attempts/<uid:uid>/<number:number>")
@needs("admin")
def stop(uid: str, number: int) -> Response:
    """Stop an attempt; its outcome comes through the feed when its process is gone."""
    parse.known_parameters("index", "graceSeconds")
    grace = parse.decimal("graceSeconds", None, low=0, high=3600)
    return reply(attempts().stop(uid, number, index=_index(), grace=grace), 202)


@bp.get("/attempts/<uid:uid>/<number:number>/logs")
@needs("admin")
def logs(uid: str, number: int) -> Response:
    """Output of an attempt that runs, or ended not long ago; ``follow`` goes on until it ends."""
    parse.known_parameters("index", "offset", "follow", "wait")
    index, here = _index(), attempts()
    offset = parse.number("offset", 0, low=-(10**12), high=10**12) or 0
    if parse.flag("follow"):
        chunk = here.logs(uid, number, index=index, offset=offset)
        return follow(chunk, lambda at: here.logs(uid, number, index=index, offset=at, wait=TURN_SECONDS))
    with budget().wait(parse.seconds("wait")) as wait:
        return page(here.logs(uid, number, index=index, offset=offset, wait=wait))


def _index() -> int | None:
    return parse.number("index", None, low=0, high=MAX_ITEMS - 1)
