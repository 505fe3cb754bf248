"""``/v1/jobs``: submit, read, list, and the verbs of one job."""

from typing import cast

from flask import Blueprint, Response, g, request

from longshore.api import parse
from longshore.api.body_limits import BodyLimit, many, one_large_at_a_time
from longshore.api.context import budget, parts, store
from longshore.api.guard import needs
from longshore.api.problems import pointer
from longshore.api.reply import address, ended, job, reply, with_links
from longshore.errors import Conflict, InvalidRequest, NotFound
from longshore.job import preconditions
from longshore.job.idempotency import fingerprint
from longshore.job.items import array_size
from longshore.job.numerals import whole
from longshore.job.status import Phase
from longshore.store.port import Key, Query

bp = Blueprint("jobs", __name__, url_prefix="/v1")
PHASES = [phase.value for phase in Phase]
FILTERS = ("phase", "queue", "handler", "label")


def idempotency_key(data: object) -> Key | None:
    """The caller's key with what it stands for; raises InvalidRequest for one that is none."""
    text = request.headers.get("Idempotency-Key")
    if text is None:
        return None
    if not 1 <= len(text) <= 255 or not all("!" <= letter <= "~" for letter in text):
        detail = "should be 1 to 255 visible ASCII characters"
        raise InvalidRequest(f"Idempotency-Key: {detail}", errors=[{"header": "Idempotency-Key", "detail": detail}])
    return Key(f"{g.caller.name}/{text}", fingerprint(request.method, request.path, data))


@bp.post("/jobs")
@needs("submit")
def submit() -> Response:
    """Take a job: 202 once it is kept; 200 when ``Prefer: wait=N`` saw its end."""
    parse.known_parameters()
    raw, data = parse.body()
    one, annotations, at = parse.submission(raw, data, store().namespace)
    new = parse.new_job(one, trace=parse.trace(), source=_source(), now=parse.now(), at=at,
                        annotations=annotations)  # fmt: skip
    with budget().wait(parse.preferred_wait()) as wait:
        (answer,) = store().submit([new], key=idempotency_key(data), wait=wait)
    doc = answer.job or store().get(answer.id)
    seen = wait and ended(doc)
    headers = {"Preference-Applied": f"wait={wait:g}"} if seen else {"Location": address(answer.id)}
    if not answer.created:
        headers["Idempotent-Replayed"] = "true"
    return job(doc, 200 if seen else 202, headers)


@bp.post("/jobs:batch")
@needs("submit")
def submit_batch() -> Response:
    """Take up to 1,000 jobs, all or none: 202 once all are kept."""
    parse.known_parameters()
    limit = many(parts().settings.max_body_bytes)
    size = request.content_length
    with one_large_at_a_time(limit.max_bytes if size is None else size):
        return _submit_batch(limit)


def _submit_batch(limit: BodyLimit) -> Response:
    _, data = parse.body(limit)
    submissions, _ = parse.batch(data)
    parse.check_order(submissions)
    trace, source, now = parse.trace(), _source(), parse.now()
    news = [
        parse.new_job(one, trace=trace, source=source, now=now, at=f"/jobs/{index}", batch=True)
        for index, one in enumerate(submissions)
    ]
    answers = store().submit(news, key=idempotency_key(data))
    items = [{"id": answer.id, "created": answer.created} for answer in answers]
    return reply({"count": len(items), "items": items}, 202)


@bp.get("/jobs")
def find() -> Response:
    """One page, newest first."""
    parse.known_parameters(*FILTERS, "limit", "cursor")
    limit = parse.number("limit", 100, low=1, high=parse.MAX_PAGE)
    page = store().find(_query(limit or 100, request.args.get("cursor", "")))
    return reply({"items": [with_links(doc) for doc in page.items], "nextCursor": page.next_cursor})


@bp.get("/jobs:count")
def count() -> Response:
    """How many jobs match, by phase."""
    parse.known_parameters(*FILTERS)
    return reply({"counts": store().count(_query(1, ""))})


def _query(limit: int, cursor: str) -> Query:
    return Query(
        phases=parse.phases(PHASES), queue=request.args.get("queue", ""), handler=request.args.get("handler", ""),
        labels=parse.labels(), limit=limit, cursor=cursor,
    )  # fmt: skip


@bp.get("/jobs/<id:id>")
def get(id: str) -> Response:
    """The job; with ``wait`` not before it ended or the time is over; with If-None-Match not before it changed."""
    parse.known_parameters("wait")
    with budget().wait(parse.seconds("wait")) as wait:
        return job(store().get(id, wait=wait, rev=_known_revision()))


def _known_revision() -> int | None:
    """Of the job that the caller has, by its ETag."""
    for tag in preconditions.known(request.headers.get("If-None-Match", "")):
        if (revision := whole(tag.rpartition("-")[2])) is not None:
            return revision
    return None


