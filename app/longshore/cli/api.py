"""``longshore api``: the HTTP api of a cluster, over the API server."""

from pathlib import Path

import click

from longshore import settings


@click.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
@click.option(
    "--apps", help="Modules that bring handlers, separated by commas; without any, every handler is accepted."
)
@click.option("--commands/--no-commands", default=None, help="Whether jobs may run commands.")
@click.option("--namespace", help="Namespace of jobs when a request names none.")
@click.option("--all-namespaces/--own-namespace", default=None, help="Whether requests may name other namespaces.")
@click.option("--kubeconfig", help="File that names the cluster; without one the pod's own service account does.")
@click.option("--auth", type=click.Choice(["kubernetes", "tokens"]), help="Who knows callers; kubernetes by default.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Least serious log lines.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings file (TOML).")
def api(file: Path | None, **arguments: object) -> None:
    """Serve the HTTP api of a cluster until SIGTERM; jobs are kept by the API server and run by workers.

    Every setting can also be LONGSHORE_NAME in the environment or a line of the settings file; `longshore config` shows
    all of them.
    """
    from longshore.api.launch import run

    run(settings.load(arguments, file=file, defaults={"auth": "kubernetes"}).settings)
