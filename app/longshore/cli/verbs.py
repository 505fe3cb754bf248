"""``longshore cancel``, ``redrive``, ``suspend``, ``resume``, ``delete``: one verb, any number of jobs."""

from collections.abc import Callable
from http import HTTPStatus

import click

from longshore.cli.root import client, complete_jobs
from longshore.client import ApiError, Client, Job

ENDS = ("Succeeded", "Failed", "Cancelled")


def _all(jobs: tuple[str, ...], action: Callable[[Client, str], Job], told: Callable[[Job], str]) -> None:
    with client() as service:
        for job in jobs:
            click.echo(f"{job}: {told(action(service, job))}")


def _cancelled(job: Job) -> str:
    phase = job["status"]["phase"]
    return phase if phase in ENDS else f"asked to end; `longshore wait {job['id']}` waits until nothing of it runs"


def _suspended(job: Job) -> str:
    return "suspended" + ("; what runs of it goes on" if job["status"]["phase"] == "Running" else "")


@click.command()
@click.argument("jobs", nargs=-1, required=True, shell_complete=complete_jobs)
@click.option("--grace", type=float, metavar="SECONDS", help="Time between SIGTERM and SIGKILL.")
def cancel(jobs: tuple[str, ...], grace: float | None) -> None:
    """Ask jobs to end; they have when their phase says so."""
    _all(jobs, lambda service, job: service.cancel(job, grace_seconds=grace), _cancelled)


@click.command()
@click.argument("jobs", nargs=-1, required=True, shell_complete=complete_jobs)
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
@click.argument("jobs", nargs=-1, required=True, shell_complete=complete_jobs)
def suspend(jobs: tuple[str, ...]) -> None:
    """Keep waiting jobs waiting."""
    _all(jobs, Client.suspend, _suspended)


@click.command()
@click.argument("jobs", nargs=-1, required=True, shell_complete=complete_jobs)
def resume(jobs: tuple[str, ...]) -> None:
    """Let suspended jobs go on."""
    _all(jobs, Client.resume, lambda _job: "resumed")


@click.command()
@click.argument("jobs", nargs=-1, required=True, shell_complete=complete_jobs)
def delete(jobs: tuple[str, ...]) -> None:
    """Forget ended jobs."""
    with client() as service:
        for job in jobs:
            service.delete(job)
            click.echo(f"{job}: deleted")
