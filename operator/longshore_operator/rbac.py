"""Every right that the operator has on the API server, each with its reason.

``python -m longshore_operator.rbac`` prints the ClusterRole and the Role; `make generate` keeps manifests/rbac.yaml so.
"""

import sys
from dataclasses import dataclass
from typing import Any

import yaml

from longshore_operator.kube.client import GROUP


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a role."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    reason: str


RULES = (
    Rule(GROUP, ("jobs",), ("get", "list", "watch"), "the line of waiting jobs; a dependency is read by name"),
    Rule(GROUP, ("jobs/status",), ("patch",), "the record of what became of a job"),
    Rule(GROUP, ("jobs",), ("create", "patch"), "a Schedule's ticks become jobs; concurrencyPolicy Replace cancels"),
    Rule(GROUP, ("jobs",), ("delete",), "ended jobs go when their time to live is over"),
    Rule(GROUP, ("queues", "schedules"), ("get", "list", "watch"), "policies of queues, and what is due when"),
    Rule(GROUP, ("queues/status", "schedules/status"), ("patch",), "how a queue and a schedule stand"),
    Rule("", ("pods",), ("list", "watch"), "workers, their addresses, whether they are ready"),
    Rule("apps", ("deployments",), ("list", "watch"), "pools: how many workers there may be, and whom they serve"),
    Rule(
        "apps",
        ("deployments/scale",),
        ("patch",),
        "more workers, or fewer once they have been drained; no pod is ever deleted",
    ),
    Rule(
        "coordination.k8s.io",
        ("leases",),
        ("list", "watch"),
        "markers of namespaces that another operator has; a Lease holds no secret",
    ),
    Rule("autoscaling", ("horizontalpodautoscalers",), ("list",), "a pool that one of them scales is left alone"),
)
OWN_RULES = (
    Rule("coordination.k8s.io", ("leases",), ("get", "create", "update"), "one operator of several leads"),
    Rule("apps", ("deployments",), ("patch",), "annotations of the pools there that say why; elsewhere they are scaled in silence"),
)  # fmt: skip
"""In its own namespace alone: who may change Deployments may run any pod there."""

HEAD = "# Generated from operator/longshore_operator/rbac.py by `make generate`; do not edit.\n"


def role(kind: str, name: str, rules: tuple[Rule, ...], namespace: str = "") -> dict[str, Any]:
    """A Role or a ClusterRole."""
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "longshore"}}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": metadata | ({"namespace": namespace} if namespace else {}),
        "rules": [
            {"apiGroups": [rule.group], "resources": list(rule.resources), "verbs": list(rule.verbs)} for rule in rules
        ],
    }  # fmt: skip


def manifest() -> str:
    """Both roles as YAML, every rule with its reason before it."""
    text = HEAD
    for kind, rules in (("ClusterRole", RULES), ("Role", OWN_RULES)):
        lines = yaml.safe_dump(role(kind, "longshore-operator", rules), sort_keys=False).splitlines()
        reasons = iter(rules)
        text += "---\n" + "".join(
            (f"# {next(reasons).reason}\n" if line.startswith("- apiGroups") else "") + line + "\n" for line in lines
        )
    return text


if __name__ == "__main__":
    sys.stdout.write(manifest())
