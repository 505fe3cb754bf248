"""Pools of workers for tests: Deployments whose pods a node runs as real processes."""

import urllib.request
from typing import Any

from kube.node import Node
from kube.operators import Rig

Json = dict[str, Any]


class Pool(Rig):
    """An operator, a node, and one Deployment."""

    node: Node
    deployed = "pool-"
    """How the names of Deployments begin, before the pool's."""

    @property
    def deployments(self) -> str:
        """Path of the namespace's Deployments."""
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments"

    def deployment(self, name: str = "default") -> Json:
        """As the API server has it."""
        found: Json = self.plane.must("GET", f"{self.deployments}/{self.deployed}{name}")
        return found

    def replicas(self, name: str = "default") -> int:
        """What the Deployment asks for."""
        return int(self.deployment(name)["spec"]["replicas"])

    def said(self, name: str = "default") -> tuple[str, str, str]:
        """The annotations desired-replicas, scaling and reason."""
        found = self.deployment(name)["metadata"]["annotations"]
        return tuple(found.get(f"longshore.dev/{key}", "") for key in ("desired-replicas", "scaling", "reason"))

    def annotate(self, **annotations: str) -> None:
        """Change annotations."""
        body = {f"longshore.dev/{key.replace('_', '-')}": text for key, text in annotations.items()}
        self.plane.must("PATCH", f"{self.deployments}/{self.deployed}default", {"metadata": {"annotations": body}})

    def until_said(self, word: str, name: str = "default") -> tuple[str, str, str]:
        """Wait for a word of the operator about the pool."""
        found: tuple[str, str, str] = self.until(
            lambda: said if (said := self.said(name))[1] == word else None, f"{word}"
        )
        return found

    def ready(self) -> list[str]:
        """Names of pods that are ready."""
        return [
            pod["metadata"]["name"] for pod in self.node.pods()
            if {"Ready": "True"}.items() <= {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", ())}.items()
        ]  # fmt: skip

    def first(self) -> str:
        """The name of the only worker, when it is ready and the operator has heard it: one that it has not goes undrained."""
        self.until(lambda: self.metric("longshore_slots"), "a worker that was heard")
        (name,) = self.until(self.ready, "a worker")
        return str(name)

    def metrics(self) -> str:
        """All of the operator's."""
        port = next(int(line["port"]) for line in self.operators[-1].lines("listening"))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text: str = answer.read().decode()
        return text

    def metric(self, name: str) -> float:
        """A number of the operator's."""
        lines = [line for line in self.metrics().splitlines() if line.startswith(name)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def undisturbed(self, *names: str) -> None:
        """All of these have succeeded, at the first attempt."""
        for name in names:
            status = self.end_of(name, 60)
            found = (status["phase"], status["attempts"], status["disruptions"])
            assert ("Succeeded", 1, 0) == found, status
