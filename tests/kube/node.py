"""A node that runs real worker processes for the pods that a ReplicaSet makes: scheduler and kubelet in one thread.

It binds each pending pod of a pool, starts ``longshore worker`` on a loopback address of the pod's own, follows its
readiness probe, and on a deletion sends SIGTERM and removes the pod when the process has ended.
"""

import datetime
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

from kube.control_plane import ControlPlane
from kube.kubelet import POOL_LABEL, Kubelet
from service import free_port
from worker_service import Worker

LOOK_SECONDS = 0.1
Json = dict[str, Any]


class Node:
    """All pods of a namespace with the label of a pool."""

    def __init__(
        self, plane: ControlPlane, namespace: str, folder: Path, *, capacity: int = 8, **settings: object
    ) -> None:
        """``capacity``: pods beyond it are Unschedulable. ``settings`` of every worker."""
        self._plane, self._namespace, self._folder = plane, namespace, folder
        self._kubelet = Kubelet(plane, f"node-{namespace}")
        self.capacity, self._settings = capacity, {"slots": 2, "drain_seconds": 20, **settings}
        self.port, self._probe_port = free_port(), free_port()
        # Other runs of tests on this machine have nodes too; the pid tells them apart.
        self._addresses = (
            f"127.{os.getpid() % 200 + 20}.{high}.{low}" for high in itertools.count(1) for low in range(1, 255)
        )
        self.workers: dict[str, Worker] = {}
        """By name of the pod, those that have ended included."""
        self._ready: dict[str, bool] = {}
        self._told: set[str] = set()
        self._failed: set[str] = set()
        self.fails: tuple[str, str] | None = None
        """Reason and message with which every new pod fails to start; its process is not started either."""
        self.probing = True
        """Whether readiness probes are made."""
        self.broken: list[BaseException] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self._kubelet.node, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End every process and remove the node."""
        self._stop.set()
        self._thread.join()
        for worker in self.workers.values():
            worker.end()
        self._kubelet.close()
        if self.broken:
            raise self.broken[0]

    def deployment(self, name: str, annotations: dict[str, str], *, replicas: int = 0, **spec: object) -> Json:
        """Make a Deployment of a pool of that name."""
        labels = {POOL_LABEL: name}
        container = {"name": "worker", "image": "x", "ports": [{"name": "http", "containerPort": self.port}],
                     "env": [{"name": "LONGSHORE_SLOTS", "value": str(self._settings["slots"])}]}  # fmt: skip
        made: Json = self._plane.must("POST", f"/apis/apps/v1/namespaces/{self._namespace}/deployments", {
            "metadata": {"name": f"pool-{name}", "labels": labels, "annotations": {f"longshore.dev/{key}": text for key, text in annotations.items()}},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, **spec,
                     "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], "automountServiceAccountToken": False}}},
        })  # fmt: skip
        return made

    def pods(self) -> list[Json]:
        """Of pools, as the API server has them."""
        found: Json = self._plane.must(
            "GET", f"/api/v1/namespaces/{self._namespace}/pods?labelSelector={POOL_LABEL.replace('/', '%2F')}"
        )
        return list(found["items"])

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self._look()
            except (OSError, TimeoutError):
                pass  # the API server is away
            except BaseException as error:
                self.broken.append(error)
                return

    def _look(self) -> None:
        pods = {pod["metadata"]["name"]: pod for pod in self.pods()}
        placed = sum(1 for pod in pods.values() if pod["spec"].get("nodeName"))
        for name, pod in pods.items():
            if "deletionTimestamp" in pod["metadata"]:
                self._end(name, pod)
            elif name not in self.workers and name not in self._failed:
                if placed >= self.capacity:
                    self._no_room(name)
                else:
                    placed += 1
                    self._begin(name)
            elif self.probing and name in self.workers:
                self._probe(name)

    def _begin(self, name: str) -> None:
        if self.fails is not None:
            self._kubelet.fail_to_start(self._namespace, name, *self.fails)
            self._failed.add(name)
            return
        if not self._kubelet.bind(self._namespace, name):
            return
        worker = Worker(self._folder / name, {"host": next(self._addresses), "port": self.port,
                                              "probe_port": self._probe_port, **self._settings})  # fmt: skip
        worker.port, worker.probe_port = self.port, self._probe_port
        worker.start(ready=False)
        self.workers[name] = worker
        self._kubelet.run(self._namespace, name, worker.host, ready=False)
        self._ready[name] = False

    def _probe(self, name: str) -> None:
        ready = self.workers[name].probe("/readyz") == 200
        if ready != self._ready[name]:
            self._ready[name] = ready
            (self._kubelet.ready if ready else self._kubelet.not_ready)(name)

    def _end(self, name: str, pod: Json) -> None:
        worker = self.workers.get(name)
        if name in self._failed:
            self._failed.discard(name)
            self._kubelet.delete(name)
        elif worker is None:  # it has never had a node
            path = f"/api/v1/namespaces/{self._namespace}/pods/{name}"
            self._plane.request("DELETE", path, {"gracePeriodSeconds": 0})
        elif name not in self._told:
            self._told.add(name)
            worker.terminate()
        elif not worker.running():
            if name in self._ready:
                del self._ready[name]
                self._kubelet.delete(name)
        elif time.time() > _seconds(pod["metadata"]["deletionTimestamp"]) + 60:
            worker.end()

    def _no_room(self, name: str) -> None:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room"}
        self._plane.request(
            "PATCH", f"/api/v1/namespaces/{self._namespace}/pods/{name}/status", {"status": {"conditions": [condition]}}
        )

    def lives(self) -> list[str]:
        """Names of pods whose process runs."""
        return [name for name, worker in self.workers.items() if worker.running()]


def _seconds(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()
