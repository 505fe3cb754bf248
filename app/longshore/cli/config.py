"""``longshore config``."""

from pathlib import Path

import click

from longshore import application_settings, apps, settings, settings_file
from longshore.cli.output import FORMATS, show, table
from longshore.errors import AppError

Row = tuple[str, object, str, str]
"""Name, value, source, meaning."""


@click.command()
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option("-o", "--output", type=click.Choice(FORMATS), default="table", help="How to show it.")
def config(file: Path | None, output: str) -> None:
    """Show every setting of the service and its applications, its value here, and where that comes from."""
    found = settings.load(file=file)
    settings_file.hand_on(file)
    rows, failure = _of_service(found), None
    try:
        apps.load(found.settings.apps)
        rows += _of_applications()
    except AppError as error:
        failure = error  # the service's own settings are shown all the same

    def tell() -> None:
        wide = output == "wide"
        shown = [(name, value, source, meaning if wide else "") for name, value, source, meaning in rows]
        table(("SETTING", "VALUE", "SOURCE", "MEANING" if wide else ""), shown)

    show({name: {"value": value, "source": source} for name, value, source, _ in rows}, output, tell)
    if failure is not None:
        raise failure


def _of_service(found: settings.Effective) -> list[Row]:
    values, fields = found.settings.dump(), settings.Settings.model_fields
    return [(name, values[name], source, fields[name].description or "") for name, source in found.sources.items()]


def _of_applications() -> list[Row]:
    rows: list[Row] = []
    for name, found in application_settings.DECLARED.items():
        for field, value in found.shown().items():
            meaning = found.model.model_fields[field].description or ""
            rows.append((f"app.{name}.{field}", value, found.sources[field], meaning))
    return rows
