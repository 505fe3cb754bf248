"""``longshore explain``."""

from http import HTTPStatus
from typing import Any

import click

from longshore.cli.output import output_option, show
from longshore.cli.root import client, complete_jobs
from longshore.client import ApiError


@click.command()
@click.argument("job", shell_complete=complete_jobs)
@click.argument("pool", required=False)
@output_option
def explain(job: str, pool: str | None, output: str) -> None:
    """Say why a job stands where it stands; `explain pool NAME`: why a pool has as many workers as it has."""
    if pool is not None:
        if job != "pool":
            raise click.UsageError("one job, or `pool` and the name of a pool")
        with client() as service:
            try:
                found = service.pool(pool)
            except ApiError as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    error.hint = "`kubectl get deployments -L longshore.dev/pool` shows what there is"
                raise
        show(found, output, lambda: click.echo("\n".join(story(found))))
        return
    with client() as service:
        found = service.explain(job)

    def tell() -> None:
        place = f" Place in line: {found['position']}." if "position" in found else ""
        until = f" Until {found['waitsUntil']}." if "waitsUntil" in found else ""
        click.echo(f"{job} is {found['phase']}: {found['message']} ({found['reason']}).{place}{until}")

    show(found, output, tell)


def story(found: dict[str, Any]) -> list[str]:
    """The story of a pool, line by line."""
    settings, demand = found.get("settings", {}), found["demand"]
    lines = [f"{found['name']}: {found['message']} ({found['reason']})."]
    wanted = f", {found['desired']} wanted" if "desired" in found else ""
    limits = f", from {settings['minWorkers']} to {settings['maxWorkers']}" if settings else ""
    lines.append(f"Workers: {found['replicas']}{wanted}{limits}; {found['slotsPerWorker']} slot(s) each.")
    if found["workers"]:
        lines.append("They are: " + ", ".join(f"{count} {state}" for state, count in found["workers"].items()) + ".")
    lines += [f"Starting: {one['name']}, {one.get('trouble') or one['stage']}." for one in found["starting"]]
    lines.append(f"Jobs: {demand['running']} running, {demand['waiting']:g} waiting, {demand['dueSoon']:g} due soon.")
    if "warning" in found:
        lines.append(f"Warning: {found['warning']}.")
    return lines
