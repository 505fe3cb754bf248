"""Settings of applications: a pydantic model, read from the environment and the settings file.

An application calls ``app_settings`` where it is imported and gets its model filled in: from
``LONGSHORE_APP_<APP>_<FIELD>``, from variables that it names itself, from the table ``[app.<name>]`` of the
settings file, from the model's defaults, in this order. So the process that forks slots, the slots, the api and
the pods of a cluster all read the same. When all applications are there, ``unclaimed`` finds what none of them asked
for.

pydantic-settings reads more kinds of files, and was measured: it does not say which variable or line a value comes
from, passes over variables that it does not know, and costs each process four megabytes.
"""

import os
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError

from longshore import settings_file
from longshore.errors import AppSettingsError
from longshore.job.wording import sentence

M = TypeVar("M", bound=BaseModel)

PREFIX = "LONGSHORE_APP_"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SEQUENCES = (list, tuple, set, frozenset)
_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^/\s]*@")


@dataclass(frozen=True, slots=True)
class _File:
    """The settings file of this process."""

    path: Path
    text: str
    applications: Mapping[str, Mapping[str, object]]

    def place(self, *keys: str) -> str:
        """Where the file says this."""
        return f"{self.path}:{settings_file.line_of(self.text, ('app', *keys))}"


@dataclass(frozen=True, slots=True)
class AppSettings:
    """The settings that one application asked for, and where each comes from."""

    name: str
    model: type[BaseModel]
    value: BaseModel
    variables: Mapping[str, tuple[str, ...]]
    """By field: the variables that may say it; the first that is set wins."""
    sources: Mapping[str, str]
    """By field: the variable, ``file PATH:LINE``, or ``default``."""

    def shown(self) -> dict[str, object]:
        """By field: values as JSON, secrets masked."""
        values = self.value.model_dump(mode="json", fallback=str, by_alias=False)
        return {name: _masked(values.get(name)) for name in self.sources}


DECLARED: dict[str, AppSettings] = {}
"""Settings of the applications that this process has imported, by name."""


