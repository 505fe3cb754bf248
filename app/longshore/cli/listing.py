"""``longshore list``."""

from itertools import islice

import click

from longshore.cli.output import jobs_table, output_option, show
from longshore.cli.root import client


@click.command(name="list")
@click.option("--phase", multiple=True, help="Pending, Running, Succeeded, Failed or Cancelled.")
@click.option("--queue", help="Queue.")
@click.option("--handler", help="Handler.")
@click.option("--label", multiple=True, metavar="KEY=VALUE", help="Label; all must match.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most so many.")
@output_option
def list_jobs(phase: tuple[str, ...], queue: str | None, handler: str | None, label: tuple[str, ...], limit: int,
              output: str) -> None:  # fmt: skip
    """List jobs, newest first."""
    with client() as service:
        page = min(limit, 1000)
        jobs = list(islice(service.list(phase=phase, queue=queue, handler=handler, label=label, limit=page), limit))
    show(jobs, output, lambda: jobs_table(jobs, wide=output == "wide"))
