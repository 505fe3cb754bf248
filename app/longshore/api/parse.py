"""Bodies and parameters as values; every complaint names the field."""

import base64
import binascii
import difflib
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NoReturn, TypeVar, cast

import orjson
from flask import current_app, g, request
from pydantic import BaseModel, TypeAdapter, ValidationError

from longshore.api.body_limits import ONE, BodyLimit
from longshore.api.problems import NotJson, WrongType, invalid, pointer
from longshore.errors import InvalidRequest, UnknownHandler
from longshore.handlers import Handler
from longshore.job import preconditions, trace_context
from longshore.job.dependencies import cycle
from longshore.job.idempotency import fingerprint, name_from_time
from longshore.job.nesting import SHOWN_DEPTH, cut, shallow
from longshore.job.numerals import decimal as plain_decimal
from longshore.job.numerals import signed, whole
from longshore.job.preconditions import Precondition
from longshore.job.spec import JobSpec, Manifest, Submission
from longshore.store.port import NewJob

MAX_BATCH = 1000
MAX_WAIT_SECONDS = 30.0
MAX_PAGE = 1000
# Kinds of resources that are no jobs, and what stands for them where there is no cluster.
_OTHER_KINDS = {
    "Queue": "Where the service runs on one machine, [queues.NAME] in its settings makes a queue, and `longshore queues set` changes it.",
    "Schedule": "`POST /v1/schedules` and `longshore submit -f` take a Schedule.",
}
_YAML = ("application/yaml", "application/x-yaml", "text/yaml")
_JSON = ("application/json", "application/merge-patch+json")
# One preference of a list, without its parameters: what stands before the first ``;``. Quoted text may hold both signs.
_PREFERENCE = re.compile(r'((?:[^,;"]|"(?:[^"\\]|\\.)*"?)+)(?:;(?:[^,"]|"(?:[^"\\]|\\.)*"?)*)?')
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAN = re.compile(rb"[^\w\"](-?(NaN|Infinity))\b")
_submissions: TypeAdapter[list[Submission]] = TypeAdapter(list[Submission])
Model = TypeVar("Model", bound=BaseModel)


