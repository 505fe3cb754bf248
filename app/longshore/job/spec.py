"""What somebody asks for: the immutable half of a job.

One model, three publications: the body of ``POST /v1/jobs``, the ``spec`` of the Job resource and the
record in SQLite. Parse it from JSON only (``parse_spec``): field names are camelCase
there, unknown names are refused, and nothing is coerced from another type but an integral float.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic.alias_generators import to_camel

from longshore.job import patterns
from longshore.job.receiver import MAX_URL, check_url

API_VERSION = "longshore.dev/v1alpha1"
KIND = "Job"

MAX_ARGS_BYTES = 64 * 1024
MAX_ITEMS = 10_000
MAX_ITEMS_BYTES = 512 * 1024
MAX_JSON_DEPTH = 64  # deeper data is a mistake or an attack; orjson itself stops at 255 when writing
MAX_MEMORY_BYTES = 2**60  # more than any machine has, and an integer that every JSON writer takes
MAX_SECONDS = 10 * 365 * 86_400  # ten years: beyond it a number is a typing error

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999

_SHOWN = 100  # characters of what was sent that a message repeats

_ENV_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,254}$")
_MEMORY = r"^[1-9][0-9]{0,11}(Ki|Mi|Gi|Ti|k|M|G|T)?$"
_MEMORY_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
                 "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}  # fmt: skip


class Frozen(BaseModel):
    """A value: it never changes, knows its fields exactly and spells them camelCase outside Python."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel,
        validate_by_name=True, validate_by_alias=True, serialize_by_alias=True,
        use_attribute_docstrings=True, ser_json_timedelta="float",
    )  # fmt: skip


def _integral(value: object) -> object:
    # JSON Schema calls 7.0 an integer, so a client that reads our document may send it.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _rfc3339(value: object) -> object:
    # pydantic reads more: seconds since 1970, a space for the T, a zone without its colon.
    if isinstance(value, int | float) or (isinstance(value, str) and not patterns.matches(patterns.TIME, value)):
        raise ValueError("write a date and time with a zone, such as 2026-01-31T08:00:00Z")
    return value


