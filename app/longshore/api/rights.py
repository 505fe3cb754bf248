"""Which right a route needs in a cluster, and where: one table for every route of ours.

The right on a route about jobs, queues or pools is asked for in the namespace that the request names. Everything else
shows or changes what belongs to the release, so there ``?namespace=`` chooses nothing, and the right is asked for in
the release's own namespace. So are the routes of applications, whose parameters are their own affair.
"""

from dataclasses import dataclass
from enum import Enum


class Where(Enum):
    """The namespace in which a right is asked for."""

    NAMED = "named"
    """The one that the request names, which has to be one that is served; the release's own without a name."""
    OWN = "own"
    """The release's own, whatever the request names."""


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a resource of ours, as RBAC has it."""

    verb: str
    resource: str = "jobs"
    where: Where = Where.NAMED


_LOOK, _CHANGE = Right("get", where=Where.OWN), Right("patch", where=Where.OWN)

PUBLIC: frozenset[str] = frozenset({"service.index", "service.v1", "docs.document", "ui.page", "ui.asset"})
"""Endpoints that show nobody's jobs: every caller whom the cluster knows may see them."""

RIGHTS: dict[str, Right] = {
    "jobs.submit": Right("create"),
    "jobs.submit_batch": Right("create"),
    "jobs.find": Right("list"),
    "jobs.count": Right("list"),
    "jobs.get": Right("get"),
    "jobs.result": Right("get"),
    "jobs.items": Right("get"),
    "jobs.explain": Right("get"),
    "jobs.delete": Right("delete"),
    "jobs.cancel": Right("patch"),
    "jobs.suspend": Right("patch"),
    "jobs.resume": Right("patch"),
    "jobs.redrive": Right("patch"),
    "streams.logs": Right("get"),
    "streams.job_events": Right("get"),
    "streams.all_events": Right("list"),
    "longshore_webhooks.deliveries": Right("list"),
    "longshore_webhooks.retry": Right("patch"),
    "queues.queues": Right("list", "queues"),
    "queues.queue": Right("get", "queues"),
    "queues.pool": Right("get"),
    "queues.change_queue": Right("patch", "queues"),
    "queues.pause": Right("patch", "queues"),
    "queues.resume": Right("patch", "queues"),
    "schedules.find": Right("list", "schedules"),
    "schedules.get": Right("get", "schedules"),
    "schedules.create": Right("create", "schedules"),
    "schedules.put": Right("update", "schedules"),
    "schedules.delete": Right("delete", "schedules"),
    "schedules.pause": Right("patch", "schedules"),
    "schedules.resume": Right("patch", "schedules"),
    "schedules.trigger": Right("create"),  # a job: whoever may create one may run what the schedule says, too
    "service.handlers": _LOOK,
    "service.workers": _LOOK,
    "service.status": _LOOK,
    "service.status_details": _LOOK,
    "service.readyz": _LOOK,  # with ?verbose, which runs the checks of applications
    "service.healthz": _LOOK,
    "service.drain": _CHANGE,
    "service.undrain": _CHANGE,
    "service.reload": _CHANGE,
}
"""What every other endpoint of ours needs."""


def is_ours(endpoint: str) -> bool:
    """Whether the endpoint is the service's and not an application's."""
    return endpoint in RIGHTS or endpoint in PUBLIC


def right_of(endpoint: str, *, changes: bool) -> Right:
    """The right that an endpoint needs; one of an application: to look, or to change when its method is not a safe one."""
    return RIGHTS.get(endpoint) or (_CHANGE if changes else _LOOK)
