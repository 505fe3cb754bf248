"""What the commands that start a server share: their options, each of which is a setting."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from longshore import settings, settings_file

Option = Callable[[Callable[..., Any]], Callable[..., Any]]

_EPILOG = """\
Every setting can also be LONGSHORE_NAME in the environment or a line of the settings file; `longshore config` shows
all of them."""
_PLACE: tuple[Option, ...] = (
    click.option("--host", help="Address to listen on."),
    click.option("--port", type=int, help="Port to listen on; 0 takes a free one."),
)
_ENGINE: tuple[Option, ...] = (
    click.option("--probe-port", type=int, help="Port of the liveness and readiness listener."),
    click.option("--slots", type=int, help="Jobs that run at a time; 0 means one per processor."),
    click.option("--log-format", type=click.Choice(["auto", "json", "text"]), help="Log lines for programs or people."),
)
_ALL: tuple[Option, ...] = (
    click.option("--apps", help="Modules that bring handlers, separated by commas."),
    click.option("--strict/--no-strict", default=None, help="Refuse applications that start threads at import."),
    click.option("--commands/--no-commands", default=None, help="Whether jobs may run commands."),
    click.option(
        "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Least serious log lines."
    ),
    click.option("--config", "file", type=click.Path(path_type=Path), help="Settings file (TOML)."),
)


def server(*own: Option, engine: bool = True) -> Callable[[Callable[..., None]], click.Command]:
    """A command with its ``own`` options and those of every server; ``engine``: it runs jobs itself."""

    def command(function: Callable[..., None]) -> click.Command:
        whole: Callable[..., Any] = function
        for option in reversed((*_PLACE, *(_ENGINE if engine else ()), *own, *_ALL)):
            whole = option(whole)
        return click.command(epilog=_EPILOG)(whole)

    return command


def read_settings(
    arguments: Mapping[str, object], file: Path | None, defaults: Mapping[str, object] | None = None
) -> settings.Settings:
    """The settings of this start; what it starts reads the same file, for the settings of applications."""
    settings_file.hand_on(file)
    return settings.load(arguments, file=file, defaults=defaults).settings
