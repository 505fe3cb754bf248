"""``longshore version``."""

import click

from longshore.version import __version__


@click.command()
def version() -> None:
    """Print the release."""
    click.echo(__version__)
