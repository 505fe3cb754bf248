"""``longshore wait``."""

import click

from longshore.cli.output import fate, jobs_table, output_option, show
from longshore.cli.root import client, complete_jobs


@click.command()
@click.argument("jobs", nargs=-1, required=True, shell_complete=complete_jobs)
@click.option("--timeout", type=float, metavar="SECONDS", help="Wait no longer than this.")
@output_option
@click.pass_context
def wait(context: click.Context, jobs: tuple[str, ...], timeout: float | None, output: str) -> None:
    """Wait for jobs to end; the exit code is their fate."""
    with client(patience=60.0) as service:
        done = [service.wait(job, timeout) for job in jobs]
    show(done if len(done) > 1 else done[0], output, lambda: jobs_table(done, wide=output == "wide"))
    context.exit(max(fate(job) for job in done))
