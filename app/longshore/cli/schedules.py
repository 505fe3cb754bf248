"""``longshore schedules``."""

from collections.abc import Sequence
from http import HTTPStatus

import click

from longshore.cli.output import Json, age, jobs_table, output_option, show, table
from longshore.cli.root import client, complete_schedules
from longshore.client import ApiError

_name = click.argument("name", shell_complete=complete_schedules)


class _Known(click.Group):
    """Says where names can be seen when one is unknown."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                error.hint = "`longshore schedules` shows what there is"
            raise


@click.group(cls=_Known, invoke_without_command=True)
@output_option
@click.pass_context
def schedules(context: click.Context, output: str) -> None:
    """Show schedules, pause and resume them, run one now."""
    if context.invoked_subcommand is None:
        _list(output)


@schedules.command(name="list")
@output_option
def list_schedules(output: str) -> None:
    """Show all schedules."""
    _list(output)


def _list(output: str) -> None:
    with client() as service:
        found = list(service.schedules())
    show(found, output, lambda: _table(found))


@schedules.command()
@_name
@click.option(
    "--next", "count", type=click.IntRange(0, 100), default=5, show_default=True, help="How many of its next times."
)
@output_option
def get(name: str, count: int, output: str) -> None:
    """Show one schedule, its next times, and what is wrong with it."""
    with client() as service:
        found = service.schedule(name, next_times=count)
    show(found, output, lambda: _tell(found))


@schedules.command()
@_name
@output_option
def trigger(name: str, output: str) -> None:
    """Create a job of the schedule now."""
    with client() as service:
        job = service.trigger_schedule(name)
    show(job, output, lambda: jobs_table([job], wide=output == "wide"))


@schedules.command()
@_name
def pause(name: str) -> None:
    """Create no more jobs of a schedule."""
    with client() as service:
        service.pause_schedule(name)
    click.echo(f"schedule {name} is paused")


@schedules.command()
@_name
def resume(name: str) -> None:
    """Go on; times that passed meanwhile are not made up for."""
    with client() as service:
        found = service.pause_schedule(name, on=False)
    times = found["nextTimes"]
    click.echo(f"schedule {name} goes on" + (f"; next at {times[0]}" if times else ""))


@schedules.command()
@_name
def delete(name: str) -> None:
    """Remove a schedule and its jobs."""
    with client() as service:
        service.delete_schedule(name)
    click.echo(f"schedule {name} is deleted")


def _table(found: Sequence[Json]) -> None:
    columns = ("NAME", "CRON", "ZONE", "SUSPENDED", "ACTIVE", "LAST", "NEXT", "FROM")
    table(columns, [
        (one["name"], one["spec"]["cron"], one["spec"].get("timeZone", "UTC"), one["spec"].get("suspend", False),
         len(one.get("status", {}).get("active", ())), _last(one), (one["nextTimes"] or ["-"])[0], one["origin"])
        for one in found
    ])  # fmt: skip


def _last(one: Json) -> str:
    text = one.get("status", {}).get("lastScheduleTime")
    return age(text) if text else "-"


def _tell(found: Json) -> None:
    _table([found])
    for condition in found.get("status", {}).get("conditions", ()):
        click.echo(f"{condition['type']}={condition['status']} {condition['reason']}: {condition['message']}")
    for time in found["nextTimes"]:
        click.echo(f"next {time}")
