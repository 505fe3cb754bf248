"""What the template says of itself, checked: applications run in it, and may write to its descriptor whatever they like."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from longshore.app_metrics.declared import MAX_METRICS, Declaration
from longshore.job.spec import HandlerName, Retry

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_HANDLERS: Final = 10_000

HandlerInfo = dict[str, object]


class _Handler(BaseModel):
    """What the engine reads of a handler; people read the rest."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow")

    name: HandlerName
    runner: Annotated[str, Field(max_length=32)] = "slot"
    args: dict[str, Any]
    timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    max_retries: Annotated[int, Field(ge=0)] | None = None
    retry: Retry | None = None


class _Metrics(BaseModel):
    declared: Annotated[tuple[Declaration, ...], Field(max_length=MAX_METRICS)] = ()
    counted: Annotated[list[object], Field(max_length=100_000)] = []


class _Hello(BaseModel):
    model_config = ConfigDict(extra="ignore")

    failed: Annotated[str, Field(max_length=64 * 1024)] = ""
    handlers: Annotated[tuple[_Handler, ...], Field(max_length=MAX_HANDLERS)] = ()
    threads: Annotated[tuple[str, ...], Field(max_length=10_000)] = ()
    metrics: _Metrics = _Metrics()


@dataclass(frozen=True, slots=True)
class Hello:
    """Of a template that has imported, or could not."""

    failed: str
    """Why it could not; empty when it has."""
    handlers: list[HandlerInfo]
    threads: list[str]
    """Names of threads that the applications have started."""
    declared: tuple[Declaration, ...] = ()
    """Metrics of the applications."""
    counted: Sequence[object] = ()
    """What they counted while they were imported; ``Totals.apply`` checks it."""


def read(data: bytes) -> Hello:
    """The message; raises ValueError, which says what is wrong with it."""
    try:
        raw = orjson.loads(data)
        said = _Hello.model_validate_json(data)  # not what orjson made of it: a list of JSON is a tuple in JSON alone
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except orjson.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not said.failed and "handlers" not in raw:
        raise ValueError("it names no handlers")
    for declaration in said.metrics.declared:
        declaration.check()
    metrics = said.metrics
    return Hello(said.failed, raw.get("handlers", []), list(said.threads), metrics.declared, metrics.counted)
