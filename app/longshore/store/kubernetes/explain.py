"""Why a job stands where it stands: in the words of the operator's leader, else as far as its own resource tells.

Its place in the line and the free slots are known to the leader alone; when that cannot be asked, the answer says so.
"""

from datetime import UTC, datetime

from longshore.errors import NotFound, StoreUnavailable
from longshore.job.spec import rfc3339
from longshore.store.kubernetes.client import Json
from longshore.store.kubernetes.documents import Resource, ended
from longshore.store.kubernetes.leader import Leader
from longshore.store.kubernetes.queues import Queues


def explain(job: Resource, queues: Queues, leader: Leader, now: float) -> dict[str, object]:
    """``{id, phase, queue, reason, message, waitsUntil?, waitsFor?}``."""
    spec, status = job.get("spec") or {}, job.get("status") or {}
    phase, name = status.get("phase", "Pending"), spec.get("queue", "default")
    whole: dict[str, object] = {"id": job["metadata"]["name"], "phase": phase, "queue": name}
    if ended(job):
        return whole | {"reason": "Ended", "message": f"it has ended: {phase}"}
    metadata = job["metadata"]
    try:
        return whole | leader.ask(f"/v1/explain/{metadata['namespace']}/{metadata['name']}")
    except (NotFound, StoreUnavailable) as error:
        return whole | _of_itself(spec, status, queues.known(str(name)), now, error.message)


def _of_itself(spec: Json, status: Json, queue: Json, now: float, unasked: str) -> dict[str, object]:
    """What the job's resource and its queue tell without the leader."""
    if status.get("phase") == "Running":
        return {"reason": "Running", "message": f"it runs on {status.get('worker') or 'a worker'}"}
    if spec.get("suspend"):
        return {"reason": "Suspended", "message": "it is suspended; resume it"}
    if waits := _waits_until(spec, status, now):
        until = rfc3339(waits)
        return {"reason": "NotBefore", "message": f"it does not start before {until}", "waitsUntil": until}
    if (queue.get("spec") or {}).get("paused"):
        return {"reason": "Paused", "message": "its queue is paused"}
    return {"reason": "Unknown", "message": f"it waits; {unasked}"} | (
        {"waitsFor": spec["after"]} if spec.get("after") else {}
    )


def _waits_until(spec: Json, status: Json, now: float) -> datetime | None:
    times = [datetime.fromisoformat(text) for text in (spec.get("startAfter"), status.get("notBefore")) if text]
    later = [when for when in times if when > datetime.fromtimestamp(now, UTC)]
    return max(later, default=None)
