"""Applications: importable modules that bring handlers and, if they like, routes and health checks of their own."""

import importlib
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longshore import error_names
from longshore.errors import AppError
from longshore.handlers import HEALTH_CHECKS, REGISTRY, Handler, HealthCheck

if TYPE_CHECKING:
    from flask import Blueprint


@dataclass(frozen=True, slots=True)
class Apps:
    """What the applications of this process brought."""

    handlers: dict[str, Handler]
    health_checks: dict[str, HealthCheck]
    blueprints: tuple[tuple[str, "Blueprint"], ...]
    """Module name and blueprint, in the order found."""


def load(modules: Sequence[str]) -> Apps:
    """Import the modules; raises AppError with the traceback of the one that does not import."""
    blueprints = []
    for name in modules:
        try:
            module = importlib.import_module(name)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            text = "".join(traceback.format_exception(error)).rstrip()
            raise AppError(f"application {name!r} does not import:\n{text}") from error
        # An application without routes never imports Flask, and then has no blueprints to find.
        if (flask := sys.modules.get("flask")) is not None:
            blueprints += [(name, value) for value in vars(module).values() if isinstance(value, flask.Blueprint)]
    if wrong := error_names.unknown(REGISTRY.values()):
        raise AppError(wrong)
    return Apps(dict(REGISTRY), dict(HEALTH_CHECKS), tuple(blueprints))
