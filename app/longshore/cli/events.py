"""``longshore events``."""

import json

import click

from longshore.cli.root import client, complete_jobs

END = ("succeeded", "failed", "cancelled")


@click.command()
@click.argument("job", required=False, default="", shell_complete=complete_jobs)
@click.option("--after", type=int, default=0, help="Events beyond this number.")
def events(job: str, after: int) -> None:
    """Print events as they happen, a JSON object per line: of one job until it ends, or of all."""
    with client(patience=60.0) as service:
        for event in service.events(job, after=after):
            click.echo(json.dumps(event))
            if job and event["type"] in END:
                return
