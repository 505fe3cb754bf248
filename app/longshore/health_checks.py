"""Health checks of applications: what ``@health_check`` registers. They are run by ``api/checks.py``."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar, overload

HealthCheck = Callable[[], object]
Kind = Literal["readiness", "liveness"]
F = TypeVar("F", bound=HealthCheck)

TIMEOUT_SECONDS, CACHE_SECONDS = 5.0, 2.0
LONGEST_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Check:
    """A registered check."""

    name: str
    function: HealthCheck
    kind: Kind | None = None
    """What it decides beside ``/healthz``; None: nothing."""
    timeout_seconds: float = TIMEOUT_SECONDS
    cache_seconds: float = CACHE_SECONDS


HEALTH_CHECKS: dict[str, Check] = {}
"""Health checks of the applications that this process has imported, by name."""


@overload
def health_check(function: F, /) -> F: ...
@overload
def health_check(
    *, kind: Kind | None = ..., timeout_seconds: float = ..., cache_seconds: float = ...
) -> Callable[[F], F]: ...
def health_check(
    function: F | None = None,
    /,
    *,
    kind: Kind | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    cache_seconds: float = CACHE_SECONDS,
) -> F | Callable[[F], F]:
    """Register a function that raises when something that the application needs is broken.

    ``kind`` says what it decides beside ``/healthz``: "readiness" whether the service is ready, "liveness" whether the api
    process is to be replaced. A check that takes longer than ``timeout_seconds`` counts as failed. What it found
    counts for ``cache_seconds``. Raises ValueError for another kind, times that cannot be, and an ``async`` function.
    """
    if kind not in ("readiness", "liveness", None):
        raise ValueError(f"a health check is of the kind readiness or liveness, not {kind!r}")
    _refuse_time("timeout_seconds", timeout_seconds, least=0.001)
    _refuse_time("cache_seconds", cache_seconds, least=0.0)

    def register(function: F) -> F:
        if inspect.iscoroutinefunction(function):
            raise ValueError(f"{function.__qualname__} is async: no event loop runs health checks; use asyncio.run")
        name = f"{function.__module__}.{getattr(function, '__name__', 'check')}"
        HEALTH_CHECKS[name] = Check(name, function, kind, timeout_seconds, cache_seconds)
        return function

    return register if function is None else register(function)


def _refuse_time(name: str, seconds: float, *, least: float) -> None:
    if not (math.isfinite(seconds) and least <= seconds <= LONGEST_SECONDS):
        raise ValueError(
            f"{name} of a health check is a number of seconds, {least:g} to {LONGEST_SECONDS:g}, not {seconds}"
        )
