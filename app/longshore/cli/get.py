"""``longshore get``."""

import click

from longshore.cli.output import jobs_table, output_option, show
from longshore.cli.root import client, complete_jobs


@click.command()
@click.argument("job", shell_complete=complete_jobs)
@output_option
def get(job: str, output: str) -> None:
    """Show one job."""
    with client() as service:
        found = service.get(job)
    show(found, output, lambda: jobs_table([found], wide=output == "wide"))
