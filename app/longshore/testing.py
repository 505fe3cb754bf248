"""For an application's own tests: run a handler as a slot would, in the test's own process.

::

    from longshore.testing import run

    def test_the_width_is_kept():
        assert run(thumbnail, {"path": "cat.png", "width": 10}).value == {"width": 10}
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from longshore import json_form
from longshore.app_metrics.changes import CHANGES
from longshore.app_metrics.declared import DECLARED
from longshore.app_metrics.totals import Totals
from longshore.handlers import REGISTRY, Context, Handler

_totals = Totals(1000, lambda _name: None)

UID = "00000000-0000-4000-a000-000000000000"


class RecordingContext(Context):
    """A context that remembers what it was told in ``reports``: percent, 0 to 100, and message of each."""

    def __init__(
        self, job: str = "test", *, attempt: int = 1, index: int | None = None, timeout: float | None = None,
        cancelled: bool = False,
    ) -> None:  # fmt: skip
        self.reports: list[tuple[float, str]] = []
        super().__init__(
            job, uid=UID, attempt=attempt, index=index, deadline=None if timeout is None else time.monotonic() + timeout,
            idempotency_key=UID if index is None else f"{UID}/{index}",
            report=lambda percent, message: self.reports.append((percent, message)), poll=lambda: cancelled,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """What a run of a handler left."""

    value: Any
    """What it returned, as ``GET /v1/jobs/{id}/result`` would show it."""
    context: RecordingContext
    """What it was given, with what it reported."""


def run(
    handler: Callable[..., Any] | str, args: Mapping[str, object] | None = None, *, attempt: int = 1,
    index: int | None = None, timeout: float | None = None, cancelled: bool = False,
) -> Result:  # fmt: skip
    """Run a handler, given as function or by name, with arguments as a job has them: JSON, checked by the type hints.

    ``timeout`` in seconds sets ``ctx.deadline`` and ends nothing; with ``cancelled`` the handler finds itself
    cancelled. Raises whatever the handler raises, ``pydantic.ValidationError`` for arguments that do not fit,
    ``TypeError`` for arguments or a result that JSON cannot carry, ``LookupError`` for what is no handler.
    """
    found = _find(handler)
    context = RecordingContext(attempt=attempt, index=index, timeout=timeout, cancelled=cancelled)
    value = found.call(_as_json(args or {}), context)
    return Result(orjson.loads(json_form.encode(value)), context)


def sample_value(name: str, labels: Mapping[str, str] | None = None) -> float | None:
    """What this process has counted so far, by the name of a line of ``/metrics``, such as ``shop_paid_total``; else None.

    It counts on from one test to the next: compare before and after.
    """
    _totals.declare(DECLARED.by_name.values())
    _totals.apply("test", CHANGES.take())
    return _totals.sample(name, labels or {})


def _find(handler: Callable[..., Any] | str) -> Handler:
    for found in REGISTRY.values():
        if handler in (found.name, found.function):
            return found
    raise LookupError(f"{handler!r} is no handler here: is it marked with @handler, and its module imported?")


def _as_json(value: object) -> Any:
    return orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
