"""Webhooks of a cluster's jobs: listed from the conditions of the jobs, tried again by the operator's leader.

The condition ``WebhookDelivered`` of a job is all that is kept of a delivery, and no selector of the API server finds it. So a list
reads a table of the ended jobs, a few words of each, and then the jobs that it names.
"""

from collections.abc import Iterator, Sequence

from longshore.errors import Conflict, NotFound
from longshore.job.status import Phase
from longshore.job.webhook import CONDITION, DeliveryState, message_id
from longshore.store.kubernetes.client import Json, KubeClient, Target
from longshore.store.kubernetes.leader import Leader
from longshore.store.kubernetes.lists import COUNT_PAGE, TABLE

UNDELIVERED = frozenset({DeliveryState.RETRYING, DeliveryState.REFUSED, DeliveryState.GIVEN_UP})
ENDED = ",".join(f"status.phase!={phase.value}" for phase in Phase if not phase.terminal)
COLUMN = "Webhook"


class Webhooks:
    """The part of ``JobStore`` that is about webhooks, for the jobs of one namespace."""

    def __init__(self, client: KubeClient, jobs: Target, leader: Leader, namespace: str) -> None:
        self._client, self._jobs, self._leader, self.namespace = client, jobs, leader, namespace

    def deliveries(self, *, after: str = "", limit: int = 100) -> tuple[list[dict[str, object]], str]:
        """One page by name of the job, beyond the name ``after``; with the name to go on from, empty at the end."""
        found: list[dict[str, object]] = []
        for name in sorted(name for name in self._undelivered() if name > after):
            try:
                delivery = _delivery(self._client.get(self._jobs.named(name)))
            except NotFound:
                continue  # removed since the table was read
            if delivery is not None:
                found.append(delivery)
            if len(found) == limit:
                return found, name
        return found, ""

    def retry_deliveries(self, jobs: Sequence[str] | None) -> int:
        """Have the leader try them again now; how many. Raises NotFound when one has none, StoreUnavailable without a leader."""
        if jobs is None:
            return sum(self._retried(name) for name in list(self._undelivered()))
        for name in jobs:
            if not self._retried(name):
                raise NotFound(f"no webhook about job {name} waits or was given up")
        return len(jobs)

    def _retried(self, name: str) -> bool:
        try:
            self._leader.ask(f"/v1/webhooks/{self.namespace}/{name}/retry", change=True)
        except NotFound:
            return False
        return True

    def _undelivered(self) -> Iterator[str]:
        for table in self._client.pages(
            self._jobs, accept=TABLE, limit=COUNT_PAGE, includeObject="None", fieldSelector=ENDED
        ):
            names = [column["name"] for column in table["columnDefinitions"]]
            if COLUMN not in names:
                raise Conflict(
                    f"the CustomResourceDefinition of jobs has no column {COLUMN}; apply the one of this release"
                )
            name, state = names.index("Name"), names.index(COLUMN)
            for row in table["rows"] or ():
                if row["cells"][state] in UNDELIVERED:
                    yield row["cells"][name]


def _delivery(job: Json) -> dict[str, object] | None:
    status, meta = job.get("status") or {}, job["metadata"]
    told = next((one for one in status.get("conditions") or () if one["type"] == CONDITION), None)
    if told is None or told["reason"] not in UNDELIVERED:
        return None
    return {
        "id": message_id(meta["uid"], int(status.get("redrives", 0))), "job": meta["name"],
        "url": str((job["spec"].get("webhook") or {}).get("url", "")), "state": told["reason"],
        "lastError": told.get("message", ""),
    }  # fmt: skip
