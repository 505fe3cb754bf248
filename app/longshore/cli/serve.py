"""``longshore serve``: the service on this machine."""

import os
from pathlib import Path

import click

from longshore import settings_file
from longshore.cli.server import read_settings, server
from longshore.settings import Settings


@server(
    click.option("--data-dir", help="Folder of the database."),
    click.option("--dev/--no-dev", default=None, help="Put code and settings in force as soon as they are saved."),
    click.option("--debugpy", metavar="HOST:PORT", help="Where a debugger of handlers and views attaches."),
    click.option("--tokens-file", help="File of token hashes."),
    click.option("--insecure/--no-insecure", default=None, help="Listen where others can reach it, without tokens."),
)
def serve(file: Path | None, **arguments: object) -> None:
    """Run the service on this machine until Ctrl-C."""
    from longshore.engine.serve import run

    def read() -> Settings:
        return read_settings(arguments, file)

    found = read()
    run(found, settings_file.named_by(os.environ), read)
