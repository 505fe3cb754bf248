"""``longshore submit``: one job, a manifest, or a file of jobs."""

import json
import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

import click
from click.core import ParameterSource

from longshore.cli import yaml_traps
from longshore.cli.output import fate, jobs_table, output_option, show
from longshore.cli.root import client, complete_handlers, complete_jobs, complete_queues
from longshore.client import MAX_BATCH, ApiError, Client

RESULTS = ("result", "resultRef", "resultNotKept")
BATCH_LABEL = "longshore.dev/batch"
PATIENCE_SECONDS = 300.0  # a batch goes on when the service was restarted meanwhile
Json = dict[str, Any]


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    shell_complete=complete_handlers,
    metavar="[HANDLER [KEY=VALUE]... | -- COMMAND...]",
)
@click.option("-f", "--file", type=click.File("r"), help="A manifest or a job, YAML or JSON; - is standard input.")
@click.option("--args", help="Arguments as one JSON object.")
@click.option("--name", help="Name of the job.")
@click.option("--queue", shell_complete=complete_queues, help="Queue.")
@click.option("--priority", type=int, help="Higher runs first.")
@click.option("--label", multiple=True, metavar="KEY=VALUE", help="Label; any number of times.")
@click.option("--delay", type=float, metavar="SECONDS", help="Do not start before so long from now.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Longest run of one attempt.")
@click.option("--retries", type=int, help="Attempts after the first that failures may cost.")
@click.option(
    "--after",
    multiple=True,
    metavar="JOB",
    shell_complete=complete_jobs,
    help="A job that has to succeed first; any number of times.",
)
@click.option("--idempotency-key", default="", help="The same key submits once.")
@click.option("--batch", type=click.File("r"), metavar="FILE", help="Jobs, one JSON object per line.")
@click.option("--wait", is_flag=True, help="Wait for the end and print the result; the exit code is the job's fate.")
@click.option("--watch", is_flag=True, help="The same, with a progress bar.")
@click.option("--wait-timeout", type=float, metavar="SECONDS", help="Wait no longer than this.")
@output_option
@click.pass_context
def submit(context: click.Context, /, words: tuple[str, ...], file: TextIO | None, batch: TextIO | None, wait: bool,
           watch: bool, wait_timeout: float | None, idempotency_key: str, output: str, **fields: Any) -> None:  # fmt: skip
    """Submit a job: a handler with arguments, a command behind --, a file, or a batch.

    With --wait or --watch the result goes to standard output as JSON (of an array a line for each item), and all else to
    standard error; with -o the whole job goes there.

    \b
      longshore submit echo x=1 name='"Ada"' --wait
      longshore submit -- sh -c 'echo hello'
      longshore submit -f job.yaml
      longshore submit --batch items.jsonl --watch
    """
    if batch is not None:
        context.exit(_batch(batch, idempotency_key, wait=wait or watch, watch=watch, timeout=wait_timeout))
    jobs = list(_from_file(file)) if file is not None else [_job(words, fields, dashes="--" in sys.argv)]
    results = (wait or watch) and context.get_parameter_source("output") is ParameterSource.DEFAULT
    with client(patience=PATIENCE_SECONDS if wait or watch else 0.0) as service:
        jobs = _without_schedules(service, jobs)
        if not jobs:
            return
        done = [service.submit(job, key=idempotency_key) for job in jobs]
        if wait or watch:
            done = [_watch(service, job, bar=watch, timeout=wait_timeout) for job in done]
        if results:
            for job in done:
                _tell_result(service, job)
            context.exit(max(fate(job) for job in done))
    show(done if len(done) > 1 else done[0], output, lambda: jobs_table(done, wide=output == "wide"))
    if wait or watch:
        context.exit(max(fate(job) for job in done))


def _without_schedules(service: Client, documents: list[Json]) -> list[Json]:
    """Put the schedules among the manifests of a file; the jobs are left."""
    jobs = []
    for one in documents:
        if not (isinstance(one, dict) and one.get("kind") == "Schedule"):
            jobs.append(one)
            continue
        found = service.put_schedule(str((one.get("metadata") or {}).get("name", "")), one)
        click.echo(f"longshore: schedule {found['name']} is kept", err=True)
    return jobs


def _tell_result(service: Client, job: Json) -> None:
    """The result to standard output, how the job ended to standard error."""
    status = job["status"]
    error = status.get("error", {})
    why = ": ".join(
        filter(None, (status.get("reason"), error.get("type"), error.get("message") or status.get("message")))
    )
    click.echo(f"longshore: job {job['id']} {status['phase']}" + (f": {why}" if why else ""), err=True)
    if status["phase"] != "Succeeded":
        return
    if "items" in job["spec"] or "count" in job["spec"]:
        for item in service.items(job["id"]):
            click.echo(
                json.dumps({name: item[name] for name in ("index", *RESULTS) if name in item}, ensure_ascii=False)
            )
    else:
        result = service.result(job["id"]) if "resultRef" in status else status.get("result")
        click.echo(json.dumps(result, ensure_ascii=False))


