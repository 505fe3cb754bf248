"""The command itself: its options, its commands by name, its errors and exit codes."""

import importlib
import os
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NoReturn

import click

from longshore.client import DEFAULT_URL, ApiError, Client, ClientError, ServiceUnreachable
from longshore.errors import LongshoreError
from longshore.job.status import Phase

COMPLETION_SECONDS = 2.0
OK, FAILED, USAGE, CANCELLED, TIMED_OUT, NOT_FOUND, REFUSED, UNREACHABLE = range(8)
EXIT_CODES = """\b
Exit codes: 0 done (of wait and submit --wait: the job succeeded), 1 the job failed or something broke,
2 the command line is wrong, 3 the job was cancelled, 4 waited long enough, 5 no such job or it was removed,
6 the service refused, 7 the service cannot be reached or takes nothing now."""

# Where each command lives; imported when it is needed, so that `longshore version` is quick.
COMMANDS = {
    "init": "init", "serve": "serve", "api": "api", "worker": "worker", "submit": "submit", "get": "get", "list": "listing",
    "wait": "wait", "logs": "logs",
    "events": "events", "cancel": "verbs", "redrive": "verbs", "suspend": "verbs", "resume": "verbs",
    "delete": "verbs", "explain": "explain", "simulate": "simulate", "queues": "queues", "schedules": "schedules", "handlers": "service", "workers": "service",
    "status": "service", "drain": "service", "undrain": "service", "reload": "service", "config": "config", "token": "tokens",
    "backup": "backup", "restore": "backup",
    "webhooks": "webhooks", "openapi": "openapi", "version": "version", "completion": "completion",
}  # fmt: skip


class Commands(click.Group):
    """Finds a command in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table above."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command called so."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"longshore.cli.{COMMANDS[cmd_name]}")
        found: click.Command = getattr(module, "list_jobs" if cmd_name == "list" else cmd_name)
        return found

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; whoever reads its output and has seen enough (`| head`) ends it without an error."""
        try:
            found = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in the buffer goes nowhere
            raise click.exceptions.Exit(OK) from None
        return found


@click.group(cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", envvar="LONGSHORE_URL", default=DEFAULT_URL, show_default=True, help="Address of the service.")
@click.option(
    "--token", envvar="LONGSHORE_TOKEN", default="", help="Bearer token; better in LONGSHORE_TOKEN than here."
)
@click.pass_context
def cli(context: click.Context, url: str, token: str) -> None:
    """Background jobs in warm worker processes."""
    context.obj = (url, token)


def _service(context: click.Context) -> Client:
    found = context.find_root().params
    return Client(found.get("url") or DEFAULT_URL, token=found.get("token") or "", timeout=COMPLETION_SECONDS)


def _completing(names: Callable[[Client], Iterable[str]]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
        try:
            with _service(context) as service:
                return [name for name in names(service) if name.lower().startswith(begun.lower())]
        except (ClientError, OSError):
            return []  # a shell that completes is no place for errors

    return complete


complete_jobs = _completing(lambda service: [job["id"] for job in islice(service.list(limit=100), 100)])
"""Names of the newest hundred jobs."""
complete_handlers = _completing(lambda service: [found["name"] for found in service.handlers()])
complete_schedules = _completing(lambda service: [found["name"] for found in service.schedules()])
complete_queues = _completing(lambda service: [found["name"] for found in service.queues()])


def complete_phases(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Phases, in any case."""
    return [phase.value for phase in Phase if phase.value.lower().startswith(begun.lower())]


def client(*, patience: float = 0.0) -> Client:
    """A client for the service that the command was given."""
    url, token = click.get_current_context().obj
    return Client(url, token=token, patience=patience, user_agent="longshore-cli")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; every error is a sentence and an exit code, never a traceback."""
    try:
        code = cli.main(arguments, prog_name="longshore", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except ServiceUnreachable as error:
        code = _say(str(error), "is it running? `longshore serve` starts one; --url names another", UNREACHABLE)
    except ApiError as error:
        code = _refused(error)
    except TimeoutError as error:
        code = _say(str(error), "it goes on; ask again with `longshore wait`", TIMED_OUT)
    except (LongshoreError, ClientError) as error:
        code = _say(str(error), "", FAILED)
    except OSError as error:  # a file that was named is not there, or not ours to read or write
        code = _say(f"{error.filename}: {error.strerror}" if error.filename else str(error), "", FAILED)
    sys.exit(code if isinstance(code, int) else 0)


def _refused(error: ApiError) -> int:
    hints = {401: "give a token in LONGSHORE_TOKEN", 404: "`longshore list` shows what there is",
             503: "try again in a moment"}  # fmt: skip
    codes = {404: NOT_FOUND, 410: NOT_FOUND, 503: UNREACHABLE}
    code = _say(str(error), error.hint or hints.get(error.status, ""), codes.get(error.status, REFUSED))
    for found in error.errors:
        where = found.get("pointer") or found.get("parameter") or found.get("header") or ""
        line = f"{where}: {found.get('detail', '')}"
        if line != str(error):  # the headline says it already
            click.echo(f"  {line}", err=True)
    return code


def _say(text: str, hint: str, code: int) -> int:
    click.echo(f"longshore: {text}" + (f" ({hint})" if hint else ""), err=True)
    return code
