"""``longshore explain``."""

import click

from longshore.cli.output import output_option, show
from longshore.cli.root import client


@click.command()
@click.argument("job")
@output_option
def explain(job: str, output: str) -> None:
    """Say why a job stands where it stands."""
    with client() as service:
        found = service.explain(job)

    def tell() -> None:
        place = f" Place in line: {found['position']}." if "position" in found else ""
        until = f" Until {found['waitsUntil']}." if "waitsUntil" in found else ""
        click.echo(f"{job} is {found['phase']}: {found['message']} ({found['reason']}).{place}{until}")

    show(found, output, tell)
