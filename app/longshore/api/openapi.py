"""The OpenAPI 3.1 document, from the same models that validate requests; ``docs/openapi.json`` is its copy."""

from functools import cache
from typing import Any

import orjson

from longshore.api.openapi_schemas import TEXT, Json, ref, schemas
from longshore.job.status import Phase
from longshore.version import __version__


def content(schema: Json, media: str = "application/json", example: object = None) -> Json:
    """A body."""
    whole: Json = {"schema": schema}
    if example is not None:
        whole["example"] = example
    return {media: whole}


def parameter(name: str, schema: Json, text: str, where: str = "query") -> Json:
    """A parameter; the ones in a path are required."""
    return {"name": name, "in": where, "description": text, "schema": schema, "required": where == "path"}


ID = parameter(
    "id", {**TEXT, "maxLength": 253, "pattern": "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"}, "Name of the job.", "path"
)
QUEUE = parameter(
    "name", {**TEXT, "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}, "Name of the queue.", "path"
)
POOL = parameter("name", QUEUE["schema"], "Name of the pool: the label longshore.dev/pool of its Deployment.", "path")
WAIT = parameter(
    "wait", {"type": "number", "minimum": 0}, "Wait so many seconds, at most 30; over the budget of waits: 0."
)
KEY = parameter("Idempotency-Key", {**TEXT, "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
                "The same key with the same body is done once; kept 24 hours.", "header")  # fmt: skip
PREFER = parameter(
    "Prefer", {**TEXT, "examples": ["wait=10"]}, "`wait=N`: answer when the job ended, or after N seconds.", "header"
)
NONE_MATCH = parameter("If-None-Match", TEXT, "ETag that the caller has; 304 when nothing changed.", "header")
MATCH = parameter("If-Match", TEXT, "Do it only in a state with one of these ETags; 412 otherwise.", "header")
NOT_MATCH = parameter("If-None-Match", TEXT, "Do it only in a state with none of these ETags; 412 otherwise.", "header")
FILTERS = [
    parameter("phase", {"type": "array", "items": {"enum": [phase.value for phase in Phase]}}, "Phases."),
    parameter("queue", TEXT, "Queue."),
    parameter("handler", TEXT, "Handler."),
    parameter("label", {"type": "array", "items": {**TEXT, "pattern": "^[^=]+=.*$"}}, "`key=value`; all must match."),
]
LIMIT: Json = {"type": "integer", "minimum": 1, "maximum": 1000}
AFTER = parameter("after", {"type": "integer", "minimum": 0, "maximum": 10**18}, "Events beyond this number.")
LAST_EVENT = parameter("Last-Event-ID", TEXT, "Where a stream goes on.", "header")
NAMESPACE = parameter(
    "namespace", {**TEXT, "pattern": "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$"},
    "Where the jobs are, when that is not the service's own namespace; a service on one machine has `default` alone.",
)  # fmt: skip
DOCUMENT = content({"type": "object", "additionalProperties": True, "description": "A document as OpenAPI 3.1 has it."})
JOB_BODY = {**content({"anyOf": [ref("Submission"), ref("Manifest")]}, example={"handler": "echo", "args": {"x": 1}}),
            **content(ref("Manifest"), "application/yaml")}  # fmt: skip

TAGS: list[Json] = [
    {"name": "jobs", "description": "Submit, look at and change jobs."},
    {"name": "events", "description": "Follow what happens to jobs."},
    {"name": "schedules", "description": "Jobs by the clock."},
    {"name": "service", "description": "The service itself: handlers, queues, workers, health, metrics."},
]

_PROBLEMS = {
    400: "The body is not JSON.", 401: "A token is needed.", 403: "The token does not allow this.",
    404: "There never was such a thing.", 405: "The route does not take this method.", 409: "The job is in no state for this.", 410: "It was removed.",
    412: "It is not in the state that If-Match or If-None-Match asks for.", 413: "The body is too large.", 415: "The body has a media type that is not taken.",
    421: "This service does not answer for that host.", 422: "A field is wrong; `errors` names each.",
    429: "The queue takes no more jobs.", 503: "Not now; try again after Retry-After.",
}  # fmt: skip


def _problem(status: int) -> Json:
    return {"description": _PROBLEMS[status], "content": content(ref("Problem"), "application/problem+json")}


def operation(
    tag: str, name: str, summary: str, answers: dict[int, tuple[str, Json | None]], *, problems: tuple[int, ...] = (),
    parameters: tuple[Json, ...] = (), body: Json | None = None, body_required: bool = False, opened: bool = False,
) -> Json:  # fmt: skip
    """One operation; every one may also be refused at the door."""
    responses: Json = {}
    for status, (text, bodies) in answers.items():
        responses[str(status)] = {"description": text, **({"content": bodies} if bodies else {})}
    door = (421,) if opened else (401, 403, 421)
    for status in sorted({*problems, *door, 503}):
        responses.setdefault(str(status), _problem(status))
    whole: Json = {"tags": [tag], "operationId": name, "summary": summary, "responses": responses}
    if parameters:
        whole["parameters"] = list(parameters)
    if body is not None:
        whole["requestBody"] = {"required": body_required, "content": body}
    if opened:
        whole["security"] = []
    return whole


def _jobs() -> Json:
    job = content(ref("Job"))
    verb = {
        "problems": (400, 404, 409, 410, 412, 413, 415, 422),
        "parameters": (ID, KEY, MATCH, NOT_MATCH),
        "body": content(ref("NoFields")),
    }
    one = (404, 405, 410, 422)  # 405: the id that was given ends in a verb
    text = {"text/plain": {"schema": TEXT}}
    told = {
        **TEXT,
        "description": "Server-sent events; the `data` of each is an Event as JSON, its `event` the Event's type.",
    }
    stream = {**content(ref("Events")), "text/event-stream": {"schema": told}}  # some generators take the first
    batch = {"anyOf": [ref("BatchRequest"), ref("SubmissionList")]}
    return {
        "/v1/jobs": {
            "post": operation("jobs", "submitJob", "Take a job.", {
                202: ("Kept, durably.", job), 200: ("It ended while the request waited.", job)},
                problems=(400, 409, 410, 413, 415, 422, 429), parameters=(KEY, PREFER), body=JOB_BODY, body_required=True),
            "get": operation("jobs", "listJobs", "One page of jobs, newest first.", {
                200: ("A page.", content(ref("JobPage")))}, problems=(422,), parameters=(
                *FILTERS, parameter("limit", LIMIT, "Jobs on the page; at most 1,000."),
                parameter("cursor", TEXT, "nextCursor of the page before."))),
        },
        "/v1/jobs:batch": {"post": operation("jobs", "submitBatch", "Take up to 1,000 jobs, all or none.", {
            202: ("All are kept, durably.", content(ref("Batch")))}, problems=(400, 409, 413, 415, 422, 429),
            parameters=(KEY,), body=content(batch, example={"jobs": [{"handler": "echo"}]}), body_required=True)},
        "/v1/jobs:count": {"get": operation("jobs", "countJobs", "How many jobs match, by phase.", {
            200: ("Counts.", content(ref("JobCounts")))}, problems=(422,),
            parameters=tuple(FILTERS))},
        "/v1/jobs/{id}": {
            "get": operation("jobs", "getJob", "The job as it is; with `wait`, once it ended.", {
                200: ("The job.", job), 304: ("As the caller has it.", None)}, problems=one, parameters=(ID, WAIT, NONE_MATCH)),
            "delete": operation("jobs", "deleteJob", "Forget an ended job.", {204: ("Gone.", None)},
                                problems=(*one, 409, 412), parameters=(ID, MATCH, NOT_MATCH)),
        },
        "/v1/jobs/{id}:cancel": {"post": operation("jobs", "cancelJob", "Ask the job to end.", {
            202: ("Asked; it has ended when its phase says so.", job)}, **verb | {"body": content(ref("CancelRequest"))})},  # type: ignore[arg-type]  # keyword table
        "/v1/jobs/{id}:redrive": {"post": operation("jobs", "redriveJob", "Send a failed job round again.", {
            202: ("It waits again.", job)}, **verb | {"body": content(ref("RedriveRequest"))})},  # type: ignore[arg-type]  # keyword table
        "/v1/jobs/{id}:suspend": {"post": operation("jobs", "suspendJob", "Keep a waiting job waiting.", {
            200: ("Suspended.", job)}, **verb)},  # type: ignore[arg-type]  # keyword table
        "/v1/jobs/{id}:resume": {"post": operation("jobs", "resumeJob", "Let a suspended job go on.", {
            200: ("It goes on.", job)}, **verb)},  # type: ignore[arg-type]  # keyword table
        "/v1/jobs/{id}/result": {"get": operation("jobs", "getResult", "What the handler returned, alone; of an array a page of its items' results.", {
            200: ("Any JSON; of an array `items` of `index` and `result`, and `nextAfter`.", content({}))}, problems=(*one, 409), parameters=(
            ID, parameter("after", {"type": "integer", "minimum": -1, "maximum": 10**9}, "Arrays: beyond this index."),
            parameter("limit", LIMIT, "Arrays: how many; at most 1,000.")))},
        "/v1/jobs/{id}/items": {"get": operation("jobs", "listItems", "Items of an array job that were ever started.", {
            200: ("Items by index.", content(ref("ItemPage")))},
            problems=one, parameters=(ID, parameter("after", {"type": "integer", "minimum": -1, "maximum": 10**9}, "Beyond this index."),
                                      parameter("limit", LIMIT, "How many; at most 1,000.")))},
        "/v1/jobs/{id}/explain": {"get": operation("jobs", "explainJob", "Why the job stands where it stands.", {
            200: ("In words.", content(ref("Explanation")))}, problems=one, parameters=(ID,))},
        "/v1/jobs/{id}/logs": {"get": operation("jobs", "getLogs", "Output of an attempt, the last by default.", {
            200: ("The output; where it lies is in the Longshore- headers.", text)}, problems=one, parameters=(
            ID, WAIT, parameter("attempt", {"type": "integer", "minimum": 1, "maximum": 10**9}, "Number of the attempt."),
            parameter("index", {"type": "integer", "minimum": 0, "maximum": 10**9}, "Item of an array job, which must be named there."),
            parameter("offset", {"type": "integer", "minimum": -(10**12), "maximum": 10**12}, "First byte; negative counts from the end."),
            parameter("follow", {"type": "boolean"}, "Go on until the attempt ends, at most 5 minutes.")))},
        "/v1/jobs/{id}/events": {"get": operation("events", "getJobEvents", "Events of one job: a stream, or a long poll.", {
            200: ("Events.", stream), 204: ("A stream was asked for, and after this event of an ended job there are none.", None)},
            problems=one, parameters=(ID, AFTER, WAIT, LAST_EVENT, parameter("limit", LIMIT, "How many; at most 1,000.")))},
        "/v1/events": {"get": operation("events", "getEvents", "Events of all jobs: a stream, or a long poll.", {
            200: ("Events.", stream)}, problems=(422,), parameters=(AFTER, WAIT, LAST_EVENT, parameter("limit", LIMIT, "How many; at most 1,000.")))},
    }  # fmt: skip


def _service() -> Json:
    status, health = content(ref("ServiceStatus")), content(ref("Health"))
    links = content(ref("Links"))
    queue = content(ref("Queue"))

    def get(name: str, summary: str, body: Json, *, opened: bool = False, **more: Any) -> Json:
        return {"get": operation("service", name, summary, {200: ("Fine.", body)}, opened=opened, **more)}

    def verb(name: str, summary: str, body: Json, *parameters: Json, problems: tuple[int, ...] = ()) -> Json:
        return {
            "post": operation(
                "service",
                name,
                summary,
                {200: ("Done.", body)},
                parameters=(*parameters, KEY),
                problems=(*problems, 422),
            )
        }

    return {
        "/": {"get": operation("service", "index", "Links; browsers go to the documentation.", {
            200: ("Links.", links), 302: ("To /docs.", None)})},
        "/v1": get("links", "Links.", links),
        "/v1/handlers": get("listHandlers", "What can be run.", content(ref("HandlerList"))),
        "/v1/queues": get("listQueues", "All queues.", content(ref("QueueList"))),
        "/v1/queues/{name}": {
            "get": operation("service", "getQueue", "One queue.", {200: ("The queue.", queue), 304: ("As the caller has it.", None)},
                             parameters=(QUEUE, NONE_MATCH), problems=(404,)),
            "patch": operation("service", "changeQueue", "Lay fields over the policy; null gives one back to the configuration.", {
                200: ("As it is now.", queue)}, parameters=(QUEUE, MATCH, NOT_MATCH), problems=(400, 404, 412, 413, 415, 422),
                body=content(ref("QueueChanges"), example={"concurrency": 4}), body_required=True),
        },
        "/v1/queues/{name}:pause": verb("pauseQueue", "Start no more jobs of the queue.", queue, QUEUE, MATCH, NOT_MATCH, problems=(404, 412)),
        "/v1/queues/{name}:resume": verb("resumeQueue", "Go on.", queue, QUEUE, MATCH, NOT_MATCH, problems=(404, 412)),
        "/v1/webhooks": get("listWebhooks", "Webhooks that wait to be delivered or were given up: by id, in a cluster by the name of the job.", content(ref("DeliveryPage")),
            problems=(409, 422), parameters=(parameter("after", {**TEXT, "maxLength": 300}, "nextAfter of the page before."),
                                             parameter("limit", LIMIT, "How many; at most 1,000."))),
        "/v1/webhooks:retry": {"post": operation("service", "retryWebhooks", "Try webhooks again now.", {
            202: ("They are tried.", content(ref("DeliveryCount")))}, parameters=(KEY,), problems=(400, 404, 409, 410, 413, 415, 422),
            body=content(ref("RetryRequest"), example={"all": True}), body_required=True)},
        "/v1/pools/{name}": get("getPool", "A pool of workers in a cluster: how many, how many are wanted, and why.", content(ref("PoolInfo")), parameters=(POOL,), problems=(404,)),
        "/v1/workers": get("listWorkers", "Who runs jobs, and what runs now.", content(ref("WorkerList"))),
        "/v1/status": get("getStatus", "Capacity, counts, age, version.", status),
        "/v1/status/details": get("getStatusDetails", "The same, with what runs now.", status),
        "/v1/admin:drain": {
            **verb("drain", "Take no new jobs and start none.", status),
            "delete": operation("service", "endDrain", "Go on.", {200: ("Done.", status)}, parameters=(KEY,), problems=(422,)),
        },
        "/v1/admin:undrain": verb("undrain", "Go on.", status),
        "/v1/admin:reload": {"post": operation(
            "service", "reload", "Go on with new code once no job runs; jobs are taken meanwhile. 409 says why it does not start.",
            {202: ("It has begun.", status)}, parameters=(KEY,), problems=(409, 422))},
        "/livez": get("live", "The api process answers.", content(ref("Liveness")), opened=True),
        "/readyz": get("ready", "Whether jobs are taken now.", health, opened=True, problems=(422,), parameters=(
            parameter("verbose", {"type": "boolean"}, "With the applications' checks; needs a token."),)),
        "/healthz": get("health", "The same, with the applications' checks.", health),
        "/metrics": get("metrics", "Prometheus metrics.", {"text/plain": {"schema": TEXT}, "application/openmetrics-text": {"schema": TEXT}}),
        "/openapi.json": get("openapi", "This document.", DOCUMENT, opened=True, problems=(422,), parameters=(
            parameter("applications", {"type": "boolean"}, "With the routes of applications; needs a token."),)),
        "/docs": get("docs", "This document in a browser.", {"text/html": {"schema": TEXT}}, opened=True),
        "/docs/{file}": get("docsFile", "A file of that page.", {"text/css": {"schema": TEXT}, "text/javascript": {"schema": TEXT}}, parameters=(
            parameter("file", TEXT, "Name.", "path"),), problems=(404,)),
    }  # fmt: skip


def _in_namespaces(paths: Json) -> Json:
    """Everything about jobs, events and queues can be asked of another namespace, where the service has it."""
    for path, operations in paths.items():
        if path.startswith(("/v1/jobs", "/v1/events", "/v1/queues", "/v1/schedules", "/v1/webhooks")):
            for one in operations.values():
                one["parameters"] = [*one.get("parameters", ()), NAMESPACE]
                one["responses"].setdefault("422", _problem(422))
    return paths


def document() -> Json:
    """The whole document."""
    from longshore.api import openapi_schedules  # it is put together from the pieces of this module

    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Longshore", "version": __version__, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Background jobs in warm worker processes. Errors are application/problem+json (RFC 9457).",
        },
        "servers": [{"url": "/"}],
        "tags": TAGS,
        "security": [{"token": []}, {}],
        "paths": _in_namespaces({**_jobs(), **openapi_schedules.paths(), **_service()}),
        "components": {"schemas": schemas(), "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }  # fmt: skip


@cache
def text() -> bytes:
    """As it is served and committed."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
