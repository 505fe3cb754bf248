"""From the chart of before to this one, with the values that the release has: tests/chart/previous is that of commit 8035c95."""

from pathlib import Path
from typing import Any

import pytest

from helm_chart import CHART, helm, parse, render
from kube.control_plane import ControlPlane

PREVIOUS = Path(__file__).parents[1] / "chart/previous/longshore-0.1.0.tgz"
# What `--reuse-values` keeps is the older chart's default for these, so they are said.
REQUESTS = {"requests": {"cpu": "150m", "memory": "256Mi", "ephemeral-storage": "1Gi"}}
VALUES: dict[str, Any] = {
    "crds": {"install": False}, "commonLabels": {"team": "harbour"},
    "operator": {"replicas": 2, "resources": None, "extraEnv": [{"name": "MINE", "value": "1"}]},
    "api": {"resources": REQUESTS}, "poolDefaults": {"resources": REQUESTS},
    "pools": {"default": None, "web": {"apps": ["shop.jobs"], "replicas": 3}},
}  # fmt: skip


@pytest.mark.parametrize("flag", ["--reuse-values", "--reset-then-reuse-values"])
@pytest.mark.parametrize("version", [3, 4])
def test_an_upgrade_with_the_values_of_before_is_an_install_of_today(
    cluster: ControlPlane, namespace: str, version: int, flag: str
) -> None:
    where = ["--namespace", namespace, "--kubeconfig", str(cluster.admin)]

    def run(*args: str, values: dict[str, Any] | None = None) -> str:
        done = helm(*args, *where, values=values, version=version)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("install", "ls", str(PREVIOUS), values=VALUES)
    for step in ("the first", "another one after it"):
        run("upgrade", "ls", str(CHART), flag, "--set", "api.replicas=2")
        made = parse(run("get", "manifest", "ls"))
        wanted = [one for one in render({**VALUES, "api": {"replicas": 2, "resources": REQUESTS}}, namespace=namespace, version=version)
                  if "helm.sh/hook" not in one["metadata"].get("annotations", {})]  # fmt: skip

        def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
            return {(one["kind"], one["metadata"]["name"]): one for one in objects}

        assert by_name(wanted) == by_name(made), step
    run("uninstall", "ls")
