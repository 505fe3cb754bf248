"""``@typed``: a view of an application whose type hints are its contract, for requests and for the OpenAPI document.

``body`` and ``query`` are parameters of the view that have a pydantic model as their type. What comes in is checked as it is
at our own routes: by outside names, unknown fields refused where the model says so, each fault named in a problem. What the view
returns is written by the type of its result.
"""

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any, Literal, TypeVar, overload

from flask import Response, request
from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from werkzeug.wrappers import Response as AnyResponse

from longshore.api import parse
from longshore.errors import InvalidRequest
from longshore.job.wording import sentence

V = TypeVar("V", bound=Callable[..., Any])
_MARK = "_longshore_typed"
_LISTS = (list, tuple, set, frozenset)


@dataclass(frozen=True, slots=True)
class TypedView:
    """What the hints of a view say."""

    body: type[BaseModel] | None
    query: type[BaseModel] | None
    answer: TypeAdapter[Any] | None
    status: int


@overload
def typed(view: V, /) -> V: ...
@overload
def typed(*, status: int = ...) -> Callable[[V], V]: ...
def typed(view: V | None = None, /, *, status: int = 200) -> V | Callable[[V], V]:
    """Check the requests of a view, write its answers and document both, by its type hints; below the route's decorator.

    ``status`` is that of an answer. Raises ValueError for hints that cannot be a contract.
    """

    def mark(view: V) -> V:
        contract = _contract(view, status)

        @wraps(view)
        def checked(**given: Any) -> Any:
            if contract.body is not None:
                given["body"] = parse.model(contract.body, parse.body()[0])
            if contract.query is not None:
                given["query"] = _query(contract.query)
            return _answer(view, contract, view(**given))

        setattr(checked, _MARK, contract)
        return typing.cast("V", checked)

    return mark if view is None else mark(view)


def contract_of(view: object) -> TypedView | None:
    """What ``typed`` read of a view, or None."""
    found = getattr(view, _MARK, None)
    return found if isinstance(found, TypedView) else None


def _contract(view: Callable[..., Any], status: int) -> TypedView:
    name = f"view {view.__qualname__} of {view.__module__}"
    if inspect.iscoroutinefunction(view):
        raise ValueError(f"{name} is async, which the api does not serve")
    if not 200 <= status < 300 or status not in {known.value for known in HTTPStatus} or status in (204, 205):
        raise ValueError(f"{name}: the status of an answer with content is 200 to 299, not {status}")
    try:
        hints = typing.get_type_hints(view, include_extras=True)
    except NameError as error:
        raise ValueError(f"{name}: a type cannot be told when the module is imported: {error}") from error
    answer = hints.pop("return", None)
    return TypedView(_model(name, "body", hints), _model(name, "query", hints), _adapter(name, answer), status)


def _model(name: str, parameter: Literal["body", "query"], hints: dict[str, Any]) -> type[BaseModel] | None:
    hint = hints.get(parameter)
    if hint is None:
        return None
    if not (isinstance(hint, type) and issubclass(hint, BaseModel)):
        raise ValueError(f"{name}: {parameter} has to be a pydantic model, not {hint!r}; a RootModel can be a list")
    return hint


def _adapter(name: str, hint: Any) -> TypeAdapter[Any] | None:
    kinds = (hint, *typing.get_args(hint))
    if hint is None or any(isinstance(kind, type) and issubclass(kind, AnyResponse) for kind in kinds):
        return None
    if typing.get_origin(hint) is tuple:
        raise ValueError(f"{name}: give the type of the answer alone, and its status as @typed(status=…)")
    try:
        return TypeAdapter(hint)
    except PydanticUserError as error:
        raise ValueError(f"{name}: its answer cannot be JSON: {str(error).splitlines()[0]}") from error


def _query(kind: type[BaseModel]) -> BaseModel:
    fields = {field.alias or name: field for name, field in kind.model_fields.items()}
    values: dict[str, object] = {}
    for name in request.args:
        given = request.args.getlist(name)
        several = name in fields and typing.get_origin(fields[name].annotation) in _LISTS
        if len(given) > 1 and not several:
            raise InvalidRequest(f"{name}: is there twice", errors=[{"parameter": name, "detail": "is there twice"}])
        values[name] = given if several else given[0]
    try:
        return kind.model_validate(values, by_alias=True, by_name=False, extra="forbid")
    except ValidationError as error:
        found = [
            {"parameter": ".".join(map(str, fault["loc"])), "detail": _sentence(fault["type"], fault["msg"], fields)}
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise InvalidRequest(f"{found[0]['parameter']}: {found[0]['detail']}", errors=found) from None


def _sentence(kind: str, message: str, fields: dict[str, Any]) -> str:
    if kind == "extra_forbidden":
        return f"there is no such parameter; there are: {', '.join(fields)}"
    return sentence(kind, message)


def _answer(view: Callable[..., Any], contract: TypedView, value: Any) -> Any:
    if contract.answer is None or isinstance(value, AnyResponse):
        return value
    try:
        checked = contract.answer.validate_python(value, by_alias=True, by_name=True)
        data = contract.answer.dump_json(checked, by_alias=True)
    except ValidationError as error:  # a fault of the view, and none of its caller
        raise TypeError(
            f"view {view.__qualname__} of {view.__module__} answered what its type does not allow"
        ) from error
    return Response(data, contract.status, content_type="application/json")
