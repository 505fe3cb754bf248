"""``longshore worker``: a worker of a cluster, which takes its jobs from the operator."""

from pathlib import Path

import click

from longshore import settings


@click.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.")
@click.option("--probe-port", type=int, help="Port of the liveness and readiness listener.")
@click.option("--slots", type=int, help="Jobs that run at a time; 0 means one per processor.")
@click.option("--apps", help="Modules that bring handlers, separated by commas.")
@click.option("--commands/--no-commands", default=None, help="Whether jobs may run commands.")
@click.option("--worker-tokens-file", help="File with the operator's token, or two of them, a line each.")
@click.option("--api-url", help="Where jobs go; told to whoever sends one here.")
@click.option("--log-format", type=click.Choice(["auto", "json", "text"]), help="Log lines for programs or people.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Least serious log lines.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings file (TOML).")
def worker(file: Path | None, **arguments: object) -> None:
    """Run jobs that the operator of a cluster hands over, until SIGTERM.

    Every setting can also be LONGSHORE_NAME in the environment or a line of the settings file; `longshore config` shows
    all of them.
    """
    from longshore.engine.pod import run

    run(settings.load(arguments, file=file).settings)
