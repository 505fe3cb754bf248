"""Every error as ``application/problem+json`` (RFC 9457): one shape, one table, no traceback."""

from collections.abc import Mapping, Sequence

import orjson
from flask import Flask, Response, current_app, g, request
from gunicorn.http.errors import NoMoreData, ParseException
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from longshore.api.connections.log_lines import REFUSAL
from longshore.api.connections.refusals import CODES, MEDIA_TYPE, detail_of, status_of
from longshore.errors import InvalidRequest, LongshoreError
from longshore.job.wording import sentence

MAX_TEXT = 1000
"""Characters of a sentence or a pointer in a problem."""
MAX_ERRORS = 50
"""Errors that a problem names."""


class NotJson(LongshoreError):
    """The body is not JSON."""

    code = "not-json"
    status = 400


class WrongType(LongshoreError):
    """The body has a media type that is not taken here."""

    code = "unsupported-media-type"
    status = 415


def problem(
    status: int, code: str, detail: str, *, errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:  # fmt: skip
    """A problem document."""
    body: dict[str, object] = {
        "type": f"/problems/{code}", "title": code.replace("-", " "), "status": status, "detail": short(detail),
        "requestId": g.get("request_id", ""),
    }  # fmt: skip
    caller = g.get("caller")
    request.environ[REFUSAL] = {"code": code, "detail": body["detail"], "caller": caller.name if caller else ""}
    if errors:
        body["errors"] = [{name: short(text) for name, text in error.items()} for error in errors[:MAX_ERRORS]]
    return Response(orjson.dumps(body), status, headers, content_type=MEDIA_TYPE)


def short(text: str) -> str:
    """The text, cut where it is long: what was sent may be in it, and is not sent back at length."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"


def invalid(error: ValidationError, prefix: str = "") -> InvalidRequest:
    """pydantic's findings as ours: a JSON pointer and a sentence each; the input is never echoed."""
    found = [
        {"pointer": prefix + pointer(e["loc"]), "detail": sentence(e["type"], e["msg"])}
        for e in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    first = found[0]
    where = first["pointer"] or "the body"
    return InvalidRequest(f"{where}: {first['detail']}", errors=found)


def pointer(location: Sequence[object]) -> str:
    """RFC 6901."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)


def register(app: Flask) -> None:
    """Answer all errors of the application."""
    app.register_error_handler(LongshoreError, _ours)
    app.register_error_handler(HTTPException, _flasks)
    app.register_error_handler(ParseException, _unreadable)
    app.register_error_handler(NoMoreData, _unreadable)
    app.register_error_handler(Exception, _unexpected)


def _ours(error: LongshoreError) -> Response:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="longshore"'
    if error.status in (429, 503):
        headers.setdefault("Retry-After", "1")
    errors: Sequence[Mapping[str, str]] = getattr(error, "errors", ())  # those of an invalid request have some
    return problem(error.status, error.code, error.message, errors=errors, headers=headers)


def _flasks(error: HTTPException) -> Response:
    status = error.code or 500
    if error.response is not None or status < 400:
        return error.get_response()  # type: ignore[return-value]  # werkzeug's own redirect
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return problem(status, CODES.get(status, "error"), error.description or "", headers=headers)


def _unreadable(error: Exception) -> Response:
    """The body is not what its head says: broken chunks, a broken trailer, an end before its time."""
    status = status_of(error)
    return problem(status, CODES.get(status, "bad-request"), detail_of(error, status))


def _unexpected(error: Exception) -> Response:
    # The path is written as JSON: in a line for people, a line feed of it would begin another.
    where = {"requestId": g.get("request_id", ""), "method": request.method, "path": request.path}
    current_app.logger.exception("request failed: %s", orjson.dumps(where).decode(), exc_info=error)
    return problem(500, "internal", "something went wrong here; the service's log says what, by the request's id")
