"""``longshore openapi``."""

import click


@click.command()
@click.option("--worker", is_flag=True, help="The attempts API of a worker instead.")
def openapi(*, worker: bool) -> None:
    """Print the OpenAPI 3.1 document of this release."""
    from longshore.api import openapi, openapi_worker

    click.echo(openapi_worker.text() if worker else openapi.text(), nl=False)
