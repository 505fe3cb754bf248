"""The chart's HorizontalPodAutoscaler under the real controller: the operator's number by a real Prometheus, real workers."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm_chart import ROOT, kind, render
from kube.aggregation import AggregatingPlane
from kube.external_metrics import GROUP, VERSION, Adapter
from kube.kubelet import Kubelet
from kube.marks import APPS, Marks, holder
from kube.node import Node
from kube.pool import Pool
from kube.prometheus import Prometheus

Json = dict[str, Any]
SLOTS, MOST = 2, 3
VALUES = {"pools": {"default": {"minWorkers": 1, "maxWorkers": MOST, "slots": SLOTS, "autoscaling": {"mode": "hpa"}}}}
(RULES,) = re.findall(r"```yaml\n(rules:\n.*?)```", (ROOT / "docs/scaling.md").read_text(), re.DOTALL)


@pytest.fixture
def pool(kube_tools: Path, tmp_path: Path) -> Iterator[Pool]:
    if not (kube_tools / "kube-controller-manager").exists():
        pytest.skip("KUBEBUILDER_ASSETS has no kube-controller-manager, which has the autoscaler")
    plane = AggregatingPlane(kube_tools, tmp_path / "cluster")
    plane.start()
    try:
        plane.install_crds()
        pool = Pool(plane, Kubelet(plane), plane.make_namespace(), tmp_path)
        pool.node, pool.deployed = (
            Node(plane, pool.namespace, tmp_path / "pods", apps=APPS, drain_seconds=10),
            "ls-pool-",
        )
        yield pool
        pool.close()
        pool.node.close()
    finally:
        plane.stop()


@pytest.fixture
def prometheus(pool: Pool, tmp_path: Path) -> Iterator[Prometheus]:
    """One that scrapes the operator in another namespace than the pool, which tells the label `namespace` from ours."""
    pool.leader(leader_election=False)
    (port,) = (line["port"] for line in pool.operators[0].lines("listening"))
    target = {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "elsewhere"}}
    prometheus = Prometheus(tmp_path)
    prometheus.config.write_text(yaml.safe_dump({
        "global": {"scrape_interval": "1s"}, "scrape_configs": [{"job_name": "operator", "static_configs": [target]}],
    }))  # fmt: skip
    prometheus.start()
    yield prometheus
    prometheus.program.kill()


@pytest.fixture
def adapter(pool: Pool, prometheus: Prometheus) -> Iterator[Adapter]:
    plane = pool.plane
    assert isinstance(plane, AggregatingPlane)
    (rule,) = yaml.safe_load(RULES)["rules"]["external"]
    adapter = Adapter(rule, prometheus.query, plane.certificate("external-metrics"), plane.callers)
    plane.hand_on(GROUP, VERSION, "external-metrics", adapter.port)
    yield adapter
    adapter.close()


def install(pool: Pool) -> None:
    """What the chart renders for the workers; only the port is the node's."""
    objects = render(VALUES, namespace=pool.namespace)
    ours = [one for one in objects if one["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "worker"]
    (deployment,) = kind(ours, "Deployment").values()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["ports"] = [{"name": "http", "containerPort": pool.node.port}]
    assert "HorizontalPodAutoscaler" in {one["kind"] for one in ours}
    pool.plane.kubectl("apply", "--filename=-", input=yaml.safe_dump_all(ours), check=True)


def autoscaler(pool: Pool) -> Json:
    """The autoscaler's status, with its conditions by type."""
    path = f"/apis/autoscaling/v2/namespaces/{pool.namespace}/horizontalpodautoscalers/ls-pool-default"
    status: Json = pool.plane.must("GET", path).get("status", {})
    return status | {"conditions": {one["type"]: one for one in status.get("conditions", ())}}


def until_active(pool: Pool, answer: str) -> Json:
    """Wait until its condition ScalingActive says so; the condition."""

    def said() -> Json | None:
        condition: Json = autoscaler(pool)["conditions"].get("ScalingActive", {})
        return condition if condition.get("status") == answer else None

    found: Json = pool.until(said, f"ScalingActive {answer}", 60)
    return found


def going(pool: Pool) -> list[str]:
    """Names of pods that somebody has deleted and that are still there."""
    return [pod["metadata"]["name"] for pod in pool.node.pods() if "deletionTimestamp" in pod["metadata"]]


@pytest.mark.timeout(300)
def test_it_grows_with_the_queue_and_shrinks_and_no_job_is_lost(pool: Pool, adapter: Adapter, tmp_path: Path) -> None:
    install(pool)
    pool.annotate(max_workers=str(MOST))  # as if the operator were to scale it too
    pool.until(pool.ready, "the first worker", 60)
    until_active(pool, "True")
    pool.until_said("Autoscaled")
    jobs = {name: Marks(tmp_path, name) for name in (f"job-{number}" for number in range(SLOTS * MOST))}
    for name, marks in jobs.items():
        pool.submit(name, "marks", args=marks.args, maxRetries=0)
    pool.until(
        lambda: all(marks.lines() for marks in jobs.values()), "all jobs running, on workers that were not there", 90
    )
    assert MOST == pool.replicas() == len(pool.ready())
    shown = pool.plane.kubectl("get", "hpa", "--no-headers", f"--namespace={pool.namespace}", check=True).stdout
    assert re.search(r"Deployment/ls-pool-default +2/2 \(avg\) +1 +3 +3 ", shown), shown

    # One job of each worker stays, so whichever pod goes has one: the first to go may end its job while it drains.
    held = {holder(pool, name): name for name in jobs}
    assert MOST == len(held)
    for name in jobs.keys() - set(held.values()):
        jobs[name].open()
    (first,) = pool.until(lambda: going(pool), "a pod that is deleted", 60)
    jobs[held[first]].open()
    pool.undisturbed(held[first])
    assert first == pool.status(held[first])["worker"]
    # The second may not, and its job begins anew on the one that is left.
    (second,) = pool.until(lambda: [name for name in going(pool) if name != first], "another", 60)
    (left,) = held.keys() - {first, second}
    pool.until(lambda: len(jobs[held[second]].lines()) == 2, "the second start of its job", 60)
    for name in held.values():
        jobs[name].open()
    status = pool.end_of(held[second])
    assert ("Succeeded", 2, 1, 0, left) == tuple(
        status[field] for field in ("phase", "attempts", "disruptions", "retries", "worker")
    )
    pool.undisturbed(*(jobs.keys() - {held[second]}))
    assert {1} == {len(marks.lines()) for name, marks in jobs.items() if name != held[second]}

    pool.until(lambda: [left] == [pod["metadata"]["name"] for pod in pool.node.pods()], "one worker, the minimum", 60)
    assert 1 == pool.metric("longshore_operator_disruptions_total")
    assert "Autoscaled" == pool.said()[1]
    assert [] == [line for operator in pool.operators for line in operator.lines("resized")]


@pytest.mark.timeout(300)
def test_a_number_that_is_away_changes_nothing(pool: Pool, adapter: Adapter, tmp_path: Path) -> None:
    install(pool)
    marks = Marks(tmp_path)
    for number in range(SLOTS * MOST):
        pool.submit(f"job-{number}", "marks", args=marks.args)
    pool.until(lambda: pool.replicas() == MOST, "three workers", 90)
    pool.operators[0].kill()
    assert "FailedGetExternalMetric" == until_active(pool, "False")["reason"]
    asked = adapter.asked
    pool.until(
        lambda: adapter.asked >= asked + 10, "looks, one a second, for longer than it waits before it shrinks", 60
    )
    assert MOST == pool.replicas()
