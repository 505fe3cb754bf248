"""Answers: JSON by orjson, jobs with their links, ETags."""

from collections.abc import Mapping
from typing import cast

import orjson
from flask import Response, request

from longshore.api import parse
from longshore.job import preconditions
from longshore.job.nesting import SHOWN_DEPTH, shallow
from longshore.job.status import TERMINAL
from longshore.store.port import JobDoc

JSON = "application/json"
_ENDED = frozenset(phase.value for phase in TERMINAL)


def reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    try:
        data = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # an API server takes deeper objects than orjson writes
        data = orjson.dumps(shallow(value, SHOWN_DEPTH), option=orjson.OPT_NON_STR_KEYS)
    return Response(data, status, headers, content_type=JSON)


def phase_of(doc: JobDoc) -> str:
    """The job's phase."""
    return str(cast("dict[str, object]", doc["status"])["phase"])


def ended(doc: JobDoc) -> bool:
    """Whether the job has ended."""
    return phase_of(doc) in _ENDED


def address(id: str, kind: str = "jobs") -> str:
    """Of a job or a schedule, in the namespace of the request, behind the prefix that the caller came by."""
    namespace = parse.namespace()
    own = f"{request.script_root}/v1/{kind}/{id}"
    return f"{own}?namespace={namespace}" if namespace else own


def with_links(doc: JobDoc) -> JobDoc:
    """The document as it goes out: revision to the ETag, links in."""
    own = address(str(doc["id"]))
    base, _, query = own.partition("?")
    query = f"?{query}" if query else ""
    names = ["events", "logs", "explain"] if not ended(doc) else ["events", "logs", "result"]
    links = {"self": own, **{name: f"{base}/{name}{query}" for name in names}}
    if not ended(doc):
        links["cancel"] = f"{base}:cancel{query}"
    elif phase_of(doc) == "Failed":
        links["redrive"] = f"{base}:redrive{query}"
    return {**{name: value for name, value in doc.items() if name != "rev"}, "links": links}


def job(doc: JobDoc, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """One job; 304 when the caller has it as it is."""
    tag = preconditions.job_tag(doc)
    own = {"ETag": f'"{tag}"', **(headers or {})}
    if not ended(doc):
        own["Retry-After"] = "1"
    return not_modified(tag, own) or reply(with_links(doc), status, own)


def queue(doc: JobDoc, status: int = 200) -> Response:
    """One queue; 304 when the caller has it as it is, depths included."""
    tag = preconditions.queue_tag(doc)
    own = {"ETag": f'"{tag}"'}
    return not_modified(tag, own) or reply(doc, status, own)


def not_modified(tag: str, headers: Mapping[str, str]) -> Response | None:
    """304 for a reader who has the representation of the tag, or any when ``If-None-Match`` is ``*``."""
    if request.method not in ("GET", "HEAD"):
        return None
    has = preconditions.known(request.headers.get("If-None-Match", ""))
    return Response(status=304, headers=headers) if tag in has or preconditions.ANY in has else None
