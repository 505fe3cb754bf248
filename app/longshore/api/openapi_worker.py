"""The OpenAPI 3.1 document of a worker: the attempts API; ``docs/openapi-worker.json`` is its copy."""

from functools import cache

import orjson

from longshore.api import openapi
from longshore.api.openapi import DOCUMENT, content, operation, parameter
from longshore.api.openapi_schemas import TEXT, Json, definitions, ref
from longshore.job.attempts import CURSOR, UID, Feed, Offers, Stopping, TakenResults
from longshore.job.spec import MAX_ITEMS

_MODELS = (Offers, TakenResults, Feed, Stopping)
_INDEX = parameter("index", {"type": "integer", "minimum": 0, "maximum": MAX_ITEMS - 1}, "Item of an array job.")
_ATTEMPT = (
    parameter("uid", {**TEXT, "pattern": UID}, "Uid of the job.", "path"),
    parameter("number", {"type": "integer", "minimum": 0, "maximum": 999_999_999}, "Number of the attempt.", "path"),
    _INDEX,
)
_SERVICE = ("/", "/v1", "/v1/handlers", "/v1/workers", "/v1/status", "/v1/status/details", "/v1/admin:drain",
            "/v1/admin:undrain", "/v1/admin:reload", "/livez", "/readyz", "/healthz")  # fmt: skip


def _attempts() -> Json:
    grace = parameter("graceSeconds", {"type": "number", "minimum": 0, "maximum": 3600}, "Between SIGTERM and SIGKILL.")
    cursor: Json = {**TEXT, "pattern": rf"^$|{CURSOR}"}
    after = parameter("after", cursor, "Cursor of an earlier answer: entries beyond it are told.")
    ack = parameter(
        "ack", cursor, "Cursor up to which every entry is on record and can be forgotten; `after` without it."
    )
    wait = parameter("wait", {"type": "number", "minimum": 0}, "Wait so many seconds for something new, at most 30.")
    return {
        "/v1/attempts": {
            "post": operation("attempts", "takeAttempts", "Start attempts now, or say of each why not.", {
                200: ("What became of each.", content(ref("TakenResults")))}, problems=(400, 413, 415, 422),
                body=content(ref("Offers")), body_required=True),
            "get": operation("attempts", "getFeed", "What happened since the cursor; at once when there is something.", {
                200: ("Entries and capacity.", content(ref("Feed")))}, problems=(422,), parameters=(after, ack, wait)),
        },
        "/v1/attempts/{uid}/{number}": {"delete": operation(
            "attempts", "stopAttempt", "Stop an attempt; its outcome comes through the feed.", {
                202: ("It is being stopped.", content(ref("Stopping")))}, problems=(404, 422), parameters=(*_ATTEMPT, grace))},
        "/v1/attempts/{uid}/{number}/logs": {"get": operation(
            "attempts", "getAttemptLogs", "Output of an attempt that runs, or ended not long ago.", {
                200: ("The output; where it lies is in the Longshore- headers.", {"text/plain": {"schema": TEXT}})},
            problems=(404, 410, 422), parameters=(
                *_ATTEMPT, parameter("offset", {"type": "integer", "minimum": -(10**12), "maximum": 10**12},
                                     "First byte; negative counts from the end."),
                parameter("follow", {"type": "boolean"}, "Go on until the attempt ends, at most 5 minutes."), wait))},
        "/openapi.json": {"get": operation("service", "openapi", "This document.", {200: ("Fine.", DOCUMENT)})},
    }  # fmt: skip


def _schemas(public: Json) -> Json:
    shared = ("Problem", "Links", "HandlerList", "HandlerInfo", "WorkerList", "WorkerInfo", "RunningAttempt", "ServiceStatus",
              "SlotCounts", "WaitingCounts", "OutcomeCounts", "WebhookCounts", "WatchState", "Liveness", "Health")  # fmt: skip
    return {name: public[name] for name in shared} | definitions(_MODELS)


def document() -> Json:
    """The whole document."""
    whole = openapi.document()
    schemas = _schemas(whole["components"]["schemas"])
    metrics = {**whole["paths"]["/metrics"]["get"], "security": []}
    return {
        **whole,
        "info": {
            **whole["info"], "title": "Longshore worker",
            "description": "What the operator of a cluster says to a worker. Errors are application/problem+json (RFC 9457).",
        },
        "tags": [
            {"name": "attempts", "description": "Start, follow and stop attempts."},
            {"name": "service", "description": "The worker itself: handlers, health, metrics."},
        ],
        "security": [{"token": []}],
        "paths": {**_attempts(), **{path: whole["paths"][path] for path in _SERVICE}, "/metrics": {"get": metrics}},
        "components": {**whole["components"], "schemas": schemas},
    }  # fmt: skip


@cache
def text() -> bytes:
    """As it is served and committed."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
