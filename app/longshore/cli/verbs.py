"""``longshore cancel``, ``redrive``, ``suspend``, ``resume``, ``delete``: one verb, any number of jobs."""

from collections.abc import Callable
from http import HTTPStatus

import click

from longshore.cli.root import client
from longshore.client import ApiError, Client, Job


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
@click.option("--dependents", is_flag=True, help="Also the jobs that failed because of these, in order.")
def redrive(jobs: tuple[str, ...], *, dependents: bool) -> None:
    """Send failed jobs round again, in any order; each waits for the jobs in its `after` as it did at first."""
    left, done = list(dict.fromkeys(jobs)), set[str]()
    with client() as service:
        while left:
            refused: dict[str, ApiError] = {}
            for job in left:
                try:
                    found = service.redrive(job, dependents=dependents)
                except ApiError as error:
                    if error.status != HTTPStatus.CONFLICT:
                        raise
                    refused[job] = error  # perhaps because it waits for one that stands behind it in the line
                    continue
                for name in found.get("redriven", [job]):
                    done.add(name)
                    click.echo(f"{name}: {found['status']['phase'] if name == job else 'Pending'}")
            if len(refused) == len(left):
                *others, last = refused.values()
                for one in others:
                    click.echo(f"longshore: {one}", err=True)
                raise last
            left = [job for job in refused if job not in done]


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
