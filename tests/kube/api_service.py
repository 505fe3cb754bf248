"""``longshore api`` against a real API server, with accounts and rights of its own."""

import base64
import itertools
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kube.control_plane import ControlPlane
from longshore.job.lifecycle import conditions
from longshore.job.status import Phase
from service import Answer, Service

GROUP = "longshore.dev"
RBAC_GROUP = "rbac.authorization.k8s.io"
RBAC = f"/apis/{RBAC_GROUP}/v1"
API_RIGHTS: list[dict[str, Any]] = [
    {"apiGroups": [GROUP], "resources": ["jobs"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
    {"apiGroups": [GROUP], "resources": ["queues"], "verbs": ["get", "list", "create", "patch"]},
    {"apiGroups": [GROUP], "resources": ["schedules"], "verbs": ["get", "list", "create", "update", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"]},
]
USER_RIGHTS: list[dict[str, Any]] = [
    {"apiGroups": [GROUP], "resources": ["jobs", "queues", "schedules"], "verbs": ["*"]}
]


def account(plane: ControlPlane, namespace: str, name: str, rules: list[dict[str, Any]]) -> None:
    """A ServiceAccount with rights in its namespace."""
    plane.must("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
    grant(plane, namespace, name, rules, {"kind": "ServiceAccount", "name": name, "namespace": namespace})


def grant(plane: ControlPlane, namespace: str, name: str, rules: list[dict[str, Any]], subject: dict[str, str]) -> None:
    """Rights in a namespace."""
    path, reference = f"{RBAC}/namespaces/{namespace}", {"apiGroup": RBAC_GROUP, "kind": "Role", "name": name}
    plane.must("POST", f"{path}/roles", {"metadata": {"name": name}, "rules": rules})
    binding = {"metadata": {"name": name}, "subjects": [subject], "roleRef": reference}
    plane.must("POST", f"{path}/rolebindings", binding)
    until_allowed(plane, f"system:serviceaccount:{subject['namespace']}:{subject['name']}", namespace, rules)


def until_allowed(plane: ControlPlane, user: str, namespace: str, rules: Iterable[dict[str, Any]]) -> None:
    """Wait until these rights are in force: the API server has roles in a cache, which hears of one a little later.

    ``rules``: as a Role has them, without resource names.
    """
    path, limit = "/apis/authorization.k8s.io/v1/subjectaccessreviews", time.monotonic() + 60
    for rule in rules:
        for verb, group, resource in itertools.product(rule["verbs"], rule["apiGroups"], rule["resources"]):
            name, _, subresource = resource.partition("/")
            what = {"namespace": namespace, "verb": verb, "group": group, "resource": name, "subresource": subresource}
            review = {"spec": {"user": user, "resourceAttributes": what}}
            while not plane.must("POST", path, review)["status"]["allowed"]:
                assert time.monotonic() < limit, f"{user} may not {verb} {resource}"
                time.sleep(0.02)


def everywhere(plane: ControlPlane, name: str, rules: list[dict[str, Any]], subject: dict[str, str]) -> None:
    """Rights in all namespaces."""
    plane.must("POST", f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": rules})
    reference = {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": name}
    binding = {"metadata": {"name": name}, "subjects": [subject], "roleRef": reference}
    plane.must("POST", f"{RBAC}/clusterrolebindings", binding)


def delegate(plane: ControlPlane, namespace: str, name: str) -> None:
    """Let the account ask who a caller is and what he may."""
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    role = {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": "system:auth-delegator"}
    plane.must("POST", f"{RBAC}/clusterrolebindings",
               {"metadata": {"name": f"{namespace}-{name}"}, "subjects": [subject], "roleRef": role})  # fmt: skip


def conditions_of(phase: str) -> list[dict[str, str]]:
    """The conditions that the end of a job has; none for a phase that is no end."""
    if phase not in {one.value for one in Phase if one.terminal}:
        return []
    found = conditions(Phase(phase), "", "", finished_at=0.0)
    return [json.loads(one.model_dump_json(by_alias=True)) for one in found]


class ApiService(Service):
    """The api's process tree, and an administrator's view of what it did."""

    role = "api"

    def __init__(self, folder: Path, plane: ControlPlane, namespace: str, **settings: object) -> None:
        account(plane, namespace, "longshore-api", API_RIGHTS)
        delegate(plane, namespace, "longshore-api")
        account(plane, namespace, "user", USER_RIGHTS)
        self.plane, self.namespace = plane, namespace
        self.token = plane.token(namespace, "user")
        kubeconfig = plane.service_account_kubeconfig(namespace, "longshore-api")
        super().__init__(
            folder, {"kubeconfig": str(kubeconfig), "namespace": namespace, "access_log": "all", **settings}
        )

    def wait_ready(self, seconds: float = 30.0) -> None:
        """Until it answers and the API server answers it."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            assert self.running(), f"the api ended:\n{self.log.read_text()[-4000:]}"
            try:
                if self.request("GET", "/readyz", timeout=5).status == 200 and self.metric("watch_connected") == 1:
                    return
            except OSError:
                pass  # not listening yet
            time.sleep(0.03)
        raise AssertionError(f"the api was not ready in time:\n{self.log.read_text()[-4000:]}")

    def metric(self, name: str) -> float:
        """The sum of one of its families."""
        lines = self.request("GET", "/metrics").body.decode().splitlines()
        found = [line for line in lines if line.startswith((f"longshore_kube_{name} ", f"longshore_kube_{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def ask(self, method: str, path: str, body: object = None, *, token: str | None = None, **more: Any) -> Answer:
        """A request with the user's token, or with another's."""
        headers = {"Authorization": f"Bearer {self.token if token is None else token}", **more.pop("headers", {})}
        return self.request(method, path, body, headers=headers, **more)

    def submit(self, handler: str = "echo", **fields: object) -> dict[str, Any]:
        """A job that is taken."""
        answer = self.ask("POST", "/v1/jobs", {"handler": handler, **fields})
        assert answer.status == 202, answer.body
        found: dict[str, Any] = answer.json()
        return found

    def resource_path(self, name: str = "") -> str:
        """Of a Job in the API server."""
        path = f"/apis/{GROUP}/v1alpha1/namespaces/{self.namespace}/jobs"
        return f"{path}/{name}" if name else path

    def resource(self, name: str) -> dict[str, Any]:
        """The Job as the API server has it."""
        found: dict[str, Any] = self.plane.must("GET", self.resource_path(name))
        return found

    def record(self, name: str, **status: object) -> None:
        """Write a status, as the operator would."""
        told = {"conditions": found} if (found := conditions_of(str(status.get("phase", "")))) else {}
        self.plane.must("PATCH", f"{self.resource_path(name)}/status", {"status": told | status})


def password(token: str) -> str:
    """A token as tools send it that know Basic authorization alone."""
    return "Basic " + base64.b64encode(f":{token}".encode()).decode()
