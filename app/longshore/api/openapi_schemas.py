"""The schemas of the OpenAPI document: of the models that validate requests, and of what only answers have.

A generator of clients makes a type of each, so three things hold, and ``tests/api/test_openapi.py`` asks for them: no
field has a ``default`` (generators take a field with one for a field that is always there, so a caller would have to
send all of them; a default that says something is told in the description), every object says what is in it, and an
event is one of a union that its ``type`` decides.
"""

from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from longshore.api.openapi_answers import ANSWERS
from longshore.api.openapi_events import EVENT_DATA
from longshore.api.openapi_pools import PoolInfo
from longshore.job.explain import Explanation
from longshore.job.limits import QueuePolicy
from longshore.job.queue_changes import QueueChanges
from longshore.job.schedule import ScheduleManifest, ScheduleReplacement, ScheduleSubmission
from longshore.job.spec import JobSpec, Manifest, Submission
from longshore.job.status import JobStatus, Phase

_REF = "#/components/schemas/"
_MODELS: tuple[type[BaseModel], ...] = (
    Submission,
    Manifest,
    JobSpec,
    JobStatus,
    QueuePolicy,
    QueueChanges,
    Explanation,
    ScheduleSubmission,
    ScheduleReplacement,
    ScheduleManifest,
)
Json = dict[str, Any]


def ref(name: str) -> Json:
    """A reference to a schema of the document."""
    return {"$ref": _REF + name}


def listing(schema: Json, **more: Json) -> Json:
    """``{items: [...]}``."""
    items = {"type": "array", "items": schema}
    return {"type": "object", "required": ["items"], "properties": {"items": items, **more}}


def closed(**properties: Json) -> Json:
    """An object with these optional fields and no others."""
    return {"type": "object", "additionalProperties": False, "properties": properties}


TEXT: Json = {"type": "string"}
TEXTS: Json = {"type": "object", "additionalProperties": TEXT}
COUNT: Json = {"type": "integer"}
TIME: Json = {"type": "string", "format": "date-time"}
_SUBMISSIONS: Json = {"type": "array", "minItems": 1, "maxItems": 1000, "items": ref("Submission")}


def definitions(models: tuple[type, ...]) -> Json:
    """The schemas of models and typed dictionaries by their names, and of all that they refer to."""
    wanted: list[tuple[type, JsonSchemaMode, TypeAdapter[Any]]] = [
        (model, "validation", TypeAdapter(model)) for model in models
    ]
    _, found = TypeAdapter.json_schemas(wanted, ref_template=_REF + "{model}", by_alias=True)
    schemas: Json = found["$defs"]
    for schema in schemas.values():
        _for_generators(schema)
    return schemas


def _for_generators(schema: object) -> None:
    """Tell defaults in words, and leave out the names that pydantic makes of fields and whatever a null says twice."""
    if isinstance(schema, list):
        for one in schema:
            _for_generators(one)
    if not isinstance(schema, dict):
        return
    for name, one in schema.items():
        if name == "properties":
            for field in one.values():
                _without_default(field)
        else:
            _for_generators(one)


def _without_default(field: Json) -> None:
    default = field.pop("default", None)
    field.pop("title", None)
    if field.get("anyOf") == [{}, {"type": "null"}]:  # any JSON may be null
        del field["anyOf"]
    said = field.get("description", "")
    if default not in (None, "", [], {}) and "efaults to" not in said:
        field["description"] = f"{said} Defaults to `{orjson.dumps(default).decode()}`.".strip()
    _for_generators(field)


def _event(kind: str) -> Json:
    number = {**COUNT, "description": "seq is the event's number in the service's one sequence of events."}
    if kind == "progress":
        number["description"] = "seq is the number of the event before it, because reports of progress are not kept."
    return {
        "type": "object", "required": ["seq", "job", "type", "at", "data"],
        "description": f"An event of type `{kind}`.",
        "properties": {
            "seq": number, "job": {**TEXT, "description": "job is the name of the job."},
            "type": {**TEXT, "const": kind}, "at": {**TIME, "description": "at is when it happened."},
            "data": ref(EVENT_DATA[kind].__name__),
        },
    }  # fmt: skip


def _events() -> Json:
    """A schema for each type of event, and their union."""
    names = {kind: "".join(word.title() for word in kind.split("-")) + "Event" for kind in EVENT_DATA}
    union = {
        "description": "Something that happened to a job; `type` says what, and so what `data` holds.",
        "oneOf": [ref(name) for name in names.values()],
        "discriminator": {
            "propertyName": "type",
            "mapping": {kind: _REF + name for kind, name in names.items()},
        },
    }
    return {name: _event(kind) for kind, name in names.items()} | {"Event": union}


