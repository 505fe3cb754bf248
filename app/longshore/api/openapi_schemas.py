"""The schemas of the OpenAPI document: those of the models that validate requests, and of what only answers have."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from longshore.job.explain import Explanation
from longshore.job.limits import QueuePolicy
from longshore.job.queue_changes import QueueChanges
from longshore.job.spec import JobSpec, Manifest, Submission
from longshore.job.status import JobStatus

_REF = "#/components/schemas/"
_MODELS: tuple[type[BaseModel], ...] = (
    Submission,
    Manifest,
    JobSpec,
    JobStatus,
    QueuePolicy,
    QueueChanges,
    Explanation,
)
Json = dict[str, Any]


def ref(name: str) -> Json:
    """A reference to a schema of the document."""
    return {"$ref": _REF + name}


def listing(schema: Json, **more: Json) -> Json:
    """``{items: [...]}``."""
    return {
        "type": "object",
        "required": ["items"],
        "properties": {"items": {"type": "array", "items": schema}, **more},
    }


OBJECT: Json = {"type": "object"}
TEXT: Json = {"type": "string"}


def schemas() -> Json:
    """Every schema by its name."""
    _, definitions = models_json_schema(
        [(model, "validation") for model in _MODELS], ref_template=_REF + "{model}", by_alias=True
    )
    found: Json = definitions["$defs"]
    found["JobStatus"]["required"] = ["phase", "attempts"]
    found["Job"] = {
        "type": "object", "required": ["id", "uid", "namespace", "name", "labels", "createdAt", "spec", "status", "links"],
        "properties": {
            "id": TEXT, "uid": {"type": "string", "format": "uuid"}, "namespace": TEXT, "name": TEXT,
            "labels": {"type": "object", "additionalProperties": TEXT}, "createdAt": {"type": "string", "format": "date-time"},
            "redriven": {"type": "array", "items": TEXT, "description":
                         "Jobs that a redrive with dependents sent round again, in order; in its answer alone."},
            "spec": ref("JobSpec"), "status": ref("JobStatus"), "links": {"type": "object", "additionalProperties": TEXT},
        },
    }  # fmt: skip
    found["Batch"] = listing({"type": "object", "required": ["id", "created"],
                                "properties": {"id": TEXT, "created": {"type": "boolean"}}}, count={"type": "integer"})  # fmt: skip
    found["Item"] = {"type": "object", "required": ["index", "phase"], "properties": {
        "index": {"type": "integer"}, "phase": TEXT, "attempts": {"type": "integer", "description": "Absent in a cluster."}, "retries": {"type": "integer"},
        "result": {}, "resultRef": TEXT, "resultNotKept": {**TEXT, "description": "Why what it returned cannot be read."}, "error": ref("JobError")}}  # fmt: skip
    found["Event"] = {"type": "object", "required": ["seq", "job", "type", "at", "data"], "properties": {
        "seq": {"type": "integer"}, "job": TEXT, "type": TEXT, "at": {"type": "string", "format": "date-time"}, "data": OBJECT}}  # fmt: skip
    found["Events"] = listing(ref("Event"), next={"type": "integer"})
    found["Queue"] = {"type": "object", "required": ["name", "policy"], "properties": {
        "name": TEXT, "policy": ref("QueuePolicy"), "waiting": {"type": "integer"}, "ready": {"type": "integer"},
        "running": {"type": "integer"}, "paused": {"type": "boolean"}, "oldestAgeSeconds": {"type": "number"},
        "overridden": {"type": "array", "items": TEXT}}}  # fmt: skip
    found["Problem"] = {"type": "object", "required": ["type", "title", "status", "detail"], "properties": {
        "type": {"type": "string", "format": "uri-reference"}, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT,
        "requestId": TEXT, "errors": {"type": "array", "items": {"type": "object", "additionalProperties": TEXT}}}}  # fmt: skip
    found["Explanation"]["required"] = ["reason", "message"]
    found["Explanation"]["additionalProperties"] = True
    return found
