"""What an application imports: ``@handler``, ``Context``, ``JobCancelled``.

::

    from longshore import Context, handler

    @handler(timeout_seconds=60, max_retries=3)
    def resize(url: str, width: int = 800, *, ctx: Context) -> dict[str, object]:
        ctx.progress(10, "downloading")
        ...
"""

import inspect
import logging
import time
import typing
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar, overload

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from longshore import json_form, timetables
from longshore.job.limits import Defaults
from longshore.job.spec import HandlerName, JobSpec, Retry
from longshore.job.wording import sentence

Runner = Literal["slot", "process"]
Function = Callable[..., Any]
F = TypeVar("F", bound=Function)

_name: TypeAdapter[str] = TypeAdapter(HandlerName)


class JobCancelled(BaseException):
    """Raised inside a handler when its job is cancelled, timed out or its worker stops; clean up and let it pass."""


class Context:
    """What a running handler knows of its job. Ask for it with a parameter annotated ``Context``."""

    def __init__(
        self, job: str, *, uid: str = "", attempt: int = 1, index: int | None = None, deadline: float | None = None,
        idempotency_key: str = "", traceparent: str = "", tracestate: str = "", report: Callable[[float, str], None] | None = None,
        poll: Callable[[], bool] | None = None,
    ) -> None:  # fmt: skip
        self.job = job
        """Name of the job."""
        self.uid = uid
        """Identity of the job; a name may be used again, this never is."""
        self.attempt = attempt
        """Number of this attempt, from 1."""
        self.index = index
        """Item of an array job, from 0; None for any other job."""
        self.deadline = deadline
        """Monotonic time (``time.monotonic``) at which the attempt times out, or None."""
        self.idempotency_key = idempotency_key or uid
        """Equal for all attempts of this job (or item): hand it to whatever must not happen twice."""
        self.traceparent = traceparent
        self.tracestate = tracestate
        """W3C trace context of the submitter, or empty: hand both on with requests that belong to its trace."""
        self.log = logging.getLogger("longshore.job")
        """A logger whose lines land in the job's own output."""
        self._report, self._poll, self._cancelled = report, poll, False

    @staticmethod
    def current() -> "Context":
        """The context of the job that runs here, in its own threads too; raises LookupError outside a handler."""
        found = _current.get(None) or _running
        if found is None:
            raise LookupError("no job runs here")
        return found

    @property
    def cancelled(self) -> bool:
        """Whether the job should stop; look often, return or raise when it turns true."""
        if not self._cancelled and self._poll is not None:
            self._cancelled = self._poll()
        return self._cancelled

    @property
    def remaining_seconds(self) -> float | None:
        """Time until the attempt times out, or None."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def progress(self, percent: float, message: str = "") -> None:
        """Say how far the job is, 0 to 100; cheap to call often: at most five reports a second leave the process."""
        if self._report is not None:
            self._report(min(100.0, max(0.0, float(percent))), message[:256])


_current: ContextVar[Context] = ContextVar("longshore_context")
_running: Context | None = None
"""For threads that a handler starts: they begin without its variables."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered function."""

    name: str
    function: Function
    module: str
    description: str
    arguments: type[BaseModel]
    """Model of the arguments, from the type hints; extra ones are refused unless the function takes ``**kwargs``."""
    context_parameter: str | None
    defaults: Defaults = field(default_factory=Defaults)
    runner: Runner = "slot"
    spec: Mapping[str, object] = field(default_factory=dict)
    """Fields of the specification, by their outside names, that a job gets when it is submitted without them."""
    timetable: tuple[str, str] | None = None
    """When jobs of it are created by the clock: a cron field and a time zone."""

    def bind(self, args: Mapping[str, object]) -> dict[str, object]:
        """Arguments as the function gets them; raises ``pydantic.ValidationError``."""
        model = self.arguments.model_validate(dict(args))
        bound = {name: getattr(model, name) for name in type(model).model_fields}
        return {type(model).model_fields[name].alias or name: value for name, value in bound.items()} | (
            model.model_extra or {}
        )

    def call(self, args: Mapping[str, object], context: Context) -> object:
        """Run the function, to its end if it is ``async``."""
        bound = self.bind(args)
        if self.context_parameter is not None:
            bound[self.context_parameter] = context
        global _running
        token = _current.set(context)
        _running = context
        try:
            result = self.function(**bound)
            return _awaited(result) if inspect.isawaitable(result) else result
        finally:
            _running = None
            _current.reset(token)

    def describe(self) -> dict[str, object]:
        """As people are told of it: name, description, args (JSON Schema), defaults, runner."""
        retry = self.defaults.retry
        return {
            "name": self.name, "description": self.description, "module": self.module, "runner": self.runner,
            "args": self.schema(), "timeoutSeconds": self.defaults.timeout_seconds,
            "maxRetries": self.defaults.max_retries,
            "retry": retry.model_dump(mode="json", exclude_unset=True) if retry else None, **self.spec,
            **({"schedule": self.timetable[0], "timeZone": self.timetable[1]} if self.timetable else {}),
        }  # fmt: skip

    def schema(self) -> dict[str, object]:
        """JSON Schema of the arguments."""
        return self.arguments.model_json_schema()


def _awaited(result: typing.Awaitable[object]) -> object:
    import asyncio  # three megabytes, in each of our processes, for those alone who want it

    async def finish() -> object:
        return await result

    return asyncio.run(finish())


REGISTRY: dict[str, Handler] = {}
"""Handlers of the applications that this process has imported, by name."""


