"""What the real prometheus-operator makes of the chart's monitors and rules, and that a real Prometheus takes it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm_chart import CHART, helm, kind, render
from kube.control_plane import ControlPlane
from kube.prometheus import Monitoring

METRICS: dict[str, dict[str, Any]] = {
    "serviceMonitor": {
        "interval": "7s", "scrapeTimeout": "5s",
        "relabelings": [{"action": "replace", "replacement": "harbour", "targetLabel": "team"}],
        "metricRelabelings": [{"action": "drop", "sourceLabels": ["__name__"], "regex": "python_.*"}],
    },
    "prometheusRule": {"enabled": True, "runbookUrl": "https://example.com/runbooks"},
}  # fmt: skip
PORTS = {"operator": "http-metrics", "api": "http", "workers": "http"}


def values(which: str) -> dict[str, Any]:
    """Metrics of the chart with ServiceMonitors or PodMonitors."""
    on = {name: {**METRICS.get(name, {}), "enabled": name == which} for name in ("serviceMonitor", "podMonitor")}
    return {"metrics": METRICS | on}


@pytest.fixture(scope="module", params=["serviceMonitor", "podMonitor"])
def made(
    request: pytest.FixtureRequest, kube_tools: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Monitoring, dict[str, Any]]]:
    """Which monitors, the operator that has read them, and the configuration."""
    folder = tmp_path_factory.mktemp("prometheus")
    plane = ControlPlane(kube_tools, folder / "cluster")
    plane.start()
    plane.must("POST", "/api/v1/namespaces", {"metadata": {"name": "demo"}})
    monitoring = Monitoring(plane, folder, ["demo"])
    try:
        monitoring.start()
        where = ["--namespace=demo", f"--kubeconfig={plane.admin}"]
        done = helm("install", "ls", str(CHART), *where, values=values(request.param))
        assert done.returncode == 0, done.stderr
        yield request.param, monitoring, monitoring.configure(jobs=3)
    finally:
        monitoring.stop()
        plane.stop()


def test_every_component_is_a_job(made: tuple[str, Monitoring, dict[str, Any]]) -> None:
    which, _, config = made
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}

    assert {f"{which}/demo/ls-{name}/0" for name in PORTS} == set(jobs)
    role = {"serviceMonitor": "endpointslice", "podMonitor": "pod"}[which]
    for name, port in PORTS.items():
        job = jobs[f"{which}/demo/ls-{name}/0"]
        assert ("/metrics", "7s", "5s", False) == (
            job["metrics_path"], job["scrape_interval"], job["scrape_timeout"], job["honor_labels"])  # fmt: skip
        assert [(role, ["demo"])] == [(one["role"], one["namespaces"]["names"]) for one in job["kubernetes_sd_configs"]]
        kept = {
            tuple(one["source_labels"]): str(one["regex"])
            for one in job["relabel_configs"]
            if one.get("action") == "keep"
        }
        discovered = {"serviceMonitor": "__meta_kubernetes_endpointslice_port_name",
                      "podMonitor": "__meta_kubernetes_pod_container_port_name"}[which]  # fmt: skip
        assert port == kept[(discovered,)]


def test_relabelings_come_through(made: tuple[str, Monitoring, dict[str, Any]]) -> None:
    _, _, config = made
    for job in config["scrape_configs"]:
        assert {"harbour"} == {
            one["replacement"] for one in job["relabel_configs"] if one.get("target_label") == "team"
        }
        assert ["python_.*"] == [one["regex"] for one in job["metric_relabel_configs"] if one.get("action") == "drop"]


def test_prometheus_runs_with_it_and_knows_every_alert(
    made: tuple[str, Monitoring, dict[str, Any]], eventually: Callable[..., Any]
) -> None:
    which, monitoring, _ = made
    rules = kind(render(values(which), apis=["monitoring.coreos.com/v1/PrometheusRule"]), "PrometheusRule")["ls-rules"]
    (file,) = monitoring.rules().values()
    assert rules["spec"]["groups"] == yaml.safe_load(file)["groups"]

    monitoring.prometheus.start()
    wanted = {rule["alert"] for group in rules["spec"]["groups"] for rule in group["rules"]}

    def healths() -> dict[str, str]:
        return {
            rule["name"]: rule["health"]
            for group in monitoring.prometheus.get("rules")["groups"]
            for rule in group["rules"]
        }

    eventually(lambda: healths() == dict.fromkeys(wanted, "ok"), what=f"a look at every rule: {healths()}")
    pools = {f"{which}/demo/ls-{name}/0" for name in PORTS}
    eventually(lambda: set(monitoring.prometheus.get("scrape_pools")["scrapePools"]) == pools, what=f"the jobs {pools}")