def _job() -> Json:
    redriven = "redriven names the jobs that a redrive with dependents sent round again, in order; in its answer alone."
    return {
        "type": "object",
        "required": ["id", "uid", "namespace", "name", "labels", "createdAt", "spec", "status", "links"],
        "properties": {
            "id": TEXT, "uid": {"type": "string", "format": "uuid"}, "namespace": TEXT, "name": TEXT,
            "labels": TEXTS, "createdAt": TIME, "spec": ref("JobSpec"), "status": ref("JobStatus"), "links": TEXTS,
            "redriven": {"type": "array", "items": TEXT, "description": redriven},
        },
    }  # fmt: skip


def _queue() -> Json:
    return {
        "type": "object", "required": ["name", "policy"],
        "properties": {
            "name": TEXT, "policy": ref("QueuePolicy"), "waiting": COUNT, "ready": COUNT, "running": COUNT,
            "paused": {"type": "boolean"}, "oldestAgeSeconds": {"type": "number"},
            "overridden": {"type": "array", "items": TEXT},
        },
    }  # fmt: skip


def _problem() -> Json:
    error = {
        "type": "object", "required": ["detail"], "additionalProperties": TEXT,
        "properties": {
            "detail": {**TEXT, "description": "detail says what is wrong."},
            "pointer": {**TEXT, "description": "pointer is the field of the body (RFC 6901)."},
            "parameter": {**TEXT, "description": "parameter is the name of a parameter of the query."},
            "header": {**TEXT, "description": "header is the name of a header."},
        },
    }  # fmt: skip
    return {
        "type": "object", "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"}, "title": TEXT, "status": COUNT, "detail": TEXT,
            "requestId": TEXT, "errors": {"type": "array", "items": error},
        },
    }  # fmt: skip


def _explained(explanation: Json) -> Json:
    attempt = {
        "type": "object", "required": ["number"],
        "properties": {"number": COUNT, "startedAt": TIME, "worker": TEXT, "index": COUNT},
    }  # fmt: skip
    more = {
        "id": TEXT, "namespace": TEXT, "phase": ref("Phase"), "queue": TEXT,
        "attempts": {"type": "array", "items": attempt, "description": "attempts are those that run; in a cluster."},
    }  # fmt: skip
    properties = {**explanation["properties"], **more}
    return {**explanation, "required": ["reason", "message"], "properties": properties, "additionalProperties": True}


def _requests() -> Json:
    grace = "graceSeconds is the time between SIGTERM and SIGKILL. Defaults to the service's `grace_seconds`."
    dependents = "dependents is true to redrive also the jobs that failed because of this one, in order."
    return {
        "BatchRequest": {**closed(jobs=_SUBMISSIONS, labels=TEXTS), "required": ["jobs"]},
        "CancelRequest": closed(graceSeconds={"type": "number", "minimum": 0, "maximum": 3600, "description": grace}),
        "RedriveRequest": closed(dependents={"type": "boolean", "description": dependents}),
        "RetryRequest": {
            "description": "Either names of jobs, or all.",
            "anyOf": [
                {
                    **closed(jobs={"type": "array", "minItems": 1, "maxItems": 1000, "items": TEXT}),
                    "required": ["jobs"],
                },
                {**closed(all={"type": "boolean", "const": True}), "required": ["all"]},
            ],
        },
        "NoFields": {**closed(), "description": "An object without fields; the body may be left out."},
        "SubmissionList": _SUBMISSIONS,
    }


def schemas() -> Json:
    """Every schema by its name."""
    found = definitions((*_MODELS, *ANSWERS, PoolInfo, *dict.fromkeys(EVENT_DATA.values())))
    found["JobStatus"]["required"] = ["phase", "attempts"]
    created = {"type": "object", "required": ["id", "created"],
               "properties": {"id": TEXT, "created": {"type": "boolean"}}}  # fmt: skip
    counts = {
        "type": "object",
        "additionalProperties": COUNT,
        "propertyNames": {"enum": [phase.value for phase in Phase]},
    }
    pages = {
        "JobPage": listing(ref("Job"), nextCursor=TEXT),
        "JobCounts": {"type": "object", "required": ["counts"], "properties": {"counts": counts}},
        "ItemPage": listing(ref("Item"), nextAfter={"type": ["integer", "null"]}),
        "DeliveryPage": listing(ref("Delivery"), nextAfter=TEXT),
        "DeliveryCount": {"type": "object", "required": ["count"], "properties": {"count": COUNT}},
        "HandlerList": listing(ref("HandlerInfo")),
        "SchedulePage": listing(ref("Schedule"), nextCursor=TEXT),
        "QueueList": listing(ref("Queue")),
        "WorkerList": listing(ref("WorkerInfo")),
        "Batch": listing(created, count=COUNT),
        "Events": listing(ref("Event"), next=COUNT),
    }
    pages["JobPage"]["required"].append("nextCursor")
    pages["SchedulePage"]["required"].append("nextCursor")
    pages["Events"]["required"].append("next")
    pages["DeliveryPage"]["required"].append("nextAfter")
    explanation = _explained(found["Explanation"])
    singles = {"Job": _job(), "Queue": _queue(), "Problem": _problem(), "Explanation": explanation}
    return found | _events() | _requests() | pages | singles
