"""A very small kubelet for tests: keeps Pod objects on a real API server for processes that the test runs itself.

It starts no container. The test starts a worker on ``next_address()`` and says here what becomes of its pod, so that
watchers see the same objects as on a real node. One thing differs: worker addresses are loopback addresses, which
EndpointSlices refuse, so no Service ever gets these pods.
"""

import datetime
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

from kube.control_plane import ControlPlane

POOL_LABEL = "longshore.dev/pool"
OOM_EXIT_STATUS = 137  # 128 + SIGKILL


class Pod(NamedTuple):
    """What a test wants to know about a pod that it made."""

    namespace: str
    name: str
    uid: str
    ip: str


class Kubelet:
    """One node and its pods; pods are named without their namespace, so a name may be used once per kubelet."""

    def __init__(self, control_plane: ControlPlane, node: str = "node-1") -> None:
        self._control_plane, self.node = control_plane, node
        self._addresses = (f"127.0.{high}.{low}" for high in itertools.count(1) for low in range(1, 255))
        self._pods: dict[str, Pod] = {}
        self._bound: set[str] = set()
        self._must("POST", "/api/v1/nodes", {"metadata": {"name": node, "labels": {"kubernetes.io/hostname": node}}})
        self._node_ready("True", "KubeletReady")

    def next_address(self) -> str:
        """A loopback address that no pod of this kubelet has: 127.0.1.1 and on."""
        return next(self._addresses)

    def add_pod(
        self, namespace: str, name: str, pool: str, port: int, ip: str | None = None,
        labels: Mapping[str, str] | None = None, owner: Mapping[str, Any] | None = None, *, ready: bool = True,
    ) -> Pod:  # fmt: skip
        """Create a pod of a pool, bind it to the node and call it running and, unless told otherwise, ready.

        ``owner``: an object as the API server gave it, with apiVersion and kind; it becomes the pod's controller.
        """
        metadata: dict[str, Any] = {"name": name, "labels": {POOL_LABEL: pool, **(labels or {})}}
        if owner is not None:
            metadata["ownerReferences"] = [{
                "apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True,
                "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
            }]  # fmt: skip
        container = {"name": "worker", "image": "x", "ports": [{"name": "http", "containerPort": port}]}
        spec = {"containers": [container], "automountServiceAccountToken": False}
        self._must("POST", f"/api/v1/namespaces/{namespace}/pods", {"metadata": metadata, "spec": spec})
        return self.run(namespace, name, ip, ready=ready)

    def bind(self, namespace: str, name: str) -> bool:
        """Take a pending pod onto the node, and no more; False if it was deleted meanwhile."""
        target = {"metadata": {"name": name}, "target": {"kind": "Node", "name": self.node}}
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        status, answer = self._control_plane.request("POST", f"{path}/binding", target)
        assert status < 300 or status == 404, answer
        if status < 300:
            self._bound.add(name)
        return status < 300

    def run(self, namespace: str, name: str, ip: str | None = None, *, ready: bool = True) -> Pod:
        """Take a pending pod, such as a Deployment's, onto the node and call it running and, unless told otherwise, ready."""
        ip = ip or self.next_address()
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        if name not in self._bound:
            assert self.bind(namespace, name), f"the pod {name} is gone"
        self._bound.discard(name)
        found = self._must("GET", path)
        self._pods[name] = Pod(namespace, name, found["metadata"]["uid"], ip)
        now = _now()
        containers = [
            {
                "name": container["name"], "image": container["image"], "imageID": "x", "ready": ready, "started": True,
                "restartCount": 0, "containerID": f"test://{name}/{number}/0", "state": {"running": {"startedAt": now}},
            }
            for number, container in enumerate(found["spec"]["containers"])
        ]  # fmt: skip
        self._patch_status(name, {
            "phase": "Running", "startTime": now, "podIP": ip, "podIPs": [{"ip": ip}],
            "hostIP": "127.0.0.1", "hostIPs": [{"ip": "127.0.0.1"}], "containerStatuses": containers,
            "conditions": [
                *(_condition(kind, "True") for kind in ("PodScheduled", "Initialized", "PodReadyToStartContainers")),
                *(_condition(kind, str(ready)) for kind in ("ContainersReady", "Ready")),
            ],
        })  # fmt: skip
        return self._pods[name]

    def fail_to_start(self, namespace: str, name: str, reason: str, message: str) -> Pod:
        """Take a pending pod onto the node; its containers wait for ``reason``, such as ImagePullBackOff, for ever.

        CrashLoopBackOff is what its name says: the container has run, twice, and ended.
        """
        pod = self.run(namespace, name, ready=False)
        crashed = reason == "CrashLoopBackOff"
        end = {"terminated": {"reason": "Error", "exitCode": 1, "startedAt": _now(), "finishedAt": _now()}}
        containers = [
            container
            | {"state": {"running": None, "waiting": {"reason": reason, "message": message}}, "started": False}
            | ({"restartCount": 2, "lastState": end} if crashed else {})
            for container in self._get(name)["status"]["containerStatuses"]
        ]
        self._patch_status(name, {"phase": "Running" if crashed else "Pending", "containerStatuses": containers})
        return pod

    def not_ready(self, name: str) -> None:
        """The readiness probe fails."""
        self._set_ready(name, ready=False)

    def ready(self, name: str) -> None:
        """The readiness probe succeeds."""
        self._set_ready(name, ready=True)

    def oom_killed(self, name: str) -> None:
        """The kernel killed the container for its memory; it was started again and is not ready yet."""
        now = _now()
        containers = self._get(name)["status"]["containerStatuses"]
        for number, container in enumerate(containers):
            count = container["restartCount"] + 1
            end = {
                "reason": "OOMKilled", "exitCode": OOM_EXIT_STATUS, "finishedAt": now,
                "startedAt": container["state"]["running"]["startedAt"], "containerID": container["containerID"],
            }  # fmt: skip
            container |= {
                "ready": False, "restartCount": count, "lastState": {"terminated": end},
                "containerID": f"test://{name}/{number}/{count}", "state": {"running": {"startedAt": now}},
            }  # fmt: skip
        self._patch_status(name, {"containerStatuses": containers})
        self._set_ready(name, ready=False)

    def evict(self, name: str) -> None:
        """The node is short of memory: the pod has failed and its object stays, as a real kubelet leaves it."""
        now = _now()
        containers = self._get(name)["status"]["containerStatuses"]
        for container in containers:
            end = {"reason": "Error", "exitCode": OOM_EXIT_STATUS, "finishedAt": now}
            container |= {"ready": False, "started": False, "state": {"running": None, "terminated": end}}
        self._patch_status(name, {
            "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
            "containerStatuses": containers,
            "conditions": self._conditions(name, {
                "Ready": ("False", "PodFailed"), "ContainersReady": ("False", "PodFailed"),
                "DisruptionTarget": ("True", "TerminationByKubelet"),
            }),
        })  # fmt: skip

    def drain(self, name: str) -> None:
        """Ask for the pod's eviction as ``kubectl drain`` does, subject to PodDisruptionBudgets; ``delete`` ends it.

        AssertionError when a budget forbids it (429).
        """
        pod = self._pods[name]
        self._must("POST", f"{self._path(name)}/eviction", {
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": pod.namespace},
        })  # fmt: skip

    def terminate(self, name: str, *, grace_seconds: int = 30) -> None:
        """Somebody deletes the pod: it has a deletionTimestamp from now on and goes with ``delete``."""
        self._must("DELETE", self._path(name), {"gracePeriodSeconds": grace_seconds})

    def delete(self, name: str) -> None:
        """The pod's processes have ended and its object goes at once; nothing happens when it is gone already."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._pods[name].uid}}
        status, answer = self._control_plane.request("DELETE", self._path(name), body)
        assert status in {200, 404, 409}, answer  # 409: another pod has the name now
        del self._pods[name]

    def node_gone(self) -> None:
        """The node is silent: it is Unknown and its pods not ready, as the node controller would say after 50 s."""
        self._node_ready("Unknown", "NodeStatusUnknown")
        for name in self._pods:
            self._patch_status(name, {"conditions": self._conditions(name, {"Ready": ("False", "NodeNotReady")})})

    def node_back(self) -> None:
        """The node is heard again; its pods need ``ready``."""
        self._node_ready("True", "KubeletReady")

    def close(self) -> None:
        """Remove the node and its pods."""
        for name in list(self._pods):
            self.delete(name)
        self._must("DELETE", f"/api/v1/nodes/{self.node}")

    def _set_ready(self, name: str, *, ready: bool) -> None:
        containers = [{**container, "ready": ready} for container in self._get(name)["status"]["containerStatuses"]]
        change = ("True", "") if ready else ("False", "ContainersNotReady")
        conditions = self._conditions(name, {"Ready": change, "ContainersReady": change})
        self._patch_status(name, {"containerStatuses": containers, "conditions": conditions})

    def _conditions(self, name: str, changes: Mapping[str, tuple[str, str]]) -> list[dict[str, str]]:
        """The pod's conditions with changes: type to status and reason. A merge patch replaces the whole list."""
        kept = [item for item in self._get(name)["status"]["conditions"] if item["type"] not in changes]
        return [*kept, *(_condition(kind, status, reason) for kind, (status, reason) in changes.items())]

    def _node_ready(self, status: str, reason: str) -> None:
        condition = _condition("Ready", status, reason) | {"lastHeartbeatTime": _now()}
        self._must("PATCH", f"/api/v1/nodes/{self.node}/status", {"status": {"conditions": [condition]}})

    def _path(self, name: str) -> str:
        return f"/api/v1/namespaces/{self._pods[name].namespace}/pods/{name}"

    def _get(self, name: str) -> Any:
        return self._must("GET", self._path(name))

    def _patch_status(self, name: str, status: Mapping[str, Any]) -> None:
        self._must("PATCH", f"{self._path(name)}/status", {"status": status})

    def _must(self, method: str, path: str, body: object = None) -> Any:
        return self._control_plane.must(method, path, body)


def _condition(kind: str, status: str, reason: str = "") -> dict[str, str]:
    condition = {"type": kind, "status": status, "lastTransitionTime": _now()}
    return condition | {"reason": reason} if reason else condition


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
