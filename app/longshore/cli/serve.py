"""``longshore serve``: the service on this machine."""

from pathlib import Path

import click

from longshore.cli.server import read_settings, server


@server(
    click.option("--data-dir", help="Folder of the database."),
    click.option("--tokens-file", help="File of token hashes."),
    click.option("--insecure/--no-insecure", default=None, help="Listen where others can reach it, without tokens."),
)
def serve(file: Path | None, **arguments: object) -> None:
    """Run the service on this machine until Ctrl-C."""
    from longshore.engine.serve import run

    run(read_settings(arguments, file))