def body(limit: BodyLimit = ONE) -> tuple[bytes, Any]:
    """The body as JSON bytes and as data; raises NotJson, WrongType, InvalidRequest, TooLarge."""
    _must_be_plain_text()
    limit.check_size(request.content_length or 0)
    data = request.get_data(cache=False)
    limit.check_size(len(data))
    if request.mimetype in _YAML:
        from longshore.api.manifest import parse as from_yaml  # rare, and a worker is to start quickly

        ONE.check_size(len(data))
        return from_yaml(data)
    if request.mimetype not in _JSON:
        shown = request.mimetype[:100] or "none"
        raise WrongType(f"send the body as application/json or application/yaml, not {shown}")
    limit.check_values(data)
    try:
        return data, orjson.loads(data)
    except orjson.JSONDecodeError as error:
        with suppress(orjson.JSONDecodeError):
            short = cut(data, SHOWN_DEPTH)  # what is too deep is refused by the field that it is in
            return short, orjson.loads(short)
        if _NAN.search(data):
            raise NotJson("the body is not JSON: NaN and Infinity are no JSON numbers") from None
        raise NotJson(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None


def _must_be_plain_text() -> None:
    """Raises WrongType for a body that says that it is packed, or in another encoding than UTF-8."""
    packed = request.headers.get("Content-Encoding", "identity").strip()
    if packed.lower() not in ("", "identity"):
        raise WrongType(f"send the body as it is: Content-Encoding {packed[:40]!r} is not taken")
    charset = request.mimetype_params.get("charset", "utf-8")
    if charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise WrongType(f"send the body in UTF-8: charset {charset[:40]!r} is not taken")


def an_object(data: Any) -> dict[str, Any]:
    """The body as an object."""
    if not isinstance(data, dict):
        raise InvalidRequest(
            "the body should be one JSON object", errors=[{"pointer": "", "detail": "should be an object"}]
        )
    return data


def model(kind: type[Model], raw: bytes, prefix: str = "") -> Model:
    """The body as a model, by its outside names only."""
    try:
        return kind.model_validate_json(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        # It was JSON when it came in; pydantic reads some 200 levels.
        if error.errors()[0]["type"] == "json_invalid" and (short := cut(raw, SHOWN_DEPTH)) != raw:
            return model(kind, short, prefix)
        raise invalid(error, prefix) from None


def submission(raw: bytes, data: Any, namespace: str) -> tuple[Submission, Mapping[str, str], str]:
    """One job, a submission or a whole manifest; with its annotations, and where its specification stands in the body."""
    fields = an_object(data)
    if "apiVersion" not in fields and "kind" not in fields:
        return model(Submission, raw), {}, ""
    kind = fields.get("kind")
    if isinstance(kind, str) and kind in _OTHER_KINDS:  # it may be any JSON
        detail = f"this takes a Job, not a {kind}. {_OTHER_KINDS[kind]}"
        raise InvalidRequest(f"/kind: {detail}", errors=[{"pointer": "/kind", "detail": detail}])
    manifest = model(Manifest, raw)
    check_namespace(manifest.metadata.namespace, namespace)
    return manifest.submission(), manifest.metadata.annotations, "/spec"


def check_namespace(named: str | None, namespace: str) -> None:
    """A manifest is for the namespace of the request; raises InvalidRequest."""
    if named not in (None, namespace):
        detail = f"is not the namespace of the request, {namespace}; ?namespace= names another where there are others"
        raise InvalidRequest(f"/metadata/namespace: {detail}",
                             errors=[{"pointer": "/metadata/namespace", "detail": detail}])  # fmt: skip


def batch(data: Any) -> tuple[list[Submission], list[dict[str, Any]]]:
    """Up to 1,000 jobs, as ``{"jobs": [...]}`` or a bare list."""
    jobs = data.get("jobs") if isinstance(data, dict) else data
    unknown = [name for name in data if name not in ("jobs", "labels")] if isinstance(data, dict) else []
    if unknown:
        raise InvalidRequest(f"/{unknown[0]}: there is no such field", errors=[
            {"pointer": pointer([name]), "detail": "there is no such field"} for name in unknown])  # fmt: skip
    if not isinstance(jobs, list) or not 1 <= len(jobs) <= MAX_BATCH:
        raise InvalidRequest(f"/jobs: should be a list of 1 to {MAX_BATCH} jobs",
                             errors=[{"pointer": "/jobs", "detail": f"should be a list of 1 to {MAX_BATCH} jobs"}])  # fmt: skip
    shared = data.get("labels") if isinstance(data, dict) else None
    if shared is not None:
        jobs = [_labelled(job, an_object(shared)) for job in jobs]
    try:
        return _submissions.validate_json(orjson.dumps(jobs), by_alias=True, by_name=False), jobs
    except TypeError:  # orjson writes 254 levels; what is refused by its field then stands there all the same
        return batch(shallow(data, SHOWN_DEPTH))
    except ValidationError as error:
        raise invalid(error, "/jobs") from None


def _labelled(job: object, shared: dict[str, Any]) -> object:
    """The job with the batch's labels; what is wrong with it is found later, by its place."""
    if not isinstance(job, dict) or not isinstance(job.get("labels", {}), dict):
        return job
    return {**job, "labels": {**job.get("labels", {}), **shared}}


def new_job(job: Submission, *, trace: tuple[str, str], source: str, now: float, at: str = "",
            annotations: Mapping[str, str] | None = None, batch: bool = False) -> NewJob:  # fmt: skip
    """On its way into the store; raises UnknownHandler, InvalidRequest for its arguments."""
    check_handler(job, at)
    if job.name in job.after:
        _refuse_after(at, job.after.index(job.name), "it would wait for itself")
    spec = job.model_dump_json(exclude_unset=True, exclude={"name", "labels"}).encode()
    named = job.name is not None
    digest = fingerprint("POST", "/v1/jobs", [orjson.loads(spec), job.labels]) if named else ""
    spec = _with_defaults(job, spec)
    id = job.name or name_from_time(now, int.from_bytes(os.urandom(10)))
    return NewJob(id, named, spec, digest, job.labels, *trace, source, annotations or {}, job.after, batch, at)


def _with_defaults(job: Submission, spec: bytes) -> bytes:
    """With what the handler wants for jobs that say nothing themselves."""
    handler = current_app.extensions["longshore"].apps.handlers.get(job.handler)
    if handler is None or not handler.spec:
        return spec
    given: dict[str, object] = orjson.loads(spec)
    return orjson.dumps({**handler.spec, **{name: value for name, value in given.items() if value is not None}})


def check_order(jobs: Sequence[Submission]) -> None:
    """No job of a batch waits for itself by way of others; raises InvalidRequest that names one in the cycle."""
    places = {job.name: place for place, job in enumerate(jobs) if job.name is not None}
    if (found := cycle({name: jobs[place].after for name, place in places.items()})) is not None:
        name, other = found
        at = jobs[places[name]].after.index(other)
        detail = f"{other} waits for {name}, directly or through others, so neither could ever start"
        _refuse_after(f"/jobs/{places[name]}", at, detail if name != other else "it would wait for itself")


def _refuse_after(at: str, place: int, detail: str) -> NoReturn:
    pointer = f"{at}/after/{place}"
    raise InvalidRequest(f"{pointer}: {detail}", errors=[{"pointer": pointer, "detail": detail}])


def check_handler(job: JobSpec, at: str = "") -> None:
    """The handler is known here and takes these arguments."""
    handlers: Mapping[str, Handler] = current_app.extensions["longshore"].apps.handlers
    if job.handler is None:
        if not current_app.extensions["longshore"].settings.commands:
            text = "command jobs are switched off here; the setting commands allows them"
            raise InvalidRequest(f"{at}/command: {text}", errors=[{"pointer": f"{at}/command", "detail": text}])
        return
    handler = handlers.get(job.handler)
    if handler is None and not current_app.extensions["longshore"].store.strict_handlers:
        return  # workers of the cluster may know it
    if handler is None:
        near = difflib.get_close_matches(job.handler, handlers, n=3)
        hint = (
            f"; did you mean {' or '.join(near)}?" if near else f"; there are: {', '.join(sorted(handlers)) or 'none'}"
        )
        raise UnknownHandler(f"there is no handler {job.handler!r}{hint}",
                             errors=[{"pointer": f"{at}/handler", "detail": f"no such handler{hint}"}])  # fmt: skip
    if job.items is None:
        _check_args(handler, job.args, f"{at}/args")
    else:
        for index, item in enumerate(job.items):
            _check_args(handler, {**job.args, **item}, f"{at}/items/{index}")


def _check_args(handler: Handler, args: Mapping[str, object], at: str) -> None:
    try:
        handler.arguments.model_validate(dict(args))
    except ValidationError as error:
        raise invalid(error, at) from None


@cache
def _flag(text: str) -> bool:
    if text.lower() not in ("", "1", "0", "true", "false"):
        raise ValueError(text)
    return text.lower() in ("", "1", "true")


def flag(name: str) -> bool:
    """A yes/no query parameter; ``?follow`` means yes."""
    text = request.args.get(name)
    try:
        return text is not None and _flag(text)
    except ValueError:
        raise _parameter(name, "should be true or false") from None


def number(name: str, default: int | None, *, low: int, high: int) -> int | None:
    """A whole number from the query."""
    text = request.args.get(name)
    if text is None:
        return default
    if (value := signed(text)) is None:
        raise _parameter(name, "should be a whole number")
    if not low <= value <= high:
        raise _parameter(name, f"should be from {low} to {high}")
    return value


def decimal(name: str, default: float | None, *, low: float, high: float) -> float | None:
    """A number from the query."""
    text = request.args.get(name)
    if text is None:
        return default
    if (value := plain_decimal(text)) is None:
        raise _parameter(name, "should be a number")
    if not low <= value <= high:
        raise _parameter(name, f"should be from {low:g} to {high:g}")
    return value


def seconds(name: str) -> float:
    """A time to wait from the query, such as ``20`` or ``20s``; at most 30."""
    return _wait(request.args.get(name, "0"), name)


def _wait(text: str, name: str) -> float:
    if (value := plain_decimal(text.removesuffix("s"))) is None:
        raise _parameter(name, "should be a number of seconds")
    if value < 0:
        raise _parameter(name, "should not be negative")
    return min(value, MAX_WAIT_SECONDS)


def preferred_wait() -> float:
    """``Prefer: wait=N`` (RFC 7240) in seconds; 0 without. What is not understood is ignored, as the RFC says."""
    for preference in _PREFERENCE.findall(request.headers.get("Prefer", "")):
        name, _, value = preference.strip().partition("=")
        if name.strip().lower() == "wait":  # of several the first counts, as the RFC says
            return min(float(whole(value.strip(' "')) or 0), MAX_WAIT_SECONDS)
    return 0.0


def labels() -> dict[str, str]:
    """``label=key=value``, any number of times."""
    found = {}
    for text in request.args.getlist("label"):
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise _parameter("label", "should be key=value")
        found[key] = value
    return found


def phases(allowed: Sequence[str]) -> list[str]:
    """``phase=…``, any number of times, in any case."""
    known = {phase.lower(): phase for phase in allowed}
    texts = [word for text in request.args.getlist("phase") for word in text.split(",")]
    wrong = [text for text in texts if text.lower() not in known]
    if wrong:
        raise _parameter("phase", f"should be one of {', '.join(allowed)}")
    return [known[text.lower()] for text in texts]


def namespace() -> str:
    """The namespace that the query names, empty for none; raises InvalidRequest for what is no name of one."""
    text = request.args.get("namespace", "") if request.query_string else ""
    if text and not _NAMESPACE.fullmatch(text):
        raise _parameter("namespace", "should be the name of a namespace")
    return text


def known_parameters(*names: str, namespaced: bool = True) -> None:
    """Refuse a query parameter that would silently do nothing; what is ``namespaced`` takes a namespace too."""
    if not request.query_string:
        return
    names = (*names, "namespace") if namespaced else names
    for name in request.args:
        if name not in names:
            there = f"there are: {', '.join(names)}" if names else "this route takes none"
            raise _parameter(name, f"there is no such parameter; {there}")


def precondition() -> Precondition:
    """``If-Match`` and ``If-None-Match`` of a request that changes something; raises InvalidRequest."""
    return preconditions.read(request.headers.get("If-Match"), request.headers.get("If-None-Match"))


def trace() -> tuple[str, str]:
    """The caller's W3C trace context: traceparent and tracestate, each empty unless it is one."""
    if (own := g.get("trace")) is not None:
        return cast("tuple[str, str]", own)  # the span of this request, see ``tracing``
    parent = trace_context.traceparent(request.headers.get("traceparent", ""))
    return parent, trace_context.tracestate(request.headers.get("tracestate", ""), parent)


def basic_password(header: str) -> str:
    """The password of a Basic authorization: tools that know no bearer tokens can send one there."""
    try:
        return base64.b64decode(header, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


def _parameter(name: str, detail: str) -> InvalidRequest:
    return InvalidRequest(f"{name}: {detail}", errors=[{"parameter": name, "detail": detail}])
