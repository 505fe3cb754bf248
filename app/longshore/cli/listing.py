"""``longshore list``."""

import sys
from itertools import islice

import click

from longshore.cli.output import jobs_table, output_option, show
from longshore.cli.root import client, complete_handlers, complete_phases, complete_queues

MAX_PAGE = 1000


@click.command(name="list")
@click.option(
    "--phase", multiple=True, shell_complete=complete_phases, help="Pending, Running, Succeeded, Failed or Cancelled."
)
@click.option("--queue", shell_complete=complete_queues, help="Queue.")
@click.option("--handler", shell_complete=complete_handlers, help="Handler.")
@click.option("--label", multiple=True, metavar="KEY=VALUE", help="Label; all must match.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most so many.")
@click.option("--all", "everything", is_flag=True, help="Show all, whatever --limit says.")
@output_option
def list_jobs(phase: tuple[str, ...], queue: str | None, handler: str | None, label: tuple[str, ...], limit: int,
              output: str, *, everything: bool) -> None:  # fmt: skip
    """List jobs, newest first. When there are more than are shown, standard error says so."""
    most = sys.maxsize if everything else limit
    with client() as service:
        page = min(most + 1, MAX_PAGE)
        found = service.list(phase=phase, queue=queue, handler=handler, label=label, limit=page)
        jobs = list(islice(found, most))
        more = next(found, None) is not None
    show(jobs, output, lambda: jobs_table(jobs, wide=output == "wide"))
    if more:
        click.echo(f"longshore: only the newest {limit} are shown; --all shows all", err=True)
