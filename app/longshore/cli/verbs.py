"""``longshore cancel``, ``redrive``, ``suspend``, ``resume``, ``delete``: one verb, any number of jobs."""

from collections.abc import Callable

import click

from longshore.cli.root import client
from longshore.client import Client, Job


def _all(jobs: tuple[str, ...], action: Callable[[Client, str], Job]) -> None:
    with client() as service:
        for job in jobs:
            found = action(service, job)
            click.echo(f"{job}: {found['status']['phase']}")


@click.command()
@click.argument("jobs", nargs=-1, required=True)
@click.option("--grace", type=float, metavar="SECONDS", help="Time between SIGTERM and SIGKILL.")
def cancel(jobs: tuple[str, ...], grace: float | None) -> None:
    """Ask jobs to end; they have when their phase says so."""
    _all(jobs, lambda service, job: service.cancel(job, grace_seconds=grace))


@click.command()
@click.argument("jobs", nargs=-1, required=True)
def redrive(jobs: tuple[str, ...]) -> None:
    """Send failed jobs round again."""
    _all(jobs, Client.redrive)


@click.command()
@click.argument("jobs", nargs=-1, required=True)
def suspend(jobs: tuple[str, ...]) -> None:
    """Keep waiting jobs waiting."""
    _all(jobs, Client.suspend)


@click.command()
@click.argument("jobs", nargs=-1, required=True)
def resume(jobs: tuple[str, ...]) -> None:
    """Let suspended jobs go on."""
    _all(jobs, Client.resume)


@click.command()
@click.argument("jobs", nargs=-1, required=True)
def delete(jobs: tuple[str, ...]) -> None:
    """Forget ended jobs."""
    with client() as service:
        for job in jobs:
            service.delete(job)
            click.echo(f"{job}: deleted")
