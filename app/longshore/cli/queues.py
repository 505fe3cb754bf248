"""``longshore queues``."""

import json
from http import HTTPStatus

import click

from longshore.cli.output import output_option, show, table
from longshore.cli.root import client, complete_queues
from longshore.client import ApiError


@click.group(invoke_without_command=True)
@output_option
@click.pass_context
def queues(context: click.Context, output: str) -> None:
    """Show queues, pause and resume them, change their policy."""
    if context.invoked_subcommand is not None:
        return
    with client() as service:
        found = service.queues()
    columns = ("NAME", "WAITING", "READY", "RUNNING", "PAUSED", "OLDEST")
    rows = [
        (q["name"], q["waiting"], q["ready"], q["running"], q["paused"], f"{q['oldestAgeSeconds']:.0f}s") for q in found
    ]
    show(list(found), output, lambda: table(columns, rows))


@queues.command()
@click.argument("name", shell_complete=complete_queues)
def pause(name: str) -> None:
    """Start no more jobs of a queue."""
    _change(name, {"paused": True})


@queues.command()
@click.argument("name", shell_complete=complete_queues)
def resume(name: str) -> None:
    """Go on with a queue."""
    _change(name, {"paused": False})


@queues.command(name="set")
@click.argument("name", shell_complete=complete_queues)
@click.argument("changes", nargs=-1, required=True, metavar="FIELD=JSON...")
def set_policy(name: str, changes: tuple[str, ...]) -> None:
    """Change a queue's policy, such as concurrency=4; null gives a field back to the configuration."""
    found = {}
    for text in changes:
        field, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"{text!r} should be FIELD=JSON")
        try:
            found[field] = json.loads(value)
        except ValueError:
            raise click.UsageError(f"the value of {field} is no JSON: {value}") from None
    _change(name, found)


def _change(name: str, changes: dict[str, object]) -> None:
    with client() as service:
        try:
            found = service.change_queue(name, changes)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                error.hint = "`longshore queues` shows what there is"
            raise
    click.echo(json.dumps(found["policy"], indent=2))
