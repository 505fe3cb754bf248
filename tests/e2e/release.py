"""A release of the chart on a node, as a person handles it: helm, kubectl, HTTP."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from e2e.images import ROOT, Images
from e2e.node import Node
from helm_chart import CHART, tool
from kube.daemon import Daemon
from service import free_port

Object = dict[str, Any]
API = "/apis/longshore.dev/v1alpha1/namespaces"


class Release:
    """By its name and namespace."""

    def __init__(self, node: Node, images: Images, name: str, namespace: str) -> None:
        self.node, self.plane, self.images = node, node.plane, images
        self.name, self.namespace = name, namespace
        self.kubeconfig, self.version = self.plane.admin, "helm-3"

    def helm(self, *args: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """Run helm in the namespace; ``values`` go in as a file, over those that name the images."""
        where = [f"--namespace={self.namespace}", f"--kubeconfig={self.kubeconfig}"]
        files: list[str] = []
        if values is not None:
            for name, content in (("images", self.images.values()), ("more", values)):
                path = self.node.ground.folder / f"{self.namespace}-{name}.json"
                path.write_text(json.dumps(content))
                files.append(f"--values={path}")
        return subprocess.run(
            [str(tool(self.version)), *args, *where, *files], capture_output=True, text=True, timeout=280, check=False,
            cwd=ROOT, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def install(self, values: Mapping[str, Any] | None = None, chart: str = str(CHART)) -> None:
        """``helm install --wait``; AssertionError with what helm and the pods say when it fails."""
        self._must("install", self.name, chart, "--wait", "--timeout=120s", values=values or {})

    def upgrade(self, values: Mapping[str, Any] | None = None, chart: str = str(CHART)) -> None:
        """``helm upgrade --wait``."""
        self._must("upgrade", self.name, chart, "--wait", "--timeout=200s", values=values or {})

    def rollback(self, revision: int) -> None:
        """``helm rollback --wait``."""
        self._must("rollback", self.name, str(revision), "--wait", "--timeout=200s")

    def uninstall(self) -> None:
        """``helm uninstall --wait``; nothing happens when it is gone."""
        self._must("uninstall", self.name, "--wait", "--ignore-not-found", "--timeout=120s")

    def kubectl(self, *args: str, check: bool = True, input: str | None = None) -> str:
        """What kubectl prints, in the namespace."""
        done = self.plane.kubectl(f"--namespace={self.namespace}", *args, check=check, input=input)
        return done.stdout + done.stderr

    def submit(self, name: str, **spec: object) -> None:
        """Create a Job."""
        job = {"apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
        self.plane.must("POST", f"{API}/{self.namespace}/jobs", job)

    def job(self, name: str) -> Object:
        """A Job as it is now."""
        found: Object = self.plane.must("GET", f"{API}/{self.namespace}/jobs/{name}")
        return found

    def wait(self, name: str, seconds: float = 60.0) -> Object:
        """A Job's status when it has finished."""
        self.kubectl("wait", "--for=condition=Finished", f"lsj/{name}", f"--timeout={seconds:g}s")
        status: Object = self.job(name)["status"]
        return status

    def running(self, name: str, seconds: float = 30.0) -> Object:
        """A Job's status when its phase is Running; AssertionError when it does not come to that."""
        limit = time.monotonic() + seconds
        while (status := self.job(name)["status"]).get("phase") != "Running":
            assert time.monotonic() < limit, f"{name} does not run: {status}"
            time.sleep(0.1)
        found: Object = status
        return found

    def pods(self, component: str) -> list[Object]:
        """Pods of a component that are not being deleted, the oldest first."""
        query = f"labelSelector=app.kubernetes.io/component={component},app.kubernetes.io/instance={self.name}"
        items = self.plane.must("GET", f"/api/v1/namespaces/{self.namespace}/pods?{query}")["items"]
        live = [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]
        return sorted(live, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def evict(self, pod: str) -> tuple[int, Any]:
        """Ask for a pod's eviction, as `kubectl drain` does: status and answer."""
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        return self.plane.request("POST", f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction", body)

    def pids(self, pod: Object) -> set[int]:
        """Of the processes of a pod's containers, as this machine sees them; not of the one that holds its namespaces."""
        ids = [one["containerID"].rpartition("/")[2] for one in pod["status"]["containerStatuses"]]
        return {pid for id in ids for pid in self.node.ground.pids(id)}

    def there(self, plural: str, name: str) -> bool:
        """Whether there is a core object of that name in the namespace."""
        return bool(self.plane.request("GET", f"/api/v1/namespaces/{self.namespace}/{plural}/{name}")[0] == 200)

    def deployment(self, component: str) -> str:
        """Name of a component's Deployment; of the pool `default` for workers."""
        return f"{self.name}-{'pool-default' if component == 'worker' else component}"

    @contextmanager
    def forward(self, target: str, port: int) -> Iterator[str]:
        """``kubectl port-forward``: a URL on this machine, for as long as it is entered."""
        here = free_port()
        words = [str(self.plane.tools / "kubectl"), f"--kubeconfig={self.plane.admin}", f"--namespace={self.namespace}",
                 "port-forward", target, f"{here}:{port}"]  # fmt: skip
        log = self.node.ground.folder / f"forward-{here}.log"
        daemon = Daemon("port-forward", words, log)
        daemon.start()
        try:
            limit = time.monotonic() + 30
            while "Forwarding from" not in log.read_text():
                daemon.check()
                assert time.monotonic() < limit, log.read_text()
                time.sleep(0.05)
            yield f"http://127.0.0.1:{here}"
        finally:
            daemon.kill()

    def story(self) -> str:
        """What a person would look at when something does not start."""
        parts = [self.kubectl("get", "pods,jobs.batch,events", "--output=wide", check=False)]
        for component in ("operator", "worker", "api", "worker-token", "test"):
            query = f"--selector=app.kubernetes.io/component={component}"
            parts.append(self.kubectl("logs", query, "--tail=15", "--all-containers", check=False))
        return "\n".join(parts)

    def losses(self) -> list[str]:
        """What the operator and its predecessor logged of workers that it lost, drained or took, and of the sizes of pools."""
        words = ("worker_", "attempt_", "pool_", "shrink_", "drain_", "undrain_", "leader_", "busy_")
        found: list[str] = []
        for pod in self.pods("operator"):
            for more in ((), ("--previous",)):
                text = self.kubectl("logs", pod["metadata"]["name"], "--tail=-1", *more, check=False)
                found += [line for line in text.splitlines() if any(f'"{word}' in line for word in words)]
        return sorted(found)

    def _must(self, *args: str, values: Mapping[str, Any] | None = None) -> None:
        done = self.helm(*args, values=values)
        assert done.returncode == 0, f"helm {' '.join(args)}: {done.stdout}{done.stderr}\n{self.story()}"


def send(pids: set[int], signal: signal.Signals) -> int:
    """To how many of them."""
    sent = 0
    for pid in pids:
        try:
            os.kill(pid, signal)
        except ProcessLookupError:
            continue  # it went with another one
        sent += 1
    return sent
