"""``longshore backup`` and ``longshore restore``: copies of the database of `longshore serve`, or of a namespace."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click

from longshore import settings

FOLDER = click.option("--data-dir", help="Folder of the database.")
SETTINGS = click.option("--config", "config", type=click.Path(path_type=Path), help="Settings file (TOML).")
NAMESPACE = click.option("--namespace", help="Of a cluster: copy this namespace instead of a database.")
KUBECONFIG = click.option(
    "--kubeconfig", envvar=["LONGSHORE_KUBECONFIG", "KUBECONFIG"], type=click.Path(path_type=Path),
    help="Which cluster; the pod's own without one.",
)  # fmt: skip
FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


def _what_and_where(command: Callable[..., None]) -> Callable[..., None]:
    """The same words for both ways."""
    for option in (KUBECONFIG, NAMESPACE, SETTINGS, FOLDER, FILE):
        command = option(command)
    return command


def _one_of_both(namespace: str | None, data_dir: str | None) -> None:
    if namespace is not None and data_dir is not None:
        raise click.UsageError(
            "--namespace and --data-dir exclude each other: one is of a cluster, the other of `longshore serve`"
        )


def _database(config: Path | None, data_dir: str | None) -> Path:
    return settings.load({"data_dir": data_dir}, file=config).settings.database


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[kind]} {kind.lower()}(s)" for kind in ("Queue", "Schedule", "Job"))


@click.command()
@_what_and_where
def backup(
    file: Path, data_dir: str | None, config: Path | None, namespace: str | None, kubeconfig: Path | None
) -> None:
    """Write a consistent copy of the database to FILE, while the service runs.

    It holds all jobs, with results, output, queue policies and webhooks that wait. The settings, the tokens file and the
    applications are not in it. With --namespace it is a copy of the queues, schedules and jobs of a cluster's namespace,
    with how the jobs ended.
    """
    _one_of_both(namespace, data_dir)
    if namespace is not None:
        from longshore.store.kubernetes import copies

        counts = copies.back_up(copies.connect(kubeconfig), namespace, file)
        click.echo(f"{_told(counts)} are in {file}")
        return
    from longshore.store.sqlite.copies import back_up

    click.echo(f"{back_up(_database(config, data_dir), file)} job(s) are in {file}")


@click.command()
@_what_and_where
def restore(
    file: Path, data_dir: str | None, config: Path | None, namespace: str | None, kubeconfig: Path | None
) -> None:
    """Make the database from the copy in FILE, while no service runs and where no database is.

    Jobs that had ended stay ended. Jobs that waited or ran when the copy was made run, although they may have ended since.
    With --namespace the copy's queues, schedules and jobs are made there; what is there already is left as it is.
    """
    _one_of_both(namespace, data_dir)
    if namespace is not None:
        from longshore.store.kubernetes import copies

        made, there = copies.restore(copies.connect(kubeconfig), namespace, file)
        click.echo(f"{_told(made)} were made" + (f"; {_told(there)} were there already" if there else ""))
        return
    from longshore.store.sqlite.copies import restore as put_back

    database = _database(config, data_dir)
    click.echo(f"{put_back(file, database)} job(s) are in {database}; start the service")
