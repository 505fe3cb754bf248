"""``longshore worker``: a worker of a cluster, which takes its jobs from the operator."""

from pathlib import Path

import click

from longshore.cli.server import read_settings, server


@server(
    click.option("--worker-tokens-file", help="File with the operator's token, or two of them, a line each."),
    click.option("--api-url", help="Where jobs go; told to whoever sends one here."),
)
def worker(file: Path | None, **arguments: object) -> None:
    """Run jobs that the operator of a cluster hands over, until SIGTERM."""
    from longshore.engine.pod import run

    run(read_settings(arguments, file))
