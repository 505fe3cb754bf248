"""The shapes of answers, for the OpenAPI document alone: what a client's generator makes types of.

Answers are put together where they are known (engine, store, operator's leader) and pass through the api as they are.
These types say what a reader may rely on. What only a laptop or only a cluster knows is ``NotRequired``. Further fields
may come with later releases, so no answer is closed. ``tests/api/test_openapi.py`` holds real answers against them.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AwareDatetime, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict  # pydantic asks for this one on Python 3.11

from longshore.job.schedule import ScheduleOrigin, ScheduleSpec, ScheduleStatus
from longshore.job.spec import Labels, Retry
from longshore.job.status import JobError, Phase

CONFIG = ConfigDict(alias_generator=to_camel, use_attribute_docstrings=True)


class Links(TypedDict):
    """Where the service's routes are."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]  # pydantic's own way to configure a TypedDict
    links: dict[str, str]
    """links maps a word, such as `jobs`, to the path of its route."""


class HandlerInfo(TypedDict):
    """A handler that this service or its workers can run. Further fields are what it sets of `spec`, such as `queue`."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    name: str
    """name is what `spec.handler` of a job says."""
    description: str
    """description is the handler's own first sentence."""
    module: str
    """module is the Python module that registered it."""
    runner: str
    """runner is where it runs: `slot` for a warm process, `process` for one of its own."""
    args: dict[str, Any]
    """args is the JSON Schema of the arguments."""
    timeout_seconds: float | None
    """timeoutSeconds is how long one attempt may run unless the job says otherwise; null for no limit."""
    max_retries: int | None
    """maxRetries is how many retries a job gets unless it says otherwise; null for the queue's."""
    retry: Annotated[Retry | None, Field(description="retry is the back-off unless the job says otherwise.")]
    schedule: NotRequired[str]
    """schedule is the cron field by which `longshore serve` creates jobs of it; absent without one."""
    time_zone: NotRequired[str]
    """timeZone is the time zone of the schedule."""


class RunningAttempt(TypedDict):
    """An attempt that runs now."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    job: str
    """job is the name of the job."""
    namespace: NotRequired[str]
    """namespace is that of the job; absent on a laptop."""
    attempt: int
    """attempt is the number of the attempt."""
    index: int | None
    """index is the item of an array job; null for any other job."""
    handler: str
    """handler is what runs; empty for a command."""
    slot: NotRequired[int]
    """slot is the number of the slot that runs it; absent in a cluster."""
    started_at: AwareDatetime
    """startedAt is when the attempt was given to the worker."""
    seconds: float
    """seconds is how long the attempt has run."""


class WorkerInfo(TypedDict):
    """A worker, and what runs on it. On a laptop the service itself is the only one."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    name: str
    """name is the host's or the pod's."""
    namespace: NotRequired[str]
    """namespace is that of the pod; absent on a laptop."""
    pool: NotRequired[str]
    """pool is the label `longshore.dev/pool` of the pod; absent on a laptop."""
    boot: str
    """boot tells two starts of one worker apart."""
    ready: NotRequired[bool]
    """ready is the Ready condition of the pod; absent on a laptop."""
    draining: bool
    """draining is true while the worker takes no new attempts."""
    slots: int
    """slots is how many attempts it runs at a time."""
    free: int
    """free is how many slots are idle."""
    handlers: list[str]
    """handlers are the names of what it can run."""
    commands: NotRequired[bool]
    """commands is true when it runs command jobs; absent on a laptop."""
    queues: NotRequired[list[str]]
    """queues are those that the worker serves, `*` for all; absent on a laptop."""
    serves_namespaces: NotRequired[list[str]]
    """servesNamespaces are those whose jobs it runs, `*` for all; absent on a laptop."""
    late_seconds: NotRequired[float]
    """lateSeconds is how long the worker's answer has been overdue; absent on a laptop."""
    running: list[RunningAttempt]
    """running is what runs on it now."""


class SlotCounts(TypedDict):
    """The slots of a worker."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    total: int
    """total is how many attempts run at a time."""
    busy: int
    """busy is how many run now."""


class WaitingCounts(TypedDict):
    """The jobs that wait."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    count: int
    """count is how many jobs wait, in all queues together."""
    max: int
    """max is how many may wait (setting `max_pending`)."""
    oldest_age_seconds: float
    """oldestAgeSeconds is how long the oldest job has waited that could run; 0 without one."""


