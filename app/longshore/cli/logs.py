"""``longshore logs``."""

import sys

import click

from longshore.cli.root import client


@click.command()
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the attempt ends.")
@click.option("--attempt", type=int, help="Number of the attempt; the last by default.")
@click.option("--index", type=int, help="Item of an array job.")
def logs(job: str, follow: bool, attempt: int | None, index: int | None) -> None:
    """Print what a job printed."""
    with client(patience=60.0 if follow else 0.0) as service:
        for piece in service.logs(job, follow=follow, attempt=attempt, index=index):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
