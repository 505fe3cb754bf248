"""The shape of what the operator's leader tells of a pool, for the OpenAPI document alone; see ``openapi_answers``."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic asks for this one on Python 3.11

from longshore.api.openapi_answers import CONFIG


class Demand(TypedDict):
    """What a pool has to do."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    running: int
    """running is how many attempts run."""
    waiting: float
    """waiting is how many jobs wait for this pool; a share of those that several pools serve."""
    due_soon: float
    """dueSoon is how many jobs can start within the time that a worker takes to start."""
    wanted_slots: float
    """wantedSlots is how many slots that asks for."""


class StartingWorker(TypedDict):
    """A pod that runs nothing yet."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    name: str
    """name is the pod's."""
    stage: str
    """stage is how far the start has come, in the words of the kubelet."""


class PoolInfo(TypedDict):
    """A pool of workers in a cluster, and why it has as many as it has."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    name: str
    """name is the label `longshore.dev/pool`."""
    namespace: str
    """namespace is that of the Deployment."""
    deployment: str
    """deployment is the name of the Deployment."""
    replicas: int
    """replicas is `spec.replicas` of the Deployment."""
    desired: NotRequired[int]
    """desired is how many workers are wanted; absent while that is not known."""
    reason: str
    """reason says in one word why."""
    message: str
    """message says in a sentence why."""
    queues: list[str]
    """queues are those that the pool serves, `*` for all."""
    slots_per_worker: int
    """slotsPerWorker is how many attempts one worker runs at a time."""
    workers: dict[str, int]
    """workers are counts by state: busy, ready, starting, leaving, draining, unready, unreachable."""
    demand: Demand
    starting: list[StartingWorker]
    """starting are the pods that run nothing yet."""
    settings: NotRequired[Annotated[dict[str, float], Field(description=(
        "settings are the annotations that say how the pool scales; absent for a pool that is not scaled."))]]  # fmt: skip
    warning: NotRequired[str]
    """warning names annotations that cannot be read."""
