"""The part of a store that lists webhooks, where the operator sends them: every question is refused with the way there."""

from collections.abc import Sequence

from longshore.errors import Conflict

NO_OUTBOX = (
    "in a cluster the operator sends webhooks and keeps no list of them: the condition WebhookDelivered of each Job has the"
    " state and the last error; one that was given up is sent anew when its job is redriven and ends again"
)


class NoOutbox:
    """Refuses both verbs of ``JobStore`` about deliveries; raises Conflict."""

    def deliveries(self, *, after: str = "", limit: int = 100) -> list[dict[str, object]]:  # noqa: ARG002 - the port's
        """What waits or was given up."""
        raise Conflict(NO_OUTBOX)

    def retry_deliveries(self, jobs: Sequence[str] | None) -> int:  # noqa: ARG002 - the port's
        """Try some of it again."""
        raise Conflict(NO_OUTBOX)
