"""``longshore handlers``, ``workers``, ``status``, ``drain``, ``undrain``."""

import click

from longshore.cli.output import output_option, show, table
from longshore.cli.root import client


@click.command()
@output_option
def handlers(output: str) -> None:
    """Show what can be run."""
    with client() as service:
        found = service.handlers()
    rows = [(h["name"], h["runner"], ", ".join(h["args"].get("properties", {})), h["description"][:60]) for h in found]
    show(list(found), output, lambda: table(("NAME", "RUNNER", "ARGUMENTS", "DESCRIPTION"), rows))


@click.command()
@output_option
def workers(output: str) -> None:
    """Show who runs jobs."""
    with client() as service:
        found = service.workers()
    rows = [(w["name"], w["slots"], w["free"], len(w["running"]), w["draining"]) for w in found]
    show(list(found), output, lambda: table(("NAME", "SLOTS", "FREE", "RUNNING", "DRAINING"), rows))


@click.command()
@output_option
def status(output: str) -> None:
    """Show how the service is."""
    with client() as service:
        found = service.status(details=True)

    def tell() -> None:
        slots, waiting = found["slots"], found["waiting"]
        state = "draining" if found["draining"] else "ready" if found["ready"] else "not ready"
        click.echo(f"Longshore {found['version']} on {found['worker']}: {state}")
        click.echo(f"slots: {slots['busy']} of {slots['total']} busy; waiting: {waiting['count']}, "
                   f"the oldest for {waiting['oldestAgeSeconds']:.0f}s")  # fmt: skip
        click.echo("jobs: " + ", ".join(f"{count} {phase}" for phase, count in found["jobs"].items()))

    show(found, output, tell)


@click.command()
def drain() -> None:
    """Let the service take no new jobs and start none."""
    with client() as service:
        service.drain(on=True)
    click.echo("draining")


@click.command()
def undrain() -> None:
    """Let the service take jobs again."""
    with client() as service:
        service.drain(on=False)
    click.echo("ready")


@click.command()
def reload() -> None:
    """Let the service go on with the code and the settings as they are now; no request is refused meanwhile."""
    with client() as service:
        service.reload()
    click.echo("reloading: jobs are taken, and start when those that run have ended")