class OutcomeCounts(TypedDict):
    """What a worker has to tell the operator."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    unacknowledged: int
    """unacknowledged is how many outcomes are not on record yet."""
    bytes: int
    """bytes is how much memory they hold."""


class WebhookCounts(TypedDict):
    """The webhooks of a laptop's jobs."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    pending: int
    """pending is how many are not delivered yet."""


class WatchState(TypedDict):
    """How an api process of a cluster follows the API server."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    connected: bool
    """connected is true while the watch stands."""
    waiting: int
    """waiting is how many requests wait for a change."""


class ServiceStatus(TypedDict):
    """How the service stands."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    version: str
    """version is the release."""
    ready: bool
    """ready is true while jobs are taken."""
    draining: bool
    """draining is true while no new jobs are taken or started."""
    reasons: NotRequired[list[str]]
    """reasons say why jobs are not taken; absent when they are."""
    worker: NotRequired[str]
    """worker is the name of this worker; absent in the api of a cluster."""
    boot: NotRequired[str]
    """boot tells two starts apart; absent in the api of a cluster."""
    started_at: NotRequired[AwareDatetime]
    """startedAt is when the process started; absent in the api of a cluster."""
    slots: NotRequired[SlotCounts]
    waiting: NotRequired[WaitingCounts]
    outcomes: NotRequired[OutcomeCounts]
    running: NotRequired[list[RunningAttempt]]
    """running is what runs now; in the details of a laptop and a worker."""
    namespace: NotRequired[str]
    """namespace is where the jobs are; in a cluster."""
    watch: NotRequired[WatchState]
    webhooks: NotRequired[WebhookCounts]
    jobs: NotRequired[dict[str, int]]
    """jobs are counts by phase; on a laptop, and in the details of a cluster."""


class Liveness(TypedDict):
    """The api process answers."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    status: Literal["ok"]
    """status is always `ok`."""


class Health(TypedDict):
    """Whether jobs are taken now."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    status: Literal["ok", "not ready"]
    """status is `ok` when every check passes."""
    checks: dict[str, str]
    """checks maps each check to `ok` or to what is wrong."""


class Item(TypedDict):
    """An item of an array job."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    index: int
    """index is the item's place in the array, from 0."""
    phase: Phase
    """phase is where the item stands."""
    attempts: NotRequired[int]
    """attempts is how many have been started; absent in a cluster."""
    retries: NotRequired[int]
    """retries is how many attempts failures have cost; absent in a cluster."""
    result: NotRequired[Any]
    """result is what the handler returned (JSON)."""
    result_ref: NotRequired[str]
    """resultRef names, in the results directory, a result that the page has no room for."""
    result_not_kept: NotRequired[str]
    """resultNotKept says why what the handler returned cannot be read."""
    error: NotRequired[JobError]
    """error is why the item failed."""


class Delivery(TypedDict):
    """A webhook that is not delivered."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]
    id: str
    """id is the `webhook-id` that the receiver sees."""
    job: NotRequired[str]
    """job is the name of the job; absent once the job is removed."""
    url: str
    """url is where it is sent."""
    state: Literal["Pending", "Retrying", "Refused", "GivenUp"]
    """state is `Pending` before the first try and `Retrying` after a failed one; the other two are tried no more."""
    attempts: NotRequired[int]
    """attempts is how many tries have failed; absent in a cluster, where nobody keeps it."""
    last_error: str
    """lastError is what the last try said; empty before the first."""
    next_at: NotRequired[AwareDatetime]
    """nextAt is when it is tried again; absent when it is not."""


class Schedule(TypedDict):
    """A schedule, and how it stands."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]  # pydantic's own way to configure a TypedDict
    name: str
    """name is what its jobs are named after."""
    uid: str
    """uid is never used twice, where a name may be."""
    namespace: str
    """namespace is `default` on one machine."""
    labels: Labels
    """labels are those of the schedule, not of its jobs."""
    created_at: AwareDatetime
    """createdAt is when the schedule was made."""
    origin: ScheduleOrigin
    """origin is who declares it: `request`, or `file` and `handler`, whose schedules cannot be changed here."""
    spec: ScheduleSpec
    """spec is what was asked for."""
    status: NotRequired[ScheduleStatus]
    """status is what the schedule has done."""
    next_times: list[AwareDatetime]
    """nextTimes are the next times that a job is created for; empty while it is suspended."""


ANSWERS = (Schedule, Links, HandlerInfo, WorkerInfo, ServiceStatus, Liveness, Health, Item, Delivery)
