"""What the application was made of, for the views of a request."""

from dataclasses import dataclass
from typing import cast

from flask import current_app, request

from longshore.api import parse
from longshore.api.checks import Checks
from longshore.api.readiness import Readiness
from longshore.api.waiting import Budget
from longshore.apps import Apps
from longshore.settings import Settings
from longshore.store.port import AttemptPort, JobStore, ServicePort
from longshore.store.schedule_port import ScheduleStore


@dataclass(frozen=True, slots=True)
class Parts:
    """The pieces that ``create_app`` was given or made."""

    store: ServicePort
    """A ``JobStore`` where jobs are kept, an ``AttemptPort`` on a worker."""
    settings: Settings
    apps: Apps
    budget: Budget
    polls: Budget
    readiness: Readiness
    checks: Checks


def parts() -> Parts:
    """Of the running application."""
    return cast("Parts", current_app.extensions["longshore"])


def service() -> ServicePort:
    """What every role answers of itself."""
    return parts().store


def store() -> JobStore:
    """Where the jobs of the namespace are kept that the request names; only for views that are not there on a worker.

    Raises InvalidRequest for a namespace that is not served.
    """
    found = cast("JobStore", parts().store)
    return found.in_namespace(parse.namespace()) if request.query_string else found


def schedules() -> ScheduleStore:
    """The same store, for its schedules."""
    return cast("ScheduleStore", store())


def attempts() -> AttemptPort:
    """What a worker runs; only for views of a worker."""
    return cast("AttemptPort", parts().store)


def budget() -> Budget:
    """Who may wait."""
    return parts().budget


def polls() -> Budget:
    """Which polls of a worker's feed may wait."""
    return parts().polls
