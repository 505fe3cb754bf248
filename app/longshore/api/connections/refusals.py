"""Answers to requests that never reach the application: problem+json too, and never more than a sentence of the input."""

import os
from http import HTTPStatus

import orjson
from gunicorn.http import errors

MEDIA_TYPE = "application/problem+json"
CODES = {
    400: "bad-request", 403: "forbidden", 404: "no-such-route", 405: "method-not-allowed", 408: "timeout",
    411: "length-required", 412: "precondition-failed", 413: "too-large", 414: "uri-too-long",
    415: "unsupported-media-type", 417: "expectation-failed", 431: "headers-too-large", 500: "internal",
    501: "not-implemented", 503: "unavailable", 505: "http-version-not-supported",
}  # fmt: skip
"""Codes of what the application did not refuse itself, by status."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
"""What the application sees. Every other method would be a series of the metrics, and a caller can think of any number."""
ALLOWED = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")
"""Methods that some route has."""
MAX_DETAIL = 200  # characters of what the parser says, which may quote what was sent
DETAILS = {
    400: "the request is not HTTP as RFC 9112 writes it",
    408: "the request did not come in time",
    413: "the body is larger than this service takes",
    414: "the request line is too long",
    431: "the request line and headers together, or the trailers, are too large",
    503: "too many bytes of requests are on their way; come again in a moment",
}


class UnknownMethod(errors.InvalidRequestMethod):  # type: ignore[misc]  # gunicorn ships no types
    """A method that no route here has.

    405 and not 501: a caller must not be able to raise the rate of server errors, which alerts go by.
    """


# By class, the most special first; what is not here is 400, as RFC 9112 has it for a request that cannot be read.
_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (errors.LimitRequestLine, 414),
    (errors.LimitRequestHeaders, 431),
    (errors.ExpectationFailed, 417),
    (errors.UnsupportedTransferCoding, 501),
    (UnknownMethod, 405),
    (errors.ForbiddenProxyRequest, 403),
    (errors.ConfigurationProblem, 500),
    (errors.InvalidResponseHeader, 500),
    (errors.InvalidResponseHeaderName, 500),
)


def status_of(error: BaseException) -> int:
    """The status for what gunicorn's parser raised; 500 for anything else."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    if isinstance(error, errors.InvalidHTTPVersion) and isinstance(error.version, tuple):
        return 505  # one that exists, and that we do not speak
    return 400 if isinstance(error, errors.ParseException | errors.NoMoreData) else 500


def detail_of(error: BaseException, status: int) -> str:
    """What was wrong, in one short sentence; nothing about errors that are not the caller's."""
    if status == 500:
        return "something went wrong here; the service's log says what, by the request's id"
    if isinstance(error, errors.NoMoreData):
        return "the request ends before its body does"
    return str(error)[:MAX_DETAIL] or DETAILS.get(status, DETAILS[400])


def new_request_id() -> str:
    """For an answer and its line in the log."""
    return os.urandom(8).hex()


def answer(status: int, detail: str, request_id: str) -> bytes:
    """A whole HTTP answer, after which the connection ends."""
    code = CODES.get(status, "bad-request")
    document = {"type": f"/problems/{code}", "title": code.replace("-", " "), "status": status, "detail": detail,
                "requestId": request_id}  # fmt: skip
    body = orjson.dumps(document)
    later = "Retry-After: 1\r\n" if status == 503 else ""
    if status == 405:
        later = f"Allow: {', '.join(ALLOWED)}\r\n"
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
        f"{later}Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: {request_id}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
