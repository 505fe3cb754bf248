"""``longshore webhooks``."""

from itertools import islice

import click

from longshore.cli.output import output_option, show, table
from longshore.cli.root import client, complete_jobs

MOST = 1000


@click.group()
def webhooks() -> None:
    """Show webhooks that are not delivered, and try them again."""


@webhooks.command(name="list")
@output_option
def list_deliveries(output: str) -> None:
    """List deliveries that wait or were given up, at most 1,000."""
    with client() as service:
        found = service.deliveries()
        shown = list(islice(found, MOST))
        more = next(found, None) is not None
    columns = ("JOB", "STATE", "ATTEMPTS", "NEXT", "LAST ERROR", "URL")
    rows = [
        (
            one.get("job", "(removed)"),
            one["state"],
            one.get("attempts", ""),
            one.get("nextAt", ""),
            one["lastError"],
            one["url"],
        )
        for one in shown
    ]
    show(shown, output, lambda: table(columns, rows))
    if more:
        click.echo(f"longshore: only the first {MOST} are shown", err=True)


@webhooks.command()
@click.argument("jobs", nargs=-1, metavar="JOB...", shell_complete=complete_jobs)
@click.option("--all", "everything", is_flag=True, help="All that wait or were given up.")
def retry(jobs: tuple[str, ...], *, everything: bool) -> None:
    """Try the deliveries about jobs again now, also those that were given up."""
    if bool(jobs) == everything:
        raise click.UsageError("name jobs, or say --all")
    with client() as service:
        count = service.retry_deliveries(None if everything else jobs)
    click.echo(f"{count} {'delivery is' if count == 1 else 'deliveries are'} tried now")
