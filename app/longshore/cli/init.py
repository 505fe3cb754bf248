"""``longshore init``: a project of one's own, from a template."""

from pathlib import Path

import click

from longshore.project import Template, create, named


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--template", type=click.Choice([each.value for each in Template]), default=Template.MINIMAL.value, show_default=True,
    help="A module with a handler and an endpoint, or a package with pages, too.",
)  # fmt: skip
def init(folder: Path, template: str) -> None:
    """Make a project in FOLDER, which is new or empty and named as the project.

    It has a handler, an endpoint, tests, a Dockerfile, values for the chart, a CI file, and what an editor needs to debug it.
    """
    project = named(folder)
    files = create(project, Template(template))
    click.echo(f"{project.name} is in {folder} ({len(files)} files). Next:")
    click.echo(f"  cd {folder}\n  make test\n  make run")
