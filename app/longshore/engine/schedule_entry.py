"""One schedule in memory, and how it reads in the shapes of the rules and of the api."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from longshore.job.schedule import MAX_ACTIVE, ScheduleSpec
from longshore.job.spec import rfc3339_at
from longshore.store.ledger import ScheduledJob, ScheduleRow

Json = dict[str, Any]
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True, eq=False)
class Entry:
    """One schedule: its row, and what the next look needs."""

    row: ScheduleRow
    look_at: float | None = None
    """When the schedule is to be looked at again, in seconds since the epoch; None: not by the clock."""
    done: datetime = LONG_AGO
    """The last time that was decided on: its job is there, or Forbid left it out."""
    ran: datetime | None = None
    """The last time that a job was created for since the start."""
    active: dict[str, str] = field(default_factory=dict)
    """Names of its jobs that have not ended, by uid."""
    ended: bool = False
    """A job of the schedule has ended: the history may have to be cut."""
    marked: bool = False
    """The schedule waits for a look in the next round."""
    broken: bool = False
    """A look at it failed by a fault of ours; it is left alone until it is changed."""
    problem: str = ""
    """Why it created no job, as the log has it already."""

    def resource(self) -> Json:
        """In the shape of the Schedule resource, as the rules take it."""
        row = self.row
        spec = orjson.loads(row.spec)
        if row.paused is not None:
            spec["suspend"] = row.paused
        metadata = {
            "name": row.name, "namespace": "default", "uid": row.uid, "generation": row.generation,
            "labels": orjson.loads(row.labels), "creationTimestamp": rfc3339_at(row.created_at),
        }  # fmt: skip
        return {"metadata": metadata, "spec": spec, "status": orjson.loads(row.status)}


def document(entry: Entry) -> Json:
    """A schedule as everybody reads it."""
    found, row = entry.resource(), entry.row
    active = [{"name": name, "uid": uid} for uid, name in sorted(entry.active.items(), key=lambda item: item[1])]
    status = found["status"] | ({"active": active[-MAX_ACTIVE:]} if active else {})
    return {
        "name": row.name, "uid": row.uid, "namespace": "default", "labels": found["metadata"]["labels"],
        "createdAt": found["metadata"]["creationTimestamp"], "origin": row.origin, "spec": found["spec"], "status": status,
    }  # fmt: skip


def dumped(spec: ScheduleSpec) -> bytes:
    """As a row has it: the fields that somebody set."""
    return spec.model_dump_json(exclude_unset=True, by_alias=True).encode()


def job_resource(job: ScheduledJob) -> Json:
    """The part of a Job resource that the rules read."""
    status = {"phase": job.phase} | ({"finishedAt": rfc3339_at(job.finished_at)} if job.finished_at is not None else {})
    metadata = {"uid": job.uid, "name": job.id, "creationTimestamp": rfc3339_at(job.created_at)}
    return {"metadata": metadata, "status": status}
