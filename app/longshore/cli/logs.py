"""``longshore logs``."""

import sys
from collections.abc import Iterable, Iterator

import click

from longshore.cli.root import client, complete_jobs
from longshore.client import ApiError, Client, Job


@click.command()
@click.argument("job", shell_complete=complete_jobs)
@click.option("-f", "--follow", is_flag=True, help="Go on until the attempt ends.")
@click.option("--attempt", type=int, help="Number of the attempt; the last by default.")
@click.option("--index", type=int, help="Item of an array job; without it, all items, each line with its index.")
def logs(job: str, follow: bool, attempt: int | None, index: int | None) -> None:
    """Print what a job printed."""
    with client(patience=60.0 if follow else 0.0) as service:
        found = service.get(job) if index is None else None
        if found is not None and _size(found):
            _all_items(service, found, follow=follow, attempt=attempt)
            return
        _print(service.logs(job, follow=follow, attempt=attempt, index=index))


def _size(job: Job) -> int:
    spec = job["spec"]
    return len(spec.get("items") or ()) or spec.get("count") or 0


def _all_items(service: Client, job: Job, *, follow: bool, attempt: int | None) -> None:
    name, last = job["id"], _size(job) - 1
    way = f"{name} is an array: name one of its items with --index, 0 to {last}"
    if follow:
        raise click.UsageError(f"{way}; only one item can be followed at a time")
    some = False
    for item in service.items(name):
        some = True
        try:
            _print(_prefixed(f"[{item['index']}] ".encode(), service.logs(name, attempt=attempt, index=item["index"])))
        except ApiError as error:  # of this item alone: not kept any more, for example
            click.echo(f"[{item['index']}] longshore: {error}", err=True)
    if not some:
        click.echo(f"longshore: no item has printed anything yet; {way}", err=True)


def _prefixed(prefix: bytes, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Each line with its item; the last one is ended, so that the next item begins a line."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield b"".join(prefix + line + b"\n" for line in lines)
    if rest:
        yield prefix + rest + b"\n"


def _print(pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
