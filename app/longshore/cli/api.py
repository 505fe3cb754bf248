"""``longshore api``: the HTTP api of a cluster, over the API server."""

from pathlib import Path

import click

from longshore.cli.server import read_settings, server


@server(
    click.option("--namespace", help="Namespace of jobs when a request names none."),
    click.option("--all-namespaces/--own-namespace", default=None, help="Whether requests may name other namespaces."),
    click.option("--kubeconfig", help="File that names the cluster; without one the pod's own service account does."),
    click.option("--auth", type=click.Choice(["kubernetes", "tokens"]), help="Who knows callers; kubernetes by default."),
    engine=False,
)  # fmt: skip
def api(file: Path | None, **arguments: object) -> None:
    """Serve the HTTP api of a cluster until SIGTERM; jobs are kept by the API server and run by workers.

    Without --apps every handler is accepted, whatever its arguments.
    """
    from longshore.api.launch import run

    run(read_settings(arguments, file, {"auth": "kubernetes"}))
