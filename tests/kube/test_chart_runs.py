"""The chart's own pods, run as processes: their commands, variables, accounts and probes are the rendered ones.

A container's file system is the only thing that is missing: mounted Secrets lie in a folder of the test, and the account comes as a
kubeconfig instead of a mount.
"""

import base64
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_series import ANY, exported, wanted
from helm_chart import CHART, Object, helm, render
from kube.control_plane import ControlPlane
from kube.kubelet import Kubelet

ROOT = Path(__file__).parents[2]
PROGRAMS = {"longshore": ["-m", "longshore"], "longshore-operator": ["-m", "longshore_operator"], "python": []}
MOUNT = "/var/run/longshore"
ADDRESSES = ("LONGSHORE_HOST", "LONGSHORE_OPERATOR_HOST", "LONGSHORE_OPERATOR_ADDRESS")
SERVERS = ("operator", "worker", "api")


class Container:
    """The first container of a pod, on a loopback address of its own."""

    def __init__(self, plane: ControlPlane, pod: Object, folder: Path, address: str) -> None:
        self.name = str(pod["metadata"]["name"])
        self.pod, self.spec, self.address = pod, pod["spec"]["containers"][0], address
        account, self.log = pod["spec"]["serviceAccountName"], folder / f"{self.name}.log"
        given = self._given()
        given |= {name: address for name in ADDRESSES if name in given}
        given = {name: text.replace(MOUNT, str(folder)) for name, text in given.items()}
        if pod["spec"]["automountServiceAccountToken"]:
            kubeconfig = str(_in_demo(plane.service_account_kubeconfig("demo", account)))
            given |= {
                "KUBECONFIG": kubeconfig,
                **({"LONGSHORE_KUBECONFIG": kubeconfig} if "LONGSHORE_AUTH" in given else {}),
            }
        self._environment = os.environ | given
        self.process: subprocess.Popen[bytes] | None = None

    def _given(self) -> dict[str, str]:
        """Its variables as a kubelet makes them: fields of the pod, and ``$(NAME)`` of those before."""
        given: dict[str, str] = {}
        for one in self.spec.get("env", ()):
            path = one.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
            text = self.pod["metadata"].get(path.removeprefix("metadata."), "") if path else one["value"]
            given[one["name"]] = re.sub(r"\$\((\w+)\)", lambda found: given.get(found[1], found[0]), text)
        return given

    def start(self) -> None:
        """Run its command."""
        words: list[str] = [*self.spec["command"], *self.spec.get("args", [])]
        program, more = words[0], words[1:]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *PROGRAMS[program], *more], env=self._environment, stdout=log, stderr=log,
                start_new_session=True, cwd=self.log.parent,
            )  # fmt: skip

    def get(self, port: str, path: str, token: str = "") -> tuple[int, str]:
        """A GET at a port by its name: status, or 0 when nobody listens, and text."""
        number = next(one["containerPort"] for one in self.spec["ports"] if one["name"] == port)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://{self.address}:{number}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def ready(self) -> bool:
        """Whether its own probes say so."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        probes = [self.spec[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
        return all(self.get(probe["port"], probe["path"])[0] == 200 for probe in probes)

    def end(self) -> int:
        """SIGTERM; its exit status, within the pod's grace."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=self.pod["spec"]["terminationGracePeriodSeconds"])

    def kill(self) -> None:
        """It and all below it."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _in_demo(kubeconfig: Path) -> Path:
    """With the namespace that a pod's account brings along."""
    whole = yaml.safe_load(kubeconfig.read_text())
    whole["contexts"][0]["context"]["namespace"] = "demo"
    kubeconfig.write_text(yaml.safe_dump(whole))
    return kubeconfig


@pytest.fixture
def plane(kube_tools: Path, tmp_path: Path) -> Iterator[ControlPlane]:
    """A cluster of its own, with controllers, and the chart with its defaults in it."""
    if not (kube_tools / "kube-controller-manager").exists():
        pytest.skip("no kube-controller-manager, which makes the pods")
    plane = ControlPlane(kube_tools, tmp_path / "cluster", controllers=True)
    plane.start()
    plane.must("POST", "/api/v1/namespaces", {"metadata": {"name": "demo"}})
    done = helm("install", "ls", str(CHART), "--namespace", "demo", "--kubeconfig", str(plane.admin))
    assert done.returncode == 0, done.stderr
    yield plane
    plane.stop()


