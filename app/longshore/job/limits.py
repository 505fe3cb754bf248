"""What bounds a job and its queue: policies, defaults that fill each other in, the token bucket."""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, StringConstraints

from longshore.job.spec import INTEGRAL, Frozen, JobSpec, Retry, Seconds

DEFAULT_MAX_RETRIES = 0
DEFAULT_MAX_DISRUPTIONS = 10
DEFAULT_AGEING_SECONDS = 60.0


class RateLimit(Frozen):
    """How many jobs of a queue may start in a time."""

    jobs: Annotated[int, Field(ge=1, le=1_000_000), INTEGRAL]
    """So many starts …"""
    per_seconds: Seconds = 1.0
    """… in so many seconds."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), INTEGRAL] = 1
    """Starts that may be saved up while nothing waits; the store of them is empty after a restart."""


class QueuePolicy(Frozen):
    """How a queue treats its jobs."""

    paused: bool = False
    """No job of the queue starts while true; running ones go on."""
    concurrency: Annotated[int, Field(ge=1, le=1_000_000), INTEGRAL] | None = None
    """At most so many attempts of the queue at a time."""
    key_concurrency: Annotated[int, Field(ge=1, le=1_000_000), INTEGRAL] | None = None
    """At most so many attempts at a time that share a `concurrencyKey`."""
    rate_limit: RateLimit | None = None
    """At most so many starts in a time."""
    max_pending: Annotated[int, Field(ge=0), INTEGRAL] | None = None
    """At most so many waiting jobs; more are refused with 429."""
    ageing_seconds: Annotated[float, Field(ge=0.001, allow_inf_nan=False)] | None = DEFAULT_AGEING_SECONDS
    """A priority level gains one step for each time this long that its oldest job waits; null: never."""
    fairness_weights: Annotated[
        dict[Annotated[str, StringConstraints(max_length=253)], Annotated[float, Field(gt=0, le=1000)]],
        Field(max_length=1000),
    ] = Field(default_factory=dict)
    """Turns of a `fairnessKey` in relation to the others, whose weight is 1."""
    timeout_seconds: Seconds | None = None
    """For jobs that name none, and whose handler names none."""
    max_retries: Annotated[int, Field(ge=0, le=1000), INTEGRAL] | None = None
    """For jobs that name none, and whose handler names none."""
    retry: Retry | None = None
    """For jobs that name none, and whose handler names none."""
    max_disruptions: Annotated[int, Field(ge=0, le=1000), INTEGRAL] | None = None
    """For jobs that name none."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a handler brings along for jobs that say nothing."""

    timeout_seconds: float | None = None
    max_retries: int | None = None
    retry: Retry | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for one job after all defaults."""

    max_retries: int = DEFAULT_MAX_RETRIES
    max_disruptions: int = DEFAULT_MAX_DISRUPTIONS
    retry: Retry = field(default_factory=Retry)
    timeout_seconds: float | None = None


def resolve(spec: JobSpec, handler: Defaults, queue: QueuePolicy) -> Policy:
    """The job's own word first, then its handler's, then its queue's, then the service's."""
    return Policy(
        max_retries=_first(spec.max_retries, handler.max_retries, queue.max_retries, DEFAULT_MAX_RETRIES),
        max_disruptions=_first(spec.max_disruptions, queue.max_disruptions, DEFAULT_MAX_DISRUPTIONS),
        retry=spec.retry or handler.retry or queue.retry or Retry(),
        timeout_seconds=spec.timeout_seconds or handler.timeout_seconds or queue.timeout_seconds,
    )


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


class TokenBucket:
    """Tokens that come at a steady rate and are saved up to ``burst``. It starts empty: no burst after a restart."""

    __slots__ = ("_at", "_tokens", "limit")

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._tokens = 0.0
        self._at = now

    def _refill(self, now: float) -> None:
        # A clock that was set back brings nothing, and takes nothing away.
        gained = max(0.0, now - self._at) * self.limit.jobs / self.limit.per_seconds
        self._tokens = min(float(self.limit.burst), self._tokens + gained)
        self._at = now

    def ready_at(self, now: float) -> float:
        """When the next token is there: ``now`` or later."""
        self._refill(now)
        missing = 1.0 - self._tokens
        # Less than a millionth of a token is rounding, not waiting.
        return now if missing <= 1e-6 else now + missing * self.limit.per_seconds / self.limit.jobs

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        if self.ready_at(now) > now:
            return False
        self._tokens = max(0.0, self._tokens - 1.0)
        return True
