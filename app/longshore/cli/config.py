"""``longshore config``."""

from pathlib import Path

import click

from longshore import settings
from longshore.cli.output import FORMATS, show, table


@click.command()
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option("-o", "--output", type=click.Choice(FORMATS), default="table", help="How to show it.")
def config(file: Path | None, output: str) -> None:
    """Show every setting of the service, its value here, and where that comes from."""
    found = settings.load(file=file)
    values = found.settings.dump()
    whole = {name: {"value": values[name], "source": source} for name, source in found.sources.items()}

    def tell() -> None:
        fields = settings.Settings.model_fields
        rows = [(name, values[name], source, (fields[name].description or "") if output == "wide" else "")
                for name, source in found.sources.items()]  # fmt: skip
        table(("SETTING", "VALUE", "SOURCE", "MEANING" if output == "wide" else ""), rows)

    show(whole, output, tell)