@bp.delete("/jobs/<id:id>")
@needs("submit")
def delete(id: str) -> Response:
    """Forget an ended job."""
    parse.known_parameters()
    store().delete(id, only=parse.precondition())
    return Response(status=204)


@bp.post("/jobs/<id:id>:cancel")
@needs("submit")
def cancel(id: str) -> Response:
    """Ask the job to end; it has when its phase says so."""
    parse.known_parameters()
    fields = _optional_object("graceSeconds")
    grace = fields.get("graceSeconds")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int | float) or not 0 <= grace <= 3600):
        raise InvalidRequest("/graceSeconds: should be from 0 to 3600",
                             errors=[{"pointer": "/graceSeconds", "detail": "should be from 0 to 3600"}])  # fmt: skip
    return job(store().cancel(id, grace=grace, key=idempotency_key(fields), only=parse.precondition()), 202)


@bp.post("/jobs/<id:id>:redrive")
@needs("submit")
def redrive(id: str) -> Response:
    """Send a failed job round again, with ``dependents`` also those that failed because of it."""
    parse.known_parameters()
    fields = _optional_object("dependents")
    dependents = fields.get("dependents", False)
    if not isinstance(dependents, bool):
        raise InvalidRequest("/dependents: should be true or false",
                             errors=[{"pointer": "/dependents", "detail": "should be true or false"}])  # fmt: skip
    key = idempotency_key(fields)
    return job(store().redrive(id, dependents=dependents, key=key, only=parse.precondition()), 202)


@bp.post("/jobs/<id:id>:suspend")
@needs("submit")
def suspend(id: str) -> Response:
    """Keep a waiting job waiting."""
    parse.known_parameters()
    return job(store().suspend(id, key=idempotency_key(_optional_object()), only=parse.precondition()))


@bp.post("/jobs/<id:id>:resume")
@needs("submit")
def resume(id: str) -> Response:
    """Let a suspended job go on."""
    parse.known_parameters()
    return job(store().resume(id, key=idempotency_key(_optional_object()), only=parse.precondition()))


@bp.get("/jobs/<id:id>/result")
def result(id: str) -> Response:
    """What the handler returned, alone; of an array a page of what its items returned, by index."""
    parse.known_parameters("after", "limit")
    place = _page_of_items()  # wrong ones are refused for every job, though they choose something of an array alone
    doc = store().get(id)
    status, spec = cast("dict[str, object]", doc["status"]), cast("dict[str, object]", doc["spec"])
    array = array_size(spec) > 0
    way = f"; what its items returned is at /v1/jobs/{id}/items" if array else ""
    if not ended(doc):
        raise Conflict(f"job {id} is {status['phase']}; its result comes when it has succeeded{way}")
    if status["phase"] != Phase.SUCCEEDED:
        raise NotFound(f"job {id} ended as {status['phase']} and has no result{way}")
    if array:
        found, after = _items(id, *place)
        names = ("index", "result", "resultRef", "resultNotKept")
        return reply({"items": [{name: item[name] for name in names if name in item} for item in found],
                      "nextAfter": after})  # fmt: skip
    there = "result" in status or "resultRef" not in status
    return reply(status.get("result") if there else store().result(id))


@bp.get("/jobs/<id:id>/items")
def items(id: str) -> Response:
    """Items of an array job that were ever started, by index."""
    parse.known_parameters("after", "limit")
    found, after = _items(id, *_page_of_items())
    return reply({"items": found, "nextAfter": after})


def _page_of_items() -> tuple[int, int]:
    """The index behind which a page begins, and how many items it holds at most; raises InvalidRequest."""
    after = parse.number("after", -1, low=-1, high=10**9)
    limit = parse.number("limit", 100, low=1, high=parse.MAX_PAGE) or 100
    return -1 if after is None else after, limit


def _items(id: str, after: int, limit: int) -> tuple[list[dict[str, object]], object]:
    """A page of items and where the next one begins, None on the last."""
    found, more = store().items(id, after=after, limit=limit)
    return found, found[-1]["index"] if more else None


@bp.get("/jobs/<id:id>/explain")
def explain(id: str) -> Response:
    """Why the job stands where it stands."""
    parse.known_parameters()
    return reply(store().explain(id))


def _optional_object(*names: str) -> dict[str, object]:
    """The body of a verb: nothing, or an object of the named fields."""
    if not request.content_length and not request.mimetype:
        return {}
    if not request.get_data(cache=True).strip():
        return {}
    fields = parse.an_object(parse.body()[1])
    for name in fields:
        if name not in names:
            raise InvalidRequest(f"/{name}: there is no such field", errors=[
                {"pointer": pointer([name]), "detail": "there is no such field"}])  # fmt: skip
    return fields


def _source() -> str:
    return "cli" if request.headers.get("User-Agent", "").startswith("longshore-cli") else "api"
