"""The Queue resource: the policy of one named line of jobs, and how the line stands."""

from typing import Annotated

from pydantic import Field

from longshore.job.conditions import Conditions
from longshore.job.limits import QueuePolicy
from longshore.job.spec import INTEGRAL, Frozen

QUEUE_KIND = "Queue"


class QueueSpec(QueuePolicy):
    """How the queue of this name treats its jobs; a queue without a Queue resource has the defaults."""


class QueueStatus(Frozen):
    """How the line stands; written when it changes, at most every few seconds."""

    depth: Annotated[int, Field(ge=0), INTEGRAL] = 0
    """Jobs that wait."""
    running: Annotated[int, Field(ge=0), INTEGRAL] = 0
    """Attempts on a worker now."""
    oldest_age_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """How long the oldest waiting job has waited; absent when none waits."""
    conditions: Conditions = ()
    """Kubernetes conditions."""