def _from_file(file: TextIO) -> Iterator[Json]:
    import yaml

    try:
        text = file.read()
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file.name} is no YAML: {str(error).splitlines()[0]}") from None
    if not documents:
        raise click.UsageError(f"{file.name} holds no job")
    for warning in yaml_traps.warnings(text):
        click.echo(f"longshore: warning: {file.name}, {warning}", err=True)
    for document in documents:
        try:
            yield json.loads(json.dumps(document, default=_plain, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise click.ClickException(f"{file.name} cannot be JSON: {error}") from None


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return str(value)


def _job(words: tuple[str, ...], fields: Mapping[str, Any], *, dashes: bool) -> Json:
    if not words:
        raise click.UsageError("name a handler, give a command behind --, or use -f or --batch")
    job: Json = {}
    if dashes:
        job["command"] = list(words)
    else:
        job["handler"] = words[0]
        arguments = _object(fields["args"]) | dict(_pair(word) for word in words[1:])
        if arguments:
            job["args"] = arguments
    names = {
        "name": "name",
        "queue": "queue",
        "priority": "priority",
        "timeout": "timeoutSeconds",
        "retries": "maxRetries",
    }
    job |= {field: fields[option] for option, field in names.items() if fields[option] is not None}
    if fields["after"]:
        job["after"] = list(fields["after"])
    if fields["label"]:
        job["labels"] = dict(text.partition("=")[::2] for text in fields["label"])
    if fields["delay"] is not None:
        job["startAfter"] = _later(fields["delay"])
    return job


def _later(seconds: float) -> str:
    try:
        return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    except (OverflowError, ValueError):
        raise click.UsageError(f"--delay {seconds:g} is no number of seconds that a calendar holds") from None


def _strictly(text: str) -> Any:
    """JSON as the standard has it: the NaN and Infinity that Python would take are none."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no JSON number")

    return json.loads(text, parse_constant=refuse)


def _object(text: str | None) -> Json:
    try:
        found = _strictly(text or "{}")
    except ValueError as error:
        raise click.UsageError(f"--args is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError("--args should be one JSON object")
    return found


def _pair(word: str) -> tuple[str, object]:
    name, equals, text = word.partition("=")
    if not equals:
        raise click.UsageError(f"{word!r} should be KEY=VALUE; a value is JSON, or text when it is none")
    try:
        return name, _strictly(text)
    except ValueError:
        return name, text


def _watch(service: Client, job: Json, *, bar: bool, timeout: float | None) -> Json:
    if not bar:
        return service.wait(job["id"], timeout)
    from rich.console import Console
    from rich.progress import Progress

    limit = time.monotonic() + timeout if timeout is not None else None
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        task = progress.add_task(job["id"], total=100)
        while job["status"]["phase"] in ("Pending", "Running"):
            if limit is not None and time.monotonic() > limit:
                raise TimeoutError(f"job {job['id']} is still {job['status']['phase']}")
            job = service.get(job["id"], wait=0.5)
            said = job["status"].get("progress", {})
            progress.update(
                task, completed=said.get("percent", 0), description=f"{job['id']} {said.get('message', '')}"
            )
    return job


# -- batches -----------------------------------------------------------------------------------------------------------


def _batch(file: TextIO, key: str, *, wait: bool, watch: bool, timeout: float | None) -> int:
    try:
        lines = {number: _line(text, number) for number, text in enumerate(file, start=1) if text.strip()}
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{file.name} is no text: {error}") from None
    if not lines:
        raise click.UsageError(f"{file.name} holds no job")
    name = (key or secrets.token_hex(6))[:63]
    with client(patience=PATIENCE_SECONDS) as service:
        counts = _run(service, lines, name, watch=watch, timeout=timeout) if wait else _send(service, lines, name)
    told = ", ".join(f"{count} {phase}" for phase, count in counts.items() if count)
    click.echo(f"batch {name}: {told}")
    return 1 if wait and counts.get("Failed") else 3 if wait and counts.get("Cancelled") else 0


def _line(text: str, number: int) -> Json:
    try:
        found = _strictly(text)
    except ValueError as error:
        raise click.ClickException(f"line {number} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.ClickException(f"line {number} should be a JSON object")
    return found


def _send(service: Client, lines: Mapping[int, Json], name: str) -> dict[str, int]:
    numbers = list(lines)
    for at in range(0, len(numbers), MAX_BATCH):
        part = numbers[at : at + MAX_BATCH]
        try:
            # Each batch has its key: what was sent twice is kept once, also over a restart of the service.
            service.submit_many([lines[number] for number in part], labels={BATCH_LABEL: name}, key=f"{name}-{at}")
        except ApiError as error:
            error.errors = [_of_line(found, part) for found in error.errors]
            raise
    return {"submitted": len(lines)}


def _of_line(found: dict[str, str], numbers: Sequence[int]) -> dict[str, str]:
    """The error, with the line of the file in place of the job's place in its batch."""
    match = re.fullmatch(r"/jobs/(\d+)(.*)", found.get("pointer", ""))
    return {**found, "pointer": f"line {numbers[int(match[1])]}, {match[2]}"} if match else found


def _run(service: Client, lines: Mapping[int, Json], name: str, *, watch: bool,
         timeout: float | None) -> dict[str, int]:  # fmt: skip
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not watch, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"batch {name}", total=len(lines))
        _send(service, lines, name)
        limit = time.monotonic() + timeout if timeout is not None else None
        while True:
            counts = service.count(label=f"{BATCH_LABEL}={name}")
            ended = sum(counts[phase] for phase in ("Succeeded", "Failed", "Cancelled"))
            progress.update(task, completed=ended)
            if ended >= len(lines):
                return counts
            if limit is not None and time.monotonic() > limit:
                raise TimeoutError(f"of batch {name}, {ended} of {len(lines)} jobs have ended")
            time.sleep(0.25)
