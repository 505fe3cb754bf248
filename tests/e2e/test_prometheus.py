"""The chart's monitors and alerts on a node: the real prometheus-operator reads them, a real Prometheus scrapes the pods."""

from collections.abc import Callable, Iterator

import pytest

from e2e.images import Images
from e2e.node import Node
from e2e.release import Object, Release
from helm_chart import tool
from kube.prometheus import Monitoring

VALUES = {
    # Nobody serves the queue `later`, so that what is sent there waits.
    "pools": {"default": {"queues": ["now"]}},
    "metrics": {
        "serviceMonitor": {"enabled": True, "renderMode": "failIfMissing", "interval": "1s", "scrapeTimeout": "1s"},
        "prometheusRule": {"enabled": True, "renderMode": "failIfMissing", "thresholds": {"disruptions": 0}},
    },
}
JOBS = {"ls-operator": "operator", "ls-workers": "worker", "ls-api": "api"}
# As docs/observability.md has it for an autoscaler.
DEPTH = "max by (exported_namespace, queue) (longshore_queue_depth)"


@pytest.fixture(scope="module")
def monitored(
    node: Node, node_images: Images, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Release, Monitoring]]:
    """A release with monitors, and a Prometheus that has them from the operator."""
    release = Release(node, node_images, "ls", node.make_restricted_namespace())
    folder = tmp_path_factory.mktemp("monitoring")
    monitoring = Monitoring(node.plane, folder, [release.namespace], node.plane.daemon)
    node.remove_crds()
    try:
        monitoring.start()
        release.install(VALUES)
        monitoring.configure(jobs=len(JOBS))
        monitoring.prometheus.start()
        yield release, monitoring
        release.uninstall()
    finally:
        monitoring.stop()
        # Other tests expect a cluster without these kinds.
        crds = tool("prometheus-operator") / "crds"
        node.plane.kubectl("delete", "--ignore-not-found", "--wait=false", f"--filename={crds}")


def test_every_pod_is_scraped(monitored: tuple[Release, Monitoring], eventually: Callable[..., object]) -> None:
    release, monitoring = monitored
    pods = {(job, pod["metadata"]["name"]) for job, component in JOBS.items() for pod in release.pods(component)}

    def up() -> bool:
        found = monitoring.prometheus.query("up == 1")
        assert {release.namespace} >= {one["metric"]["namespace"] for one in found}
        return {(one["metric"]["job"], one["metric"]["pod"]) for one in found} == pods

    assert len(pods) >= 3
    eventually(up, seconds=60, what=f"up == 1 of {pods}")


def test_the_query_for_an_autoscaler_returns_the_depth(
    monitored: tuple[Release, Monitoring], eventually: Callable[..., object]
) -> None:
    release, monitoring = monitored
    for number in range(3):
        release.submit(f"waits-{number}", handler="echo", queue="later")

    def depth() -> dict[tuple[str, str], str]:
        return {
            (one["metric"]["exported_namespace"], one["metric"]["queue"]): one["value"][1]
            for one in monitoring.prometheus.query(DEPTH)
        }

    eventually(lambda: depth().get((release.namespace, "later")) == "3", seconds=60, what="a depth of 3")
    release.kubectl("delete", "lsj", "waits-0")
    eventually(lambda: depth().get((release.namespace, "later")) == "2", seconds=60, what="a depth of 2")


def test_an_alert_fires(monitored: tuple[Release, Monitoring], eventually: Callable[..., object]) -> None:
    release, monitoring = monitored
    firing = 'ALERTS{alertname="LongshoreDisruptions", alertstate="firing"}'
    assert [] == monitoring.prometheus.query(firing)

    release.submit("cut-off", handler="sleep", args={"seconds": 300}, queue="now")
    worker: Object = release.running("cut-off")["worker"]
    release.kubectl("delete", "pod", str(worker), "--grace-period=0", "--force")

    eventually(lambda: monitoring.prometheus.query(firing), seconds=90, what="LongshoreDisruptions fires")
    (alert,) = monitoring.prometheus.query(firing)
    assert ("warning", release.namespace) == (alert["metric"]["severity"], alert["metric"]["namespace"])
