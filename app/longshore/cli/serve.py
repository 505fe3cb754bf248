"""``longshore serve``: the service on this machine."""

from pathlib import Path

import click

from longshore import settings


@click.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.")
@click.option("--probe-port", type=int, help="Port of the liveness and readiness listener.")
@click.option("--slots", type=int, help="Jobs that run at a time; 0 means one per processor.")
@click.option("--data-dir", help="Folder of the database.")
@click.option("--apps", help="Modules that bring handlers, separated by commas.")
@click.option("--commands/--no-commands", default=None, help="Whether jobs may run commands.")
@click.option("--tokens-file", help="File of token hashes.")
@click.option("--insecure/--no-insecure", default=None, help="Listen where others can reach it, without tokens.")
@click.option("--log-format", type=click.Choice(["auto", "json", "text"]), help="Log lines for programs or people.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Least serious log lines.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings file (TOML).")
def serve(file: Path | None, **arguments: object) -> None:
    """Run the service on this machine until Ctrl-C.

    Every setting can also be LONGSHORE_NAME in the environment or a line of the settings file; `longshore config` shows
    all of them.
    """
    from longshore.engine.serve import run

    run(settings.load(arguments, file=file).settings)
