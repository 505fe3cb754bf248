"""What the application was made of, for the views of a request."""

from dataclasses import dataclass
from typing import cast

from flask import current_app, request

from longshore.api.waiting import Budget
from longshore.apps import Apps
from longshore.settings import Settings
from longshore.store.port import JobStore


@dataclass(frozen=True, slots=True)
class Parts:
    """The pieces that ``create_app`` was given or made."""

    store: JobStore
    settings: Settings
    apps: Apps
    budget: Budget


def parts() -> Parts:
    """Of the running application."""
    return cast("Parts", current_app.extensions["longshore"])


def store() -> JobStore:
    """Where the jobs of the namespace are kept that the request names; raises InvalidRequest for a foreign one."""
    found = parts().store
    return found.in_namespace(request.args.get("namespace", "")) if request.query_string else found


def budget() -> Budget:
    """Who may wait."""
    return parts().budget
