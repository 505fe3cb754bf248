"""What applications test their handlers with does what a slot does."""

import dataclasses
import uuid
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

import rough_jobs
from longshore import Context, handler
from longshore.handlers import REGISTRY
from longshore.testing import UID, RecordingContext, run
from service import Service


@dataclasses.dataclass
class Box:
    day: date
    id: uuid.UUID


@handler(name="testing.measure")
def measure(day: date, width: Annotated[int, Field(ge=1)] = 200, *, ctx: Context) -> dict[Any, Any]:
    """Show what arrives."""
    assert Context.current() is ctx
    ctx.progress(-5, "reading")
    ctx.progress(50)
    return {"day": day, "width": width, "box": Box(day, uuid.UUID(int=1)), 7: (1, 2), "kind": type(day).__name__}


@handler(name="testing.told")
def told(ctx: Context) -> list[object]:
    """Show what the context says."""
    remaining = ctx.remaining_seconds
    return [ctx.attempt, ctx.index, ctx.cancelled, remaining is not None and 0 < remaining <= 9, ctx.idempotency_key]


@handler(name="testing.odd")
def odd() -> object:
    """Return what JSON cannot carry."""
    return object()


@handler(name="testing.later")
async def later(x: int) -> int:
    """Be awaited."""
    return x + 1


@pytest.fixture(autouse=True, scope="module")
def leave_the_registry() -> Any:
    yield
    for name in [name for name in REGISTRY if name.startswith("testing.")]:
        del REGISTRY[name]


@pytest.mark.parametrize("which", [measure, "testing.measure"])
def test_arguments_and_result_go_through_json(which: Callable[..., Any] | str) -> None:
    result = run(which, {"day": date(2026, 1, 2), "width": "7"})

    assert {
        "day": "2026-01-02", "width": 7, "7": [1, 2], "kind": "date",
        "box": {"day": "2026-01-02", "id": str(uuid.UUID(int=1))},
    } == result.value  # fmt: skip
    assert [(0.0, "reading"), (50.0, "")] == result.context.reports


def test_the_context_says_what_it_was_told_to() -> None:
    assert [1, None, False, False, UID] == run(told).value
    assert [3, 2, True, True, f"{UID}/2"] == run(told, attempt=3, index=2, timeout=9, cancelled=True).value


@pytest.mark.parametrize(
    "args", [{}, {"day": "tomorrow"}, {"day": "2026-01-02", "width": 0}, {"day": "2026-01-02", "x": 1}]
)
def test_arguments_that_do_not_fit_are_refused(args: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="measure"):
        run(measure, args)


def test_what_the_handler_raises_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="gone"):
        run(rough_jobs.raises, {"message": "gone"})
    with pytest.raises(SystemExit):
        run(rough_jobs.system_exit)


def test_what_json_cannot_carry_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="JSON serializable"):
        run(odd)
    with pytest.raises(TypeError, match="JSON serializable"):
        run(told, {"x": object()})


@pytest.mark.parametrize("which", ["no-such-handler", len, "rough_jobs.raises"])
def test_what_is_no_handler_is_said(which: Callable[..., Any] | str) -> None:
    with pytest.raises(LookupError, match="is no handler here"):
        run(which)


def test_an_async_handler_is_awaited() -> None:
    assert 3 == run(later, {"x": 2}).value


def test_a_recording_context_can_be_passed_by_hand() -> None:
    context = RecordingContext(cancelled=True)
    assert "went" == rough_jobs.cooperates(context)
    context.progress(200, "x" * 300)

    assert [(100.0, "x" * 256)] == context.reports


@pytest.mark.parametrize(
    ("handler", "args"),
    [("echo", {"x": {"7": [1, None]}}), ("primes", {"limit": 50}), ("asynchronous", {"x": 1}), ("wordcount", {"text": "a b a"})],
)  # fmt: skip
def test_a_run_gives_what_the_service_gives(shared_service: Service, handler: str, args: dict[str, object]) -> None:
    import longshore_samples.echo
    import longshore_samples.primes
    import longshore_samples.wordcount  # noqa: F401  # they register their handlers

    done = shared_service.client().submit({"handler": handler, "args": args}, wait=20)

    assert done["status"]["result"] == run(handler, args).value
