"""How things are shown: as a table for people, as JSON or YAML for programs."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

Json = dict[str, Any]
FORMATS = ("table", "wide", "json", "yaml")

output_option = click.option("-o", "--output", type=click.Choice(FORMATS), default="table", help="How to show it.")


def show(value: object, form: str, table: Callable[[], None]) -> None:
    """In the asked form."""
    if form == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif form == "yaml":
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
    else:
        table()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned columns, as kubectl has them; plain text, so that a pipe can cut it."""
    texts = [[str(cell) if cell is not None else "" for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[at]) for row in texts) for at in range(len(columns))]
    for row in texts:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def jobs_table(jobs: Sequence[Json], *, wide: bool) -> None:
    """Jobs, a line each."""
    columns = ["NAME", "PHASE", "QUEUE", "HANDLER", "ATTEMPTS", "AGE"] + (
        ["REASON", "DURATION", "WORKER"] if wide else []
    )
    table(columns, [_row(job, wide=wide) for job in jobs])


def _row(job: Json, *, wide: bool) -> list[object]:
    spec, status = job["spec"], job["status"]
    handler = spec.get("handler") or " ".join(spec.get("command", ()))[:40]
    row = [job["id"], status["phase"], spec.get("queue", "default"), handler, status["attempts"], age(job["createdAt"])]
    return row + ([status.get("reason", ""), _duration(status), status.get("worker", "")] if wide else [])


def age(text: str) -> str:
    """How long ago, as kubectl says it."""
    return span((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds())


def span(seconds: float) -> str:
    """``90`` as ``90s``, ``7200`` as ``2h``."""
    for unit, size, least in (("d", 86_400, 2 * 86_400), ("h", 3600, 7200), ("m", 60, 120)):
        if seconds >= least:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def _duration(status: Json) -> str:
    if "startedAt" not in status or "finishedAt" not in status:
        return ""
    took = datetime.fromisoformat(status["finishedAt"]) - datetime.fromisoformat(status["startedAt"])
    return f"{took.total_seconds():.3f}s"


def fate(job: Json) -> int:
    """The exit code that a job's end stands for."""
    return {"Succeeded": 0, "Failed": 1, "Cancelled": 3}.get(job["status"]["phase"], 4)
