"""``longshore submit``: one job, a manifest, or a file of jobs."""

import json
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import click

from longshore.cli.output import fate, jobs_table, output_option, show
from longshore.cli.root import client
from longshore.client import MAX_BATCH, Client

BATCH_LABEL = "longshore.dev/batch"
PATIENCE_SECONDS = 300.0  # a batch goes on when the service was restarted meanwhile
Json = dict[str, Any]


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[HANDLER [KEY=VALUE]... | -- COMMAND...]")
@click.option("-f", "--file", type=click.File("r"), help="A manifest or a job, YAML or JSON; - is standard input.")
@click.option("--args", help="Arguments as one JSON object.")
@click.option("--name", help="Name of the job.")
@click.option("--queue", help="Queue.")
@click.option("--priority", type=int, help="Higher runs first.")
@click.option("--label", multiple=True, metavar="KEY=VALUE", help="Label; any number of times.")
@click.option("--delay", type=float, metavar="SECONDS", help="Do not start before so long from now.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Longest run of one attempt.")
@click.option("--retries", type=int, help="Attempts after the first that failures may cost.")
@click.option("--after", multiple=True, metavar="JOB", help="A job that has to succeed first; any number of times.")
@click.option("--idempotency-key", default="", help="The same key submits once.")
@click.option("--batch", type=click.Path(path_type=Path), metavar="FILE", help="Jobs, one JSON object per line.")
@click.option("--wait", is_flag=True, help="Wait for the end; the exit code is the job's fate.")
@click.option("--watch", is_flag=True, help="The same, with a progress bar.")
@click.option("--wait-timeout", type=float, metavar="SECONDS", help="Wait no longer than this.")
@output_option
@click.pass_context
def submit(context: click.Context, /, words: tuple[str, ...], file: TextIO | None, batch: Path | None, wait: bool,
           watch: bool, wait_timeout: float | None, idempotency_key: str, output: str, **fields: Any) -> None:  # fmt: skip
    """Submit a job: a handler with arguments, a command behind --, a file, or a batch.

    \b
      longshore submit echo x=1 name='"Ada"' --wait
      longshore submit -- sh -c 'echo hello'
      longshore submit -f job.yaml
      longshore submit --batch items.jsonl --watch
    """
    if batch is not None:
        context.exit(_batch(batch, idempotency_key, wait=wait or watch, watch=watch))
    jobs = list(_from_file(file)) if file is not None else [_job(words, fields, dashes="--" in sys.argv)]
    with client(patience=PATIENCE_SECONDS if wait or watch else 0.0) as service:
        done = [service.submit(job, key=idempotency_key) for job in jobs]
        if wait or watch:
            done = [_watch(service, job, bar=watch, timeout=wait_timeout) for job in done]
    show(done if len(done) > 1 else done[0], output, lambda: jobs_table(done, wide=output == "wide"))
    if wait or watch:
        context.exit(max(fate(job) for job in done))


def _from_file(file: TextIO) -> Iterator[Json]:
    import yaml

    try:
        documents = [document for document in yaml.safe_load_all(file) if document is not None]
    except yaml.YAMLError as error:
        raise click.ClickException(f"{file.name} is no YAML: {str(error).splitlines()[0]}") from None
    if not documents:
        raise click.UsageError(f"{file.name} holds no job")
    for document in documents:
        yield json.loads(json.dumps(document, default=_plain))


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
        job["startAfter"] = (datetime.now(UTC) + timedelta(seconds=fields["delay"])).isoformat()
    return job


def _object(text: str | None) -> Json:
    try:
        found = json.loads(text or "{}")
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
        return name, json.loads(text)
    except ValueError:
        return name, text


def _watch(service: Client, job: Json, *, bar: bool, timeout: float | None) -> Json:
    if not bar:
        return service.wait(job["id"], timeout)
    from rich.progress import Progress

    limit = time.monotonic() + timeout if timeout is not None else None
    with Progress(transient=True) as progress:
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


def _batch(path: Path, key: str, *, wait: bool, watch: bool) -> int:
    jobs = [_line(text, number) for number, text in enumerate(path.read_text().splitlines(), start=1) if text.strip()]
    if not jobs:
        raise click.UsageError(f"{path} holds no job")
    name = (key or secrets.token_hex(6))[:63]
    with client(patience=PATIENCE_SECONDS) as service:
        counts = _send(service, jobs, name) if not wait else _run(service, jobs, name, watch=watch)
    told = ", ".join(f"{count} {phase}" for phase, count in counts.items() if count)
    click.echo(f"batch {name}: {told}")
    return 1 if wait and counts.get("Failed") else 3 if wait and counts.get("Cancelled") else 0


def _line(text: str, number: int) -> Json:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"line {number} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.ClickException(f"line {number} should be a JSON object")
    return found


def _send(service: Client, jobs: list[Json], name: str) -> dict[str, int]:
    for at in range(0, len(jobs), MAX_BATCH):
        # Each batch has its key: what was sent twice is kept once, also over a restart of the service.
        service.submit_many(jobs[at : at + MAX_BATCH], labels={BATCH_LABEL: name}, key=f"{name}-{at}")
    return {"submitted": len(jobs)}


def _run(service: Client, jobs: list[Json], name: str, *, watch: bool) -> dict[str, int]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not watch) as progress:
        task = progress.add_task(f"batch {name}", total=len(jobs))
        _send(service, jobs, name)
        while True:
            counts = service.count(label=f"{BATCH_LABEL}={name}")
            ended = sum(counts[phase] for phase in ("Succeeded", "Failed", "Cancelled"))
            progress.update(task, completed=ended)
            if ended >= len(jobs):
                return counts
            time.sleep(0.25)
