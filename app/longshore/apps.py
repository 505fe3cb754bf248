"""Applications: importable modules that bring handlers and, if they like, routes and health checks of their own."""

import importlib
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longshore import application_settings, error_names
from longshore.app_metrics.declared import DECLARED
from longshore.errors import AppError, AppSettingsError, StartError
from longshore.handlers import REGISTRY, Handler
from longshore.health_checks import HEALTH_CHECKS, Check

if TYPE_CHECKING:
    from flask import Blueprint

MAX_PLACES = 5  # an import error is to be read at a glance
MAX_TRACEBACK = 4000


@dataclass(frozen=True, slots=True)
class Apps:
    """What the applications of this process brought."""

    handlers: dict[str, Handler]
    health_checks: dict[str, Check]
    blueprints: tuple[tuple[str, "Blueprint"], ...]
    """Module name and blueprint, in the order found."""


def load(modules: Sequence[str]) -> Apps:
    """Import the modules; raises AppError that says in a few lines where the one that does not import broke."""
    blueprints: list[tuple[str, Blueprint]] = []
    DECLARED.open()
    for name in modules:
        try:
            module = importlib.import_module(name)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | AppError):
                raise
            if isinstance(error, StartError):  # the settings file has become unreadable
                raise AppError(error.message) from error
            raise AppError(f"application {name!r} does not import: {_where(name, error)}") from error
        # An application without routes never imports Flask, and then has no blueprints to find.
        if (flask := sys.modules.get("flask")) is not None:
            known = {id(blueprint) for _, blueprint in blueprints}  # one that two modules have is served once
            found = {id(value): value for value in vars(module).values() if isinstance(value, flask.Blueprint)}
            blueprints += [(name, value) for key, value in found.items() if key not in known]
    DECLARED.close()
    if wrong := error_names.unknown(REGISTRY.values()):
        raise AppError(wrong)
    # Without applications nobody reads their settings, such as an api that takes every handler.
    if modules and (wrong := application_settings.unclaimed()):
        raise AppSettingsError(wrong)
    return Apps(dict(REGISTRY), dict(HEALTH_CHECKS), tuple(blueprints))


def _where(name: str, error: BaseException) -> str:
    """What broke, and the places of the application's own code on the way there: at most eight lines."""
    words = str(error).strip().splitlines() or [""]
    what = f"{type(error).__name__}: {words[0]}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame.filename)]
    places = [
        f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}: {frame.line}'[:200] for frame in frames
    ]
    if len(places) > MAX_PLACES:
        places = [places[0], f"  ... {len(places) - MAX_PLACES + 1} more ...", *places[2 - MAX_PLACES :]]
    hint = f"  `python -c 'import {name}'` shows the whole traceback"
    return "\n".join([what[:500], *places, hint])


def with_traceback(error: AppError) -> str:
    """For who writes the code at the moment: what broke, and the whole traceback of it, at most 4,000 characters."""
    cause = error.__cause__
    if cause is None:
        return error.message
    first = error.message.splitlines()[0]
    trace = traceback.TracebackException.from_exception(cause)
    trace.stack[:] = [frame for frame in trace.stack if not _is_machinery(frame.filename)]
    return f"{first}\n{''.join(trace.format()).rstrip()[-MAX_TRACEBACK:]}"


def _is_machinery(file: str) -> bool:
    return file == __file__ or file.startswith("<frozen ") or file == importlib.__file__
