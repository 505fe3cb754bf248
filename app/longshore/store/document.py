"""A job as everybody reads it: ``{id, uid, namespace, name, labels, createdAt, rev, spec, status}``.

Built straight from rows, without a model in between, because it is on the way of every answer; ``tests/store``
holds it against ``job.status.JobStatus``. Fields that say nothing (empty, zero, none) are left out, but ``phase``
and ``attempts``.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from longshore.job.lifecycle import conditions
from longshore.job.spec import rfc3339_at
from longshore.job.status import Phase
from longshore.job.webhook import CONDITION, DeliveryState, message_id
from longshore.store.ledger import AttemptRow, Standing, StoredJob, ToldRow
from longshore.store.port import JobDoc

Progress = tuple[int, float, str]


def asks_to_be_told(stored: StoredJob) -> bool:
    """Whether the job may have a webhook, so that what became of it is worth a read; cheap, because most have none."""
    return b'"webhook"' in stored.job.spec


def document(
    stored: StoredJob,
    attempts: Sequence[AttemptRow] = (),
    progress: Progress | None = None,
    told: ToldRow | None = None,
) -> JobDoc:
    """The whole job; ``attempts`` are the ended ones it remembers, oldest first, ``told`` is of its last delivery."""
    job, standing = stored.job, stored.standing
    if told is not None and (standing.finished_at is None or told.id != message_id(job.uid, standing.redrives)):
        told = None  # it is about an end before a redrive
    rev = stored.rev * 1_000_000 + (progress[0] if progress else told.revision if told else 0) % 1_000_000
    return {
        "id": job.id, "uid": job.uid, "namespace": "default", "name": job.id, "labels": job.labels,
        "createdAt": rfc3339_at(job.created_at), "rev": rev,
        "spec": _spec(job.spec, standing), "status": _status(stored, attempts, progress, told),
    }  # fmt: skip


def _spec(spec: bytes, standing: Standing) -> object:
    if not (standing.cancel or standing.suspend or standing.redrive):
        return orjson.Fragment(spec)
    # What the api changed since the submit.
    whole: dict[str, object] = orjson.loads(spec)
    changed = {"cancel": standing.cancel, "suspend": standing.suspend, "redrive": standing.redrive}
    return whole | {name: value for name, value in changed.items() if value or name in whole}


def _status(
    stored: StoredJob, attempts: Sequence[AttemptRow], progress: Progress | None, told: ToldRow | None
) -> dict[str, object]:
    s = stored.standing
    status: dict[str, Any] = {"phase": s.phase, "attempts": stored.attempts}
    for name, value in (("reason", s.reason), ("message", s.message), ("retries", s.retries),
                        ("disruptions", s.disruptions), ("redrives", s.redrives), ("worker", s.worker),
                        ("logTail", s.log_tail)):  # fmt: skip
        if value:
            status |= {name: value}
    for name, when in (("notBefore", s.not_before), ("startedAt", s.started_at), ("finishedAt", s.finished_at)):
        if when is not None:
            status[name] = rfc3339_at(when)
    if s.result is not None:
        status["result"] = orjson.Fragment(s.result)
    if s.error_type:
        status["error"] = {"type": s.error_type, "message": s.error_message}
    if progress is not None:
        status["progress"] = {"percent": progress[1], "message": progress[2]}
    if s.items is not None:
        status["items"] = orjson.Fragment(s.items)
    if attempts:
        status["history"] = [_entry(row) for row in attempts]
    if s.finished_at is not None:
        status["conditions"] = [*_conditions(s, s.finished_at), *([_told(told)] if told else [])]
    return status


def _entry(row: AttemptRow) -> dict[str, object]:
    entry: dict[str, object] = {"number": row.number, "outcome": row.outcome, "startedAt": rfc3339_at(row.started_at)}
    optional = {"index": row.idx, "worker": row.worker or None, "reason": row.reason or None, "exitCode": row.exit_code}
    entry |= {name: value for name, value in optional.items() if value is not None}
    if row.finished_at is not None:
        entry["finishedAt"] = rfc3339_at(row.finished_at)
    if row.error_type:
        entry["error"] = {"type": row.error_type, "message": row.error_message}
    return entry


def _told(row: ToldRow) -> dict[str, object]:
    """As in a cluster: the state is the reason, what the last try said is the message."""
    return {
        "type": CONDITION, "status": "True" if row.state == DeliveryState.DELIVERED else "False", "reason": row.state,
        "message": row.detail, "lastTransitionTime": rfc3339_at(row.at),
    }  # fmt: skip


def _conditions(s: Standing, finished_at: float) -> list[dict[str, object]]:
    if s.phase == Phase.SUCCEEDED:  # the hot path: no models
        when = rfc3339_at(finished_at)
        whole = {"status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": when}
        return [{"type": "Complete", **whole}, {"type": "Finished", **whole}]
    found = conditions(Phase(s.phase), s.reason, s.message, finished_at=finished_at)
    return [
        {"type": c.type, "status": c.status, "reason": c.reason, "message": c.message,
         "lastTransitionTime": rfc3339_at(finished_at)}
        for c in found
    ]  # fmt: skip
