"""``longshore backup`` and ``longshore restore``: copies of the database of `longshore serve`."""

from pathlib import Path

import click

from longshore import settings

FOLDER = click.option("--data-dir", help="Folder of the database.")
SETTINGS = click.option("--config", "config", type=click.Path(path_type=Path), help="Settings file (TOML).")
FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


def _database(config: Path | None, data_dir: str | None) -> Path:
    return settings.load({"data_dir": data_dir}, file=config).settings.database


@click.command()
@FILE
@FOLDER
@SETTINGS
def backup(file: Path, data_dir: str | None, config: Path | None) -> None:
    """Write a consistent copy of the database to FILE, while the service runs.

    It holds all jobs, with results, output, queue policies and webhooks that wait. The settings, the tokens file and the
    applications are not in it.
    """
    from longshore.store.sqlite.copies import back_up

    click.echo(f"{back_up(_database(config, data_dir), file)} job(s) are in {file}")


@click.command()
@FILE
@FOLDER
@SETTINGS
def restore(file: Path, data_dir: str | None, config: Path | None) -> None:
    """Make the database from the copy in FILE, while no service runs and where no database is.

    Jobs that had ended stay ended. Jobs that waited or ran when the copy was made run, although they may have ended since.
    """
    from longshore.store.sqlite.copies import restore as put_back

    database = _database(config, data_dir)
    click.echo(f"{put_back(file, database)} job(s) are in {database}; start the service")
