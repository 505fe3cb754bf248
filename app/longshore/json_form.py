"""Results as JSON: what has a faithful form there is written in it, and the rest is refused by its place.

docs/handlers.md has the table. Nearly every result is plain and takes the short way, which is orjson alone. What that
refuses, and what holds a ``null`` (which may have been a number that is none), is looked at value by value.
"""

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import inspect
import math
import pathlib
import sys
import types
import typing
import uuid
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel

from longshore.job.nesting import SHOWN_DEPTH, deeper_than

_TEXTS = (str, uuid.UUID, datetime.date, datetime.time, pathlib.PurePath, decimal.Decimal)
_LISTS = (list, tuple, set, frozenset)
_PLAIN = (*_TEXTS, *_LISTS, int, float, dict, enum.Enum, BaseModel, orjson.Fragment, type(None))
# Instances of these are what a handler might well return, and never JSON.
_NEVER = (
    bytes, bytearray, memoryview, complex, type, datetime.timedelta, types.ModuleType, types.FunctionType,
    collections.abc.Iterator, collections.abc.AsyncIterator,
)  # fmt: skip
_AS_IT_IS = (bool, str, orjson.Fragment, datetime.date, datetime.time)


class NotJson(TypeError):
    """A value that JSON has no faithful form for."""


def encode(value: object) -> bytes:
    """The value as JSON; raises ``NotJson`` that names the place of what is none."""
    try:
        body = orjson.dumps(value, default=_simpler, option=orjson.OPT_SERIALIZE_NUMPY)
        plain = b"null" not in body or value is None
    except TypeError:  # keys that are no text, or what is no JSON at all
        plain = False
    if not plain:
        try:
            body = orjson.dumps(_plain(value, "", 0))
        except TypeError as error:
            raise NotJson(str(error)) from None
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:  # a Fragment is written as it is, unread
        raise NotJson(f"it holds an orjson.Fragment that cannot be read: {error}") from None
    if deeper_than(body, SHOWN_DEPTH):
        raise NotJson(f"it is nested deeper than {SHOWN_DEPTH} levels")
    return body


def _simpler(value: Any) -> object:
    """A value that orjson does not know in one that it does; raises TypeError."""
    if isinstance(value, decimal.Decimal):
        return _number(value, "")
    if isinstance(value, pathlib.PurePath | uuid.UUID):
        return str(value)
    if isinstance(value, BaseModel):
        return _of_model(value)
    if isinstance(value, set | frozenset):
        return _ordered(value)
    if isinstance(value, tuple):
        return list(value)
    if (numpy := sys.modules.get("numpy")) is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{_name(value)} is no JSON")


def _plain(value: Any, path: str, depth: int) -> object:
    if depth > SHOWN_DEPTH:
        raise NotJson(f"it is nested deeper than {SHOWN_DEPTH} levels")
    if isinstance(value, enum.Enum):
        return _plain(value.value, path, depth)
    if value is None or isinstance(value, _AS_IT_IS):
        return value
    if isinstance(value, int | float | decimal.Decimal):
        return _number(value, path)
    if isinstance(value, dict):
        return _plain_dict(value, path, depth)
    if isinstance(value, list | tuple):
        return [_plain(part, f"{path}[{index}]", depth + 1) for index, part in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        return {name: _plain(getattr(value, name), f"{path}.{name}", depth + 1) for name in names}
    try:
        simpler = _simpler(value)
    except TypeError:
        raise NotJson(_advice(value, path)) from None
    return _plain(simpler, path, depth)


def _number(value: float | decimal.Decimal, path: str) -> object:
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise NotJson(f"{_at(path)} is a whole number of more than 64 bits; return it as text")
        return value
    if not math.isfinite(value):
        raise NotJson(f"{_at(path)} is {value}, which JSON has no number for")
    return str(value) if isinstance(value, decimal.Decimal) else value


def _plain_dict(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, inner in value.items():
        name = _key(key, path)
        if name in found:
            raise NotJson(f"{_at(path)} has two keys that are both {name!r} in JSON")
        found[name] = _plain(inner, f"{path}.{name}", depth + 1)
    return found


def _key(key: object, path: str) -> str:
    if isinstance(key, enum.Enum):
        return _key(key.value, path)
    if isinstance(key, str):
        return str(key)
    written = _plain(key, path, 0)
    if isinstance(written, list | dict):
        raise NotJson(f"{_at(path)} has a key of type {_name(key)}, which is not JSON serializable")
    return orjson.dumps(written).decode().strip('"')


def _of_model(model: BaseModel) -> object:
    return model.model_dump(mode="json", by_alias=True, warnings="error") if _finite(model) else model.model_dump()


def _finite(value: Any) -> bool:
    """Whether no number in a model is one that pydantic would write as null."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, BaseModel):
        return all(map(_finite, dict(value).values()))
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, _LISTS) else True


def _ordered(value: set[Any] | frozenset[Any]) -> list[Any]:
    try:
        return sorted(value)
    except TypeError:
        return list(value)


def _at(path: str) -> str:
    return f"the result at {path.lstrip('.')}" if path else "the result"


def _name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _advice(value: object, path: str) -> str:
    more = "; encode it as text, by base64 for example" if isinstance(value, bytes | bytearray | memoryview) else ""
    return f"{_at(path)} is of type {_name(value)}, which is not JSON serializable{more}"


# -- what an annotation tells ----------------------------------------------------------------------------------------


def objection(annotation: object) -> str:
    """The type in a return annotation that JSON has no form for; empty when there is none, or it cannot be told."""
    if isinstance(annotation, typing.TypeAliasType) if hasattr(typing, "TypeAliasType") else False:
        annotation = annotation.__value__  # type: ignore[attr-defined]
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return ""
    if origin is typing.Annotated:
        return objection(inner[0])
    if origin in (typing.Union, types.UnionType) or (origin in _LISTS or origin in (dict, Mapping)):
        return next((found for part in inner if (found := objection(part))), "")
    kind = annotation if origin is None else origin
    if not isinstance(kind, type) or kind is object or _fits(kind):
        return ""
    if issubclass(kind, _NEVER) or kind.__qualname__ == "Callable":
        return getattr(kind, "__qualname__", str(kind))
    if (
        inspect.isabstract(kind)
        or kind.__module__ in ("typing", "collections.abc")
        or getattr(kind, "_is_protocol", False)
    ):
        return ""  # what is returned is a subclass of it, perhaps one that fits
    return "" if any(map(_fits, _subclasses(kind))) else kind.__qualname__


def _fits(kind: type) -> bool:
    numpy = sys.modules.get("numpy")
    known = issubclass(kind, _PLAIN) or issubclass(kind, Mapping) or dataclasses.is_dataclass(kind)
    return known or typing.is_typeddict(kind) or (numpy is not None and issubclass(kind, numpy.ndarray | numpy.generic))


def _subclasses(kind: type) -> list[type]:
    direct: list[type] = [] if kind is type else kind.__subclasses__()
    return [*direct, *(deeper for each in direct for deeper in _subclasses(each))]
