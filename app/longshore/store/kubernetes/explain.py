"""Why a job stands where it stands, as far as its own resource tells.

Its place in the line and the free slots are known to the operator alone; until it can be asked, the answer says so.
"""

from datetime import UTC, datetime
from typing import Any

from longshore.job.spec import rfc3339
from longshore.store.kubernetes.documents import Resource, ended
from longshore.store.kubernetes.queues import Queues

UNASKED = "it waits; the operator, who knows the lines and the free slots, could not be asked"


def explain(job: Resource, queues: Queues, now: float) -> dict[str, object]:
    """``{id, phase, queue, reason, message, waitsUntil?, waitsFor?}``."""
    spec, status = job.get("spec") or {}, job.get("status") or {}
    phase, name = status.get("phase", "Pending"), spec.get("queue", "default")
    whole: dict[str, object] = {"id": job["metadata"]["name"], "phase": phase, "queue": name}
    if ended(job):
        return whole | {"reason": "Ended", "message": f"it has ended: {phase}"}
    if phase == "Running":
        return whole | {"reason": "Running", "message": f"it runs on {status.get('worker') or 'a worker'}"}
    if spec.get("suspend"):
        return whole | {"reason": "Suspended", "message": "it is suspended; resume it"}
    if waits := _waits_until(spec, status, now):
        until = rfc3339(waits)
        return whole | {"reason": "NotBefore", "message": f"it does not start before {until}", "waitsUntil": until}
    if (queues.known(name).get("spec") or {}).get("paused"):
        return whole | {"reason": "Paused", "message": "its queue is paused"}
    return whole | {
        "reason": "Unknown",
        "message": UNASKED,
        **({"waitsFor": spec["after"]} if spec.get("after") else {}),
    }


def _waits_until(spec: dict[str, Any], status: dict[str, Any], now: float) -> datetime | None:
    times = [datetime.fromisoformat(text) for text in (spec.get("startAfter"), status.get("notBefore")) if text]
    later = [when for when in times if when > datetime.fromtimestamp(now, UTC)]
    return max(later, default=None)
