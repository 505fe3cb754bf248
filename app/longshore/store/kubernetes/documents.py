"""Between resources and documents: a submission as a Job resource, a Job resource as everybody reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from longshore.job.idempotency import name_from_key
from longshore.job.limits import QueuePolicy
from longshore.job.preconditions import NONE, Precondition, job_tag
from longshore.job.spec import API_VERSION, KIND
from longshore.job.status import TERMINAL
from longshore.store.port import JobDoc, Key, NewJob

FINGERPRINT = "longshore.dev/fingerprint"
SOURCE = "longshore.dev/source"
TRACEPARENT = "longshore.dev/traceparent"
TRACESTATE = "longshore.dev/tracestate"
GRACE = "longshore.dev/cancel-grace-seconds"
REDRIVE_KEY = "longshore.dev/redrive-key"
_TERMINAL = frozenset(phase.value for phase in TERMINAL)

Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """A job that is to be created."""

    new: NewJob
    name: str
    keyed: bool
    """Whether the name stands for an idempotency key."""
    fingerprint: str
    """Digest of what is asked for; empty when nobody can ask for the same again."""

    def resource(self) -> dict[str, object]:
        """The Job to create; the specification goes through as the bytes that it came in."""
        optional = {SOURCE: self.new.source, FINGERPRINT: self.fingerprint, TRACEPARENT: self.new.traceparent,
                    TRACESTATE: self.new.tracestate}  # fmt: skip
        ours = {name: text for name, text in optional.items() if text}
        metadata = {"name": self.name, "labels": self.new.labels, "annotations": {**self.new.annotations, **ours}}
        return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": orjson.Fragment(self.new.spec)}


def order(new: NewJob, key: Key | None, place: int = 0) -> Order:
    """What to create for a submission; ``place`` is its index in a batch.

    A given name is a key by itself. Of an unnamed job the key makes the name, so that the API server is who refuses the
    second one. The first job of a batch has the name of a single one, so that a key cannot stand for both.
    """
    if new.named or key is None:
        return Order(new, new.id, keyed=False, fingerprint=new.fingerprint)
    text = f"{key.key}#{place}" if place else key.key
    return Order(new, name_from_key(text), keyed=True, fingerprint=key.fingerprint)


def version(resource: Resource) -> int:
    """The resource's version; the API server hands them out in the order of changes."""
    return int(resource["metadata"]["resourceVersion"])


def job_doc(resource: Resource) -> JobDoc:
    """A Job as everybody reads it; specification and status exactly as in the resource."""
    metadata = resource["metadata"]
    return {
        "id": metadata["name"], "uid": metadata["uid"], "namespace": metadata["namespace"], "name": metadata["name"],
        "labels": metadata.get("labels") or {}, "createdAt": metadata["creationTimestamp"], "rev": version(resource),
        "spec": resource.get("spec") or {}, "status": {"phase": "Pending", "attempts": 0, **(resource.get("status") or {})},
    }  # fmt: skip


def ended(resource: Resource) -> bool:
    """Whether the job has ended, and is not about to be sent round again."""
    spec, status = resource.get("spec") or {}, resource.get("status") or {}
    return status.get("phase") in _TERMINAL and not redriving(spec, status)


def redriving(spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Whether somebody has asked for another round and the operator has not come to it."""
    return bool(status.get("phase") == "Failed" and spec.get("redrive", 0) > status.get("redrives", 0))


def check(only: Precondition, resource: Resource) -> None:
    """Raise PreconditionFailed when the job is not as ``only`` wants it."""
    if only != NONE:
        only.check(job_tag(job_doc(resource)), f"job {resource['metadata']['name']}")


def queue_doc(name: str, resource: Resource) -> dict[str, object]:
    """A queue; one without a resource has the defaults, and nobody has counted it."""
    spec, status = resource.get("spec") or {}, resource.get("status") or {}
    policy = spec or QueuePolicy().model_dump(mode="json", exclude_none=True)
    return {
        "name": name, "policy": policy, "paused": bool(policy.get("paused")), "overridden": [],
        **{ours: status[theirs] for ours, theirs in (("waiting", "depth"), ("running", "running"),
                                                     ("oldestAgeSeconds", "oldestAgeSeconds")) if theirs in status},
    }  # fmt: skip
