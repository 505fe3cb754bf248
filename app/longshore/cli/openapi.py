"""``longshore openapi``."""

import click


@click.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of this release."""
    from longshore.api.openapi import text

    click.echo(text(), nl=False)
