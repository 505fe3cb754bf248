"""The writes that the operator makes to a Job's status, as JSON Patch with preconditions."""

from typing import Any

Operation = dict[str, Any]


def status_patch(uid: str, saved: tuple[str, int, int], status: dict[str, Any]) -> list[Operation]:
    """Replace the status if the object is still that one, and stands where we left it: phase, attempts, redrives."""
    phase, attempts, redrives = saved
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": "/status/phase", "value": phase},
        {"op": "test", "path": "/status/attempts", "value": attempts},
        {"op": "test", "path": "/status/redrives", "value": redrives},
        {"op": "add", "path": "/status", "value": status},
    ]