def _finite_json(value: object, depth: int = 0) -> None:
    if depth > MAX_JSON_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_JSON_DEPTH} levels")
    if isinstance(value, dict):
        for inner in value.values():
            _finite_json(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _finite_json(inner, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that JSON cannot carry (NaN or infinite)")


def _json_size(value: object) -> int:
    try:
        return len(orjson.dumps(value))
    except TypeError as error:
        raise ValueError(f"cannot be written as JSON: {error}") from error


def small_json(limit: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A validator of JSON objects of at most ``limit`` bytes."""

    def check(value: dict[str, Any]) -> dict[str, Any]:
        _finite_json(value)
        if (size := _json_size(value)) > limit:
            raise ValueError(f"takes {size} bytes of JSON; at most {limit} are allowed")
        return value

    return check


def _small_items(value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    for item in value:
        _finite_json(item)
    if (size := _json_size(value)) > MAX_ITEMS_BYTES:
        raise ValueError(f"takes {size} bytes of JSON; at most {MAX_ITEMS_BYTES} are allowed")
    return value


def _label_map(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        if len(key) > patterns.MAX_LABEL_KEY or not patterns.matches(patterns.LABEL_KEY, key):
            raise ValueError(f"has a key {key[:_SHOWN]!r} that is no label key")
        if len(text) > 63 or not patterns.matches(patterns.LABEL_VALUE, text):
            raise ValueError(f"has a value {text[:_SHOWN]!r} that is no label value (≤ 63 letters, digits, '-_.')")
    return value


def _env_names(value: dict[str, str]) -> dict[str, str]:
    for key in value:
        if not _ENV_NAME.fullmatch(key):
            raise ValueError(f"has a name {key!r} that is no environment variable name")
        if "\0" in value[key]:
            raise ValueError(f"has a zero byte in the value of {key!r}")
    return value


def _no_zero_bytes(value: tuple[str, ...]) -> tuple[str, ...]:
    if any("\0" in word for word in value):
        raise ValueError("has a zero byte in a word")
    if not value[0]:
        raise ValueError("begins with an empty word where a program is expected")
    return value


def _unique(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) != len(value):
        raise ValueError("names an entry twice")
    return value


# Behind the bounds of a field: before them, they would be no part of the integer and have no name in JSON Schema.
INTEGRAL = BeforeValidator(_integral)
Int = Annotated[int, INTEGRAL]
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)]
Delay = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]
_TimeForm = Field(strict=False, json_schema_extra={"pattern": patterns.portable(patterns.TIME)})
Time = Annotated[AwareDatetime, _TimeForm, BeforeValidator(_rfc3339)]
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=patterns.DNS_SUBDOMAIN)]
QueueName = Annotated[str, Field(min_length=1, max_length=63, pattern=patterns.DNS_LABEL)]
HandlerName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_.:-]*$")]
Key = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^\x00-\x1f\x7f]+$")]
# Checked by hand, as an address is.
_LabelForm = Field(json_schema_extra={"maxLength": 63, "pattern": patterns.portable(patterns.LABEL_VALUE)})
Labels = Annotated[dict[str, Annotated[str, _LabelForm]], Field(max_length=64), AfterValidator(_label_map)]
Args = Annotated[dict[str, Any], AfterValidator(small_json(MAX_ARGS_BYTES))]
CommandLine = Annotated[
    tuple[Annotated[str, Field(max_length=4096)], ...],
    Field(min_length=1, max_length=128),
    AfterValidator(_no_zero_bytes),
]
Env = Annotated[dict[str, Annotated[str, Field(max_length=8192)]], Field(max_length=64), AfterValidator(_env_names)]
# Checked by hand, because it is worth a message that says what is wrong; the pattern is for whoever reads the schema.
WebAddress = Annotated[
    str,
    Field(max_length=MAX_URL, json_schema_extra={"pattern": patterns.portable(patterns.WEB_ADDRESS)}),
    AfterValidator(check_url),
]
Pattern = Annotated[str, Field(min_length=1, max_length=200)]


class End(StrEnum):
    """A way a job can end; also what a webhook may be asked to report."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class Retry(Frozen):
    """How long to wait between attempts, and which failures are worth another one."""

    initial_seconds: Delay = 1.0
    """Longest wait before the first retry."""
    factor: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = 2.0
    """What the longest wait is multiplied by for each further retry."""
    max_seconds: Delay = 600.0
    """Upper bound of the longest wait."""
    jitter: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    """Share of the wait that is random: 1 draws from the whole wait (full jitter), 0 waits all of it."""
    on: Annotated[tuple[Pattern, ...], Field(max_length=32), AfterValidator(_unique)] = ()
    """Retry only these: exception class names, `exit:<code>`, or reasons such as `TimedOut`; empty means all."""
    except_: Annotated[tuple[Pattern, ...], Field(max_length=32, alias="except"), AfterValidator(_unique)] = ()
    """Never retry these, written as in `on`; wins over `on`."""


class Webhook(Frozen):
    """Where to report the end of the job (Standard Webhooks 1.0 headers, retried, never blocking the job)."""

    url: WebAddress
    """Absolute http or https address (RFC 3986), without credentials and without a fragment."""
    secret_ref: QueueName | None = None
    """Name of the secret that signs the delivery; unsigned without one."""
    on: Annotated[tuple[End, ...], Field(min_length=1, max_length=3), AfterValidator(_unique)] = tuple(End)
    """Which ends are reported."""


class Resources(Frozen):
    """What one attempt may use."""

    memory: Annotated[str, Field(pattern=_MEMORY)] | None = None
    """Resident memory of the attempt's processes together, such as `512Mi`; above it the attempt ends as `oom`."""

    @property
    def memory_bytes(self) -> int | None:
        """The limit in bytes, at most ``MAX_MEMORY_BYTES``; ``None`` when there is none."""
        if self.memory is None:
            return None
        digits = self.memory.rstrip("KMGTik")
        return min(int(digits) * _MEMORY_UNITS[self.memory[len(digits) :]], MAX_MEMORY_BYTES)


class JobSpec(Frozen):
    """One unit of work as somebody asked for it. All but `cancel`, `suspend` and `redrive` is immutable."""

    queue: QueueName = "default"
    """Queue that the job waits in."""
    handler: HandlerName | None = None
    """Name of the registered Python function that runs the job; exactly one of handler and command."""
    command: CommandLine | None = None
    """Program and arguments that run the job, without a shell; exactly one of handler and command."""
    args: Args = Field(default_factory=dict)
    """Arguments of the handler by name, at most 64 KiB as JSON."""
    env: Env = Field(default_factory=dict)
    """Environment variables of a command job, beside the few that every command gets."""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000), INTEGRAL] = 0
    """Higher runs first within the queue."""
    fairness_key: Key | None = None
    """Jobs of one queue and priority are taken by turns across these keys (a tenant, a user)."""
    concurrency_key: Key | None = None
    """Jobs of one queue with the same key share the queue's limit per key."""
    start_after: Time | None = None
    """Do not start before this time (RFC 3339, with a zone); the past means now."""
    start_deadline_seconds: Seconds | None = None
    """Fail with `StartDeadlineExceeded` when the first attempt has not started so long after it could have."""
    timeout_seconds: Seconds | None = None
    """Longest run of one attempt; without one the handler's, then the queue's, then no limit."""
    max_retries: Annotated[int, Field(ge=0, le=1000), INTEGRAL] | None = None
    """Attempts after the first that failures may cost; without one the handler's, then the queue's, then 0."""
    retry: Retry | None = None
    """Back-off and filters of retries; without one the handler's, then the queue's, then the defaults."""
    max_disruptions: Annotated[int, Field(ge=0, le=1000), INTEGRAL] | None = None
    """Attempts that may be lost through no fault of the job; without one the queue's, then 10."""
    ttl_seconds_after_finished: Delay | None = None
    """Remove the job so long after its end; without one the service's retention."""
    items: (
        Annotated[tuple[dict[str, Any], ...], Field(min_length=1, max_length=MAX_ITEMS), AfterValidator(_small_items)]
        | None
    ) = None
    """Array job: one run per object, each merged over `args`; at most 10,000 and 512 KiB."""
    count: Annotated[int, Field(ge=1, le=MAX_ITEMS), INTEGRAL] | None = None
    """Array job: so many runs, each told its index; instead of `items`."""
    parallelism: Annotated[int, Field(ge=1, le=MAX_ITEMS), INTEGRAL] | None = None
    """Array job: at most so many runs at a time."""
    after: Annotated[tuple[Name, ...], Field(max_length=64), AfterValidator(_unique)] = ()
    """Names of jobs that must succeed first."""
    webhook: Webhook | None = None
    """Where to report the end."""
    resources: Resources | None = None
    """What one attempt may use."""
    cancel: bool = False
    """Mutable: true asks for the job to end as soon as it can."""
    suspend: bool = False
    """Mutable: true keeps a waiting job waiting; a running attempt goes on."""
    redrive: Annotated[int, Field(ge=0, le=1_000_000), INTEGRAL] = 0
    """Mutable: raising it sends a failed job round again with fresh budgets."""

    @model_validator(mode="after")
    def _whole(self) -> "JobSpec":
        if (self.handler is None) == (self.command is None):
            raise ValueError("exactly one of handler and command must be given")
        if self.command is not None and self.args:
            raise ValueError("args belongs to a handler; a command takes its arguments in command")
        if self.command is None and self.env:
            raise ValueError("env belongs to a command; a handler takes its arguments in args")
        if self.items is not None and self.count is not None:
            raise ValueError("items and count exclude each other")
        if self.items is not None and self.command is not None:
            raise ValueError("items belongs to a handler; a command array uses count")
        if self.parallelism is not None and not self.is_array:
            raise ValueError("parallelism needs items or count")
        return self

    @property
    def is_array(self) -> bool:
        """Whether the job has numbered items, each with attempts of its own."""
        return self.items is not None or self.count is not None

    @property
    def size(self) -> int:
        """Number of items of an array job; 1 for any other."""
        return len(self.items) if self.items is not None else self.count or 1


MUTABLE_FIELDS = frozenset({"cancel", "suspend", "redrive"})


class Submission(JobSpec):
    """Body of ``POST /v1/jobs``: the specification's fields at top level, and what the object is called."""

    name: Name | None = None
    """Name of the job, unique among the kept ones; generated and time-ordered when absent."""
    labels: Labels = Field(default_factory=dict)
    """Labels, as Kubernetes takes them; lists can be filtered by them."""


class Metadata(Frozen):
    """The part of Kubernetes object metadata that a submitted manifest may carry."""

    name: Name | None = None
    """Name of the job."""
    namespace: QueueName | None = None
    """Namespace of the job; on a laptop only `default`."""
    labels: Labels = Field(default_factory=dict)
    """Labels of the job."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Accepted so that cluster manifests can be sent unchanged; not kept on a laptop."""


class Manifest(Frozen):
    """A Job resource as ``kubectl apply`` takes it."""

    api_version: Literal["longshore.dev/v1alpha1"]
    """Always `longshore.dev/v1alpha1`."""
    kind: Literal["Job"]
    """Always `Job`."""
    metadata: Metadata = Field(default_factory=Metadata)
    """Name and labels."""
    spec: JobSpec
    """What to run."""

    def submission(self) -> Submission:
        """The same request in the shape of ``POST /v1/jobs``."""
        given = {name: getattr(self.spec, name) for name in self.spec.model_fields_set}
        return Submission.model_construct(
            _fields_set=set(given) | {"name", "labels"},
            name=self.metadata.name, labels=self.metadata.labels, **given,
        )  # fmt: skip


def parse_spec(data: bytes | str) -> JobSpec:
    """Read a specification from JSON; raises ``pydantic.ValidationError``."""
    return JobSpec.model_validate_json(data, by_alias=True, by_name=False)


def spec_json(spec: JobSpec) -> bytes:
    """The specification as it is stored: camelCase JSON of the fields that somebody set."""
    return spec.model_dump_json(exclude_unset=True, exclude={"name", "labels"}).encode()


def item_args(spec: JobSpec, index: int) -> Mapping[str, Any]:
    """Arguments of item ``index``: the shared ones with the item's own laid over them."""
    return {**spec.args, **spec.items[index]} if spec.items is not None else spec.args


def rfc3339(when: datetime) -> str:
    """The one spelling of a time in this project: UTC, microseconds, ``Z``."""
    return when.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def rfc3339_at(when: float) -> str:
    """``rfc3339`` of seconds since the epoch."""
    return utc(when).isoformat(timespec="microseconds")[:26] + "Z"


def utc(when: float) -> datetime:
    """Seconds since the epoch as a time; what a zone has pushed out of the years 1 to 9999 is at their edge."""
    return datetime.fromtimestamp(min(max(when, _FIRST_SECOND), _LAST_SECOND), UTC)