def app_settings(
    name: str,
    model: type[M],
    *,
    env_prefix: str = "",
    env_names: Mapping[str, str] | None = None,
) -> M:
    """The settings of the application ``name``, as an instance of ``model``.

    A field is read from the first of these that says it: ``LONGSHORE_APP_<NAME>_<FIELD>``; the variable that
    ``env_names`` gives for the field, or else ``env_prefix`` and the field in capitals; the table ``[app.<name>]``
    of the settings file; the model's default. Raises AppSettingsError, which stops the start, for a value of a wrong
    type and a key of the table that is no field; ValueError for a name that cannot be one, that belongs to
    another application, or for ``env_names`` of no field.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for settings: small letters, digits and single _ in between")
    chosen = dict(env_names or {})
    if strangers := sorted(chosen.keys() - model.model_fields.keys()):
        raise ValueError(
            f"env_names of the settings {name!r} has {', '.join(strangers)}, and the model has no such field"
        )
    variables = {field: _variables(name, field, env_prefix, chosen) for field in model.model_fields}
    _refuse_taken(name, model, variables)
    file = _file()
    table: Mapping[str, object] = file.applications.get(name, {}) if file is not None else {}
    given: dict[str, object] = dict(table)
    sources = dict.fromkeys(model.model_fields, "default")
    if file is not None:
        sources |= {key: f"file {file.place(name, key)}" for key in table}
    for field, names in variables.items():
        variable = next((variable for variable in names if variable in os.environ), "")
        if variable:
            given[field], sources[field] = _from_text(model, field, os.environ[variable]), variable
    try:
        extra = "allow" if model.model_config.get("extra") == "allow" else "forbid"
        value = model.model_validate(given, extra=extra, by_alias=False, by_name=True)  # type: ignore[arg-type]  # a Literal
    except ValidationError as error:
        raise AppSettingsError(_explained(name, model, error, sources)) from None  # its input may be a secret
    DECLARED[name] = AppSettings(name, model, value, variables, sources)
    return value


def unclaimed() -> str:
    """What is wrong with settings that no imported application asked for; empty when there are none."""
    known = {variable for found in DECLARED.values() for names in found.variables.values() for variable in names}
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX) and variable not in known:
            return f"{_unknown_variable(variable)} (from {variable} in the environment)"
    file = _file()
    for name in file.applications if file is not None else ():
        if file is not None and name not in DECLARED:
            return f"{_unknown_application(name)} (from {file.place(name)})"
    return ""


def _variables(name: str, field: str, env_prefix: str, chosen: Mapping[str, str]) -> tuple[str, ...]:
    own = f"{PREFIX}{name.upper()}_{field.upper()}"
    if field in chosen:
        return own, chosen[field]
    return (own, env_prefix + field.upper()) if env_prefix else (own,)


def _refuse_taken(name: str, model: type[BaseModel], variables: Mapping[str, tuple[str, ...]]) -> None:
    for other in DECLARED.values():
        module = other.model.__module__
        if other.name == name:
            if (module, other.model.__qualname__) != (model.__module__, model.__qualname__):
                raise ValueError(f"settings {name!r} are defined in {module} and again in {model.__module__}")
            continue
        both = {names[0] for names in other.variables.values()} & {names[0] for names in variables.values()}
        if both:
            raise ValueError(
                f"settings {other.name!r} of {module} and {name!r} of {model.__module__} both read {min(both)}"
            )


def _file() -> _File | None:
    path = settings_file.named_by(os.environ)
    if path is None:
        return None
    text, whole = settings_file.read(path)
    tables = whole.get("app", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        return None  # refused where the service reads its own
    return _File(path, text, tables)


def _from_text(model: type[BaseModel], field: str, text: str) -> object:
    """The value of a variable: JSON for lists and tables, or words with commas between them for lists."""
    kinds = _kinds(model.model_fields[field].annotation)
    if not any(_is_compound(kind) for kind in kinds):
        return text
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text  # the model says that it is neither
    if str not in kinds and any(kind in _SEQUENCES for kind in kinds):
        return [word.strip() for word in text.split(",") if word.strip()]
    return text


def _kinds(annotation: object) -> set[object]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _kinds(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return set().union(*(_kinds(part) for part in typing.get_args(annotation)))
    return {origin or annotation}


def _is_compound(kind: object) -> bool:
    return isinstance(kind, type) and (
        issubclass(kind, (*_SEQUENCES, dict, BaseModel)) or hasattr(kind, "__dataclass_fields__")
    )


def _explained(name: str, model: type[BaseModel], error: ValidationError, sources: Mapping[str, str]) -> str:
    """A line for each; the value is left out, because it may be a secret."""
    lines = []
    for found in error.errors(include_url=False, include_input=False):
        key = ".".join(map(str, found["loc"]))
        top = str(found["loc"][0]) if found["loc"] else ""
        what = (
            "there is no such setting" if found["type"] == "extra_forbidden" else sentence(found["type"], found["msg"])
        )
        source = sources.get(top, "default")
        if found["type"] == "missing" and source == "default":
            what = f"it has to be set, as {PREFIX}{name.upper()}_{top.upper()} or {top} in [app.{name}] of the settings file"
        where = "" if source == "default" else f" (from {source.removeprefix('file ')})"
        near = _nearest(top, model) if found["type"] == "extra_forbidden" and len(found["loc"]) == 1 else ""
        hint = f"; did you mean {near}?" if near else ""
        lines.append(f"application {name!r}, setting {key or '(all)'}{where}: {what}{hint}")
    return "\n".join(lines)


def _unknown_variable(variable: str) -> str:
    rest = variable.removeprefix(PREFIX).lower()
    owner = max((name for name in DECLARED if rest.startswith(f"{name}_")), key=len, default="")
    if not owner:
        return _unknown_application(rest)
    key = rest.removeprefix(f"{owner}_")
    near = _nearest(key, DECLARED[owner].model)
    hint = f"; did you mean {PREFIX}{owner.upper()}_{near.upper()}?" if near else ""
    return f"application {owner!r} has no setting {key}{hint}"


def _unknown_application(name: str) -> str:
    if not DECLARED:
        return f"no application here has settings of its own, so none are {name!r}"
    return f"no application here has settings {name!r}; there are those of {', '.join(sorted(DECLARED))}"


def _nearest(key: str, model: type[BaseModel]) -> str:
    """The field that was probably meant."""
    import difflib  # for refusals alone

    return next(iter(difflib.get_close_matches(key, model.model_fields, n=1)), "")


def _masked(value: object) -> object:
    """Passwords in addresses too; values of secret types are masked by pydantic itself."""
    if isinstance(value, str):
        return _PASSWORD.sub(r"\1:**********@", value)
    if isinstance(value, list):
        return [_masked(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in cast("dict[str, object]", value).items()}
    return value