@pytest.fixture
def run(plane: ControlPlane, tmp_path: Path, eventually: Callable[..., Any]) -> Iterator[Callable[[str], Container]]:
    """Start the pod of a component, which a controller made."""
    started: list[Container] = []
    block = secrets.randbelow(200) + 20  # the ports are fixed, so another run on this machine needs other addresses

    def start(component: str) -> Container:
        query = f"?labelSelector=app.kubernetes.io/component={component}"

        def found() -> list[Object]:
            items: list[Object] = plane.must("GET", f"/api/v1/namespaces/demo/pods{query}")["items"]
            return items

        pod = eventually(found, what=f"a pod of {component}")[0]
        container = Container(plane, pod, tmp_path, f"127.{block}.7.{len(started) + 1}")
        started.append(container)
        container.start()
        return container

    yield start
    for container in started:
        container.kill()


def check(what: str, url: str, token: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The script of `helm test`."""
    (folder / "test-token").write_text(token)
    variables = {"CHECK_URL": url, "CHECK_TOKEN_FILE": str(folder / "test-token"), "CHECK_HANDLER": "echo",
                 "CHECK_ARGS": '{"x": 1}', "CHECK_SECONDS": "30"}  # fmt: skip
    return subprocess.run([sys.executable, CHART / "files/check.py", what], env=os.environ | variables,
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip


def test_what_the_chart_makes_runs_jobs_over_http(
    plane: ControlPlane, run: Callable[[str], Container], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    job = run("worker-token")
    assert job.process is not None
    assert job.process.wait(timeout=60) == 0, job.log.read_text()
    secret = plane.must("GET", "/api/v1/namespaces/demo/secrets/ls-worker-token")["data"]
    for key in ("tokens", "operator"):
        (tmp_path / key).write_bytes(base64.b64decode(secret[key]))

    operator, worker, api = (run(component) for component in SERVERS)
    for container in (operator, worker, api):
        eventually(container.ready, seconds=60, what=f"{container.name} is ready")
    kubelet = Kubelet(plane)
    kubelet.run("demo", worker.name, worker.address)
    for object_ in render(namespace="demo"):
        if object_["metadata"]["name"] == "ls-test" and object_["kind"] != "ConfigMap":
            plane.kubectl("apply", "--filename=-", input=yaml.safe_dump(object_), check=True)

    url = f"http://{api.address}:8080"
    done = check("http", url, plane.token("demo", "ls-test"), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr + operator.log.read_text()[-3000:]
    assert 'succeeded: {"x": 1}' in done.stdout
    assert check("health", url, "", tmp_path).returncode == 0

    status, workers = api.get("http", "/v1/workers", plane.token("demo", "ls-test"))
    assert (200, worker.name) == (status, json.loads(workers)["items"][0]["name"]), workers  # the leader said so

    assert 401 == api.get("http", "/v1/jobs")[0]
    assert 403 == api.get("http", "/v1/jobs", plane.token("demo", "default"))[0]
    assert 403 == api.get("http", "/v1/jobs", plane.token("demo", "ls-pool-default"))[0]
    for container, port, series in (
        (operator, "http-metrics", "longshore_operator_leader 1.0"),
        (worker, "http", "longshore_engine_up 1.0"),
        (api, "http", "longshore_kube_watch_connected 1.0"),
    ):
        assert series in container.get(port, "/metrics")[1], container.name
    said = {component: exported(container.get(port, "/metrics")[1]) for component, container, port in (
        ("operator", operator, "http-metrics"), ("worker", worker, "http"), ("api", api, "http"))}  # fmt: skip
    said[ANY] = set.union(*said.values())
    assert len(wanted()) > 20
    assert [] == sorted((who, name) for who, name in wanted() if name not in said[who])
    assert [0, 0, 0] == [container.end() for container in (api, worker, operator)]
    kubelet.close()