@overload
def handler(function: F, /) -> F: ...
@overload
def handler(
    *, name: str = ..., timeout_seconds: float | None = ..., max_retries: int | None = ..., retry: Retry | None = ...,
    runner: Runner = ..., queue: str | None = ..., priority: int | None = ..., memory: str | None = ...,
    fairness_key: str | None = ..., concurrency_key: str | None = ..., ttl_seconds: float | None = ...,
    schedule: str | None = ..., time_zone: str = ...,
) -> Callable[[F], F]: ...  # fmt: skip
def handler(
    function: F | None = None, /, *, name: str = "", timeout_seconds: float | None = None,
    max_retries: int | None = None, retry: Retry | None = None, runner: Runner = "slot", queue: str | None = None,
    priority: int | None = None, memory: str | None = None, fairness_key: str | None = None,
    concurrency_key: str | None = None, ttl_seconds: float | None = None, schedule: str | None = None,
    time_zone: str = "UTC",
) -> F | Callable[[F], F]:  # fmt: skip
    """Register a plain or ``async`` function as a handler; it stays callable as it is.

    ``name`` defaults to the function's. ``runner`` is "slot" (a warm process that runs many jobs) or "process" (a fresh fork
    for each). The rest are defaults for jobs that say nothing themselves: ``timeout_seconds``, ``max_retries`` and ``retry``
    hold for every job, by whatever door it came; ``queue``, ``priority``, ``memory`` (such as "512Mi"),
    ``fairness_key``, ``concurrency_key`` and ``ttl_seconds`` (from its end until a job is removed) are put into the job when a
    service that knows the handler takes it. With ``schedule``, a cron field such as "0 3 * * *", `longshore serve` creates a job
    of it by the clock of ``time_zone``. Raises ValueError for a name that is taken or no handler name, for a default that no job
    could have, and for a schedule that cannot be kept.
    """

    spec = {
        "queue": queue, "priority": priority, "fairnessKey": fairness_key, "concurrencyKey": concurrency_key,
        "ttlSecondsAfterFinished": ttl_seconds, "resources": {"memory": memory} if memory is not None else None,
    }  # fmt: skip

    def register(function: F) -> F:
        defaults = Defaults(timeout_seconds, max_retries, retry)
        found = _describe(name or function.__name__, function, defaults, runner)
        found = replace(
            found, spec=_checked(found.name, {key: value for key, value in spec.items() if value is not None})
        )
        if schedule is not None:
            others = [other.name for other in REGISTRY.values() if other.timetable and other.name != found.name]
            timetables.check(found.name, found.arguments, schedule, time_zone, others)
            found = replace(found, timetable=(schedule, time_zone))
        taken = REGISTRY.get(found.name)
        if taken is not None and (taken.module, taken.function.__qualname__) != (found.module, function.__qualname__):
            raise ValueError(f"handler {found.name!r} is defined in {taken.module} and again in {found.module}")
        REGISTRY[found.name] = found
        return function

    return register if function is None else register(function)


def _checked(name: str, spec: dict[str, object]) -> Mapping[str, object]:
    """The fields as a job has them; raises ValueError that names the one which no job could have."""
    if not spec:
        return spec
    try:
        JobSpec.model_validate_json(orjson.dumps({"handler": name, **spec}), by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise ValueError(f"handler {name!r}: {field}: {sentence(first['type'], first['msg'])}") from None
    return spec


def _describe(name: str, function: Function, defaults: Defaults, runner: Runner) -> Handler:
    try:
        _name.validate_python(name)
    except ValidationError as error:
        raise ValueError(f"{name!r} is no handler name: letters, digits and . _ : - after a first letter") from error
    _refuse_generator(name, function)
    hints = _hints(name, function)
    _refuse_result(name, hints.pop("return", None))
    context_parameter = None
    fields: dict[str, Any] = {}
    extra: Literal["allow", "forbid"] = "forbid"
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name, Any)
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise ValueError(f"handler {name!r}: arguments come by name, {parameter} cannot be given")
        elif _is_context(hint):
            context_parameter = parameter.name
        else:
            default = ... if parameter.default is parameter.empty else parameter.default
            # The alias keeps names that pydantic uses itself (``json``, ``copy``) possible.
            fields[f"field_{parameter.name}"] = (Annotated[hint, Field(alias=parameter.name)], default)
    model = create_model(name, __config__=ConfigDict(extra=extra, arbitrary_types_allowed=True), **fields)
    description = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    return Handler(name, function, function.__module__, description, model, context_parameter, defaults, runner)


class _Annotated:
    """Something to read type hints from."""

    def __init__(self, annotations: Mapping[str, object]) -> None:
        self.__annotations__ = dict(annotations)


def _hints(name: str, function: Function) -> dict[str, Any]:
    """The types of the arguments, and of the result if it can be told: it may be there for type checkers alone."""
    inner = inspect.unwrap(function)
    annotations = dict(getattr(inner, "__annotations__", {}))
    result = {"return": annotations.pop("return", None)}
    names = getattr(inner, "__globals__", {})
    try:
        found = typing.get_type_hints(_Annotated(annotations), names, include_extras=True)
    except NameError as error:
        text = f"handler {name!r}: the type of an argument cannot be told when the module is imported: {error}"
        raise ValueError(f"{text}; import it outside of `if TYPE_CHECKING:`") from error
    try:
        found |= typing.get_type_hints(_Annotated(result), names, include_extras=True)
    except (NameError, AttributeError):
        pass  # nothing here needs it
    return found


def _refuse_generator(name: str, function: Function) -> None:
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise ValueError(
            f"handler {name!r} is a generator, which runs nothing by itself: return a list instead of yielding"
        )


def _refuse_result(name: str, hint: object) -> None:
    if kind := json_form.objection(hint):
        raise ValueError(
            f"handler {name!r} returns {kind}, which JSON cannot carry, and its work would be lost; "
            "docs/handlers.md has the table of results"
        )


def _is_context(hint: object) -> bool:
    return hint is Context or Context in typing.get_args(hint)
