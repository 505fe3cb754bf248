"""What production does to it, the short ones: queues that change, names at their limits, a LimitRange. The long ones are in rough_weather.py."""

from helm_chart import kind, pods, render
from kube.control_plane import ControlPlane
from kube.operators import Rig
from kube.rough_weather import ended, job
from kube.shared_rig import APPS
from kube.test_chart import text


def test_a_queue_changes_and_goes_while_its_jobs_wait(rig: Rig) -> None:
    queues = rig.path.replace("/jobs", "/queues")
    rig.plane.must("POST", queues, {"apiVersion": "longshore.dev/v1alpha1", "kind": "Queue",
                                    "metadata": {"name": "moving"}, "spec": {"paused": True}})  # fmt: skip
    rig.worker(apps=APPS, slots=4)
    rig.leader()
    names = [f"job-{number}" for number in range(60)]
    for name in names:
        rig.submit(name, "naps", queue="moving", args={"seconds": 0.05}, priority=len(name))
    for spec in ({"paused": False, "concurrency": 1}, {"concurrency": 3, "rateLimit": {"jobs": 50, "perSeconds": 1}},
                 {"paused": True}, {"paused": False, "concurrency": None, "rateLimit": None}, {"concurrency": 1}):  # fmt: skip
        before = len(ended(rig.plane, rig.path))
        rig.plane.must("PATCH", f"{queues}/moving", {"spec": spec})
        if not spec.get("paused"):
            rig.until(lambda before=before: len(ended(rig.plane, rig.path)) > before, f"one more under {spec}")  # type: ignore[misc]
    rig.plane.must("DELETE", f"{queues}/moving")
    for name in names:
        status = rig.end_of(name)
        assert ("Succeeded", 1) == (status["phase"], status["attempts"]), name


def test_names_and_labels_at_their_limits_go_all_the_way(rig: Rig) -> None:
    """The longest that the API server takes, from the resource to the worker and back."""
    name, queue, label = "a" * 63, "q" * 63, "l" * 63
    rig.worker(apps=APPS, slots=2)
    rig.leader()
    whole = job(name, args={"x": "y"}, queue=queue, fairnessKey="f" * 63, concurrencyKey="c" * 63)
    whole["metadata"]["labels"] = {f"{'d' * 63}.{'e' * 63}/{label}": label}
    rig.plane.must("POST", rig.path, whole)
    refused, said = rig.plane.request("POST", rig.path, job("a" * 64))
    status = rig.end_of(name)

    assert ("Succeeded", {"x": "y"}) == (status["phase"], status["result"])
    assert refused in (201, 422), said
    if refused == 201:
        assert "Succeeded" == rig.end_of("a" * 64)["phase"]


def test_a_limit_range_lets_every_pod_in(cluster: ControlPlane, namespace: str) -> None:
    """One that asks what many platforms ask: least, most, and limits at most so many times the requests."""
    limits = [
        {"type": "Container", "min": {"cpu": "10m", "memory": "32Mi"}, "max": {"cpu": "2", "memory": "2Gi"},
         "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m"}, "maxLimitRequestRatio": {"memory": "4"}},
        {"type": "Pod", "max": {"cpu": "4", "memory": "4Gi"}},
    ]  # fmt: skip
    where = f"/api/v1/namespaces/{namespace}"
    cluster.must("POST", f"{where}/limitranges", {"metadata": {"name": "usual"}, "spec": {"limits": limits}})
    objects = render({"crds": {"install": False}}, namespace=namespace)
    cluster.kubectl("apply", "--filename=-", input=text(list(kind(objects, "ServiceAccount").values())), check=True)
    for name, pod in pods(objects).items():
        whole = {"apiVersion": "v1", "kind": "Pod", "spec": {**pod["spec"], "restartPolicy": "Never"},
                 "metadata": {"name": name.partition("/")[2], "namespace": namespace}}  # fmt: skip
        status, said = cluster.request("POST", f"{where}/pods?dryRun=All", whole)
        assert status == 201, (name, said)
