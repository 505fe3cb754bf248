"""The test cluster is what it claims to be: a real API server, real rights, real tokens, and nothing left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kube.control_plane import ControlPlane
from kube.daemon import StartError
from kube.kubelet import Kubelet
from kube.operators import alive

HERE = Path(__file__).parent
# The thread is gone when the kernel has no such task any more; what it started must live on until the process ends.
STARTED_BY_A_THREAD = """
import pathlib, sys, threading, time
from kube.control_plane import ControlPlane
plane = ControlPlane(*map(pathlib.Path, sys.argv[1:]))
thread = threading.Thread(target=plane.start)
thread.start()
task = pathlib.Path(f"/proc/self/task/{thread.native_id}")
while task.exists():
    time.sleep(0.02)
plane.must("GET", "/api/v1/namespaces")
print(*plane.pids(), flush=True)
sys.stdin.read()
"""


def test_the_api_server_answers_and_says_its_version(control_plane: ControlPlane) -> None:
    status, version = control_plane.request("GET", "/version")
    assert (200, "1", "v1.") == (status, version["major"], version["gitVersion"][:3])
    done = control_plane.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert (0, "admin") == (done.returncode, done.stdout), done.stderr


def test_a_user_without_rights_is_refused(control_plane: ControlPlane, namespace: str) -> None:
    stranger = control_plane.kubeconfig("stranger", ["guests"])
    done = control_plane.kubectl("get", "pods", "-n", namespace, kubeconfig=stranger)
    assert done.returncode != 0
    assert f'User "stranger" cannot list resource "pods" in API group "" in the namespace "{namespace}"' in done.stderr


def test_a_right_given_to_a_group_is_a_right(
    control_plane: ControlPlane, namespace: str, eventually: Callable[..., object]
) -> None:
    control_plane.kubectl(
        "create", "rolebinding", "guests", "--clusterrole=view", "--group=guests", "-n", namespace, check=True
    )
    guest = control_plane.kubeconfig("guest", ["guests"])
    # The API server looks rights up in a cache, which hears of a binding a little later.
    eventually(lambda: 0 == control_plane.kubectl("get", "pods", "-n", namespace, kubeconfig=guest).returncode)
    assert control_plane.kubectl("get", "pods", "-A", kubeconfig=guest).returncode != 0


def test_a_service_account_token_is_real(
    control_plane: ControlPlane, namespace: str, eventually: Callable[..., object]
) -> None:
    control_plane.kubectl("create", "serviceaccount", "robot", "-n", namespace, check=True)
    token = control_plane.token(namespace, "robot")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answer = control_plane.must("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert f"system:serviceaccount:{namespace}:robot" == answer["status"]["user"]["username"]

    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert 403 == control_plane.request("GET", path, token=token)[0]
    assert 401 == control_plane.request("GET", path, token=token[:-8] + "AAAAAAAA")[0]
    control_plane.kubectl(
        "create", "rolebinding", "robot", "--clusterrole=view", f"--serviceaccount={namespace}:robot", "-n", namespace,
        check=True,
    )  # fmt: skip
    eventually(lambda: 200 == control_plane.request("GET", path, token=token)[0], what="the right")
    kubeconfig = control_plane.service_account_kubeconfig(namespace, "robot")
    control_plane.kubectl("get", "configmaps", "-n", namespace, kubeconfig=kubeconfig, check=True)


def test_an_owner_takes_its_pods_with_it(
    control_plane: ControlPlane, namespace: str, kubelet: Kubelet, eventually: Callable[..., object]
) -> None:
    if not control_plane.controllers:
        pytest.skip("KUBEBUILDER_ASSETS has no kube-controller-manager, which collects garbage")
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = control_plane.must("POST", path, {"metadata": {"name": "owner"}}) | {"kind": "ConfigMap"}
    owner["apiVersion"] = "v1"
    pod = kubelet.add_pod(namespace, "worker-0", "default", 8080, owner=owner)
    control_plane.must("DELETE", f"{path}/owner")
    pod_path = f"/api/v1/namespaces/{namespace}/pods/{pod.name}"
    eventually(
        lambda: "deletionTimestamp" in control_plane.must("GET", pod_path)["metadata"], what="the pod's deletion"
    )


def test_objects_survive_the_death_of_the_programs(own_control_plane: ControlPlane) -> None:
    plane = own_control_plane
    path = "/api/v1/namespaces/default/configmaps"
    plane.must("POST", path, {"metadata": {"name": "kept"}, "data": {"a": "b"}})
    before = plane.pids()

    plane.kill_apiserver()
    with pytest.raises(ConnectionRefusedError):
        plane.request("GET", "/readyz")
    plane.start_apiserver()
    assert {"a": "b"} == plane.must("GET", f"{path}/kept")["data"]

    plane.kill_etcd()
    plane.start_etcd()
    assert {"a": "b"} == plane.must("GET", f"{path}/kept")["data"]
    assert not set(before) & set(plane.pids()), "a program was not killed at all"


def test_a_pod_of_the_test_kubelet_runs_and_falls_ill(
    control_plane: ControlPlane, namespace: str, kubelet: Kubelet
) -> None:
    pod = kubelet.add_pod(namespace, "worker-0", "default", 8080, labels={"app": "x"})
    path = f"/api/v1/namespaces/{namespace}/pods/worker-0"

    def ready() -> str:
        done = control_plane.kubectl(
            "get", "pod", "worker-0", "-n", namespace, "-o",
            'jsonpath={.status.phase} {.status.conditions[?(@.type=="Ready")].status} {.status.podIP}', check=True,
        )  # fmt: skip
        return done.stdout

    assert "Running True 127.0.1.1" == ready()
    assert "127.0.1.1" == pod.ip
    assert "127.0.1.2" == kubelet.next_address()
    found = control_plane.must("GET", path)
    assert {"longshore.dev/pool": "default", "app": "x"} == found["metadata"]["labels"]
    assert {"name": "http", "containerPort": 8080, "protocol": "TCP"} == found["spec"]["containers"][0]["ports"][0]
    assert "node-1" == found["spec"]["nodeName"]

    kubelet.not_ready("worker-0")
    assert "Running False 127.0.1.1" == ready()
    kubelet.ready("worker-0")
    assert "Running True 127.0.1.1" == ready()

    kubelet.oom_killed("worker-0")
    assert "Running False 127.0.1.1" == ready()
    container = control_plane.must("GET", path)["status"]["containerStatuses"][0]
    assert (1, "OOMKilled") == (container["restartCount"], container["lastState"]["terminated"]["reason"])
    kubelet.ready("worker-0")
    assert "Running True 127.0.1.1" == ready()

    kubelet.evict("worker-0")
    assert "Failed False 127.0.1.1" == ready()
    assert "Evicted" == control_plane.must("GET", path)["status"]["reason"]
    kubelet.delete("worker-0")
    assert 404 == control_plane.request("GET", path)[0]


def test_a_drained_pod_waits_for_its_kubelet(control_plane: ControlPlane, namespace: str, kubelet: Kubelet) -> None:
    kubelet.add_pod(namespace, "worker-0", "default", 8080)
    kubelet.add_pod(namespace, "worker-1", "default", 8080)
    path = f"/api/v1/namespaces/{namespace}/pods"
    kubelet.drain("worker-0")
    kubelet.terminate("worker-1", grace_seconds=5)
    for name in ("worker-0", "worker-1"):
        assert "deletionTimestamp" in control_plane.must("GET", f"{path}/{name}")["metadata"]
        kubelet.delete(name)
    assert [] == control_plane.must("GET", path)["items"]


def test_a_silent_node_takes_its_pods_out_of_service(
    control_plane: ControlPlane, namespace: str, kubelet: Kubelet
) -> None:
    kubelet.add_pod(namespace, "worker-0", "default", 8080)
    kubelet.node_gone()

    def status(path: str) -> tuple[str, str]:
        conditions = control_plane.must("GET", path)["status"]["conditions"]
        [found] = [item for item in conditions if item["type"] == "Ready"]
        return found["status"], found["reason"]

    assert ("Unknown", "NodeStatusUnknown") == status("/api/v1/nodes/node-1")
    assert ("False", "NodeNotReady") == status(f"/api/v1/namespaces/{namespace}/pods/worker-0")
    kubelet.node_back()
    assert ("True", "KubeletReady") == status("/api/v1/nodes/node-1")


def test_the_api_server_counts_its_requests(control_plane: ControlPlane) -> None:
    assert "\napiserver_request_total{" in control_plane.metrics()


def test_nothing_runs_after_stop(kube_tools: Path, tmp_path: Path) -> None:
    plane = ControlPlane(kube_tools, tmp_path)
    plane.start()
    pids = plane.pids()
    assert 2 == len(pids)
    plane.stop()
    assert [] == [pid for pid in pids if alive(pid)]
    assert not (tmp_path / "etcd").exists()


def test_nothing_runs_after_the_tests_are_killed(
    kube_tools: Path, tmp_path: Path, eventually: Callable[..., object]
) -> None:
    tests = subprocess.Popen(
        [sys.executable, "-c", STARTED_BY_A_THREAD, str(kube_tools), str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(HERE.parent)},
    )  # fmt: skip
    with tests:
        assert tests.stdout is not None
        pids = [int(word) for word in tests.stdout.readline().split()]
        assert 2 == len(pids)
        assert all(alive(pid) for pid in pids)
        tests.send_signal(signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in pids), what="the end of etcd and the API server")


def test_a_failed_start_shows_the_log(kube_tools: Path, tmp_path: Path) -> None:
    plane = ControlPlane(kube_tools, tmp_path)
    (tmp_path / "pki/apiserver.crt").write_text("no certificate")
    with pytest.raises(
        StartError, match="kube-apiserver ended with 1; the end of .*kube-apiserver.log:(?s:.)*PEM data in certificate"
    ):
        plane.start()
    assert [] == plane.pids()
