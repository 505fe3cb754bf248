"""What tells that a Job resource was restored from a copy, where its status did not come along. Pure.

A restore makes resources anew: creationTimestamp and uid are new, and the status, a subresource, is empty, so a job that
ended long ago looks as if nobody had run it. To write the end into the metadata too would cost a request for each job.
Three things tell without that:

* Client-side `kubectl apply` keeps the file as it was applied in an annotation, and a file that `kubectl get -o yaml` wrote
  has the status in it. A file that a person wrote has none.
* `longshore restore` makes a job that had ended with an annotation, writes its status, and takes the annotation away.
* Velero labels what it restores. It leaves the status out unless it is told otherwise, and writes it after the resource,
  so such a job waits for consent: the annotation `longshore.dev/run-restored: "true"`.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from longshore.job.status import RESTORING, Phase

CONSENT: Final = "longshore.dev/run-restored"
APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
VELERO: Final = "velero.io/restore-name"
HOW: Final = f'annotate it with {CONSENT}="true" to run it, or delete it'

Json = dict[str, Any]


def ended_as(metadata: Json) -> Phase | None:
    """How the job had ended in the copy that it was applied from; None for one that was not, or that may run again."""
    text = _texts(metadata.get("annotations")).get(APPLIED, "")
    if '"status"' not in text or _consents(metadata):
        return None
    try:
        phase = Phase(orjson.loads(text)["status"]["phase"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None  # somebody else wrote the annotation, or the status
    return phase if phase.terminal else None


def obstacle(metadata: Json) -> str:
    """Why it may not run yet, in words; empty when it may, or somebody has said so.

    It was restored without its status, or its status has yet to come.
    """
    if _consents(metadata):
        return ""
    if RESTORING in _texts(metadata.get("annotations")):
        return "`longshore restore` has yet to write how it ended; if it was cut off, run it again"
    return f"it was restored by Velero: {HOW}" if VELERO in _texts(metadata.get("labels")) else ""


def _consents(metadata: Json) -> bool:
    return _texts(metadata.get("annotations")).get(CONSENT) == "true"


def _texts(found: object) -> Mapping[str, str]:
    return found if isinstance(found, Mapping) else {}
