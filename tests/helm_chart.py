"""The chart, rendered by the real helm."""

import functools
import json
import os
import subprocess
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts/longshore"
MONITORING = tuple(
    f"monitoring.coreos.com/v1/{kind}" for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule")
)  # fmt: skip
OLDEST, NEWEST = "1.31.0", "1.36.0"
Object = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice: YAML's last one would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """As the base class."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        assert not twice, f"twice in one object: {twice}"
        return super().construct_mapping(node, deep)


@functools.cache
def tool(module: str) -> Path:
    """What scripts/chart-tools makes of that name; a loud skip without it, under CI a failure."""
    done = subprocess.run(
        [ROOT / "scripts/chart-tools", "--there", module], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return Path(done.stdout.strip())
    if os.environ.get("CI") == "true":
        pytest.fail(done.stderr)
    pytest.skip(done.stderr)


def promtool(*args: object, given: bytes | str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the promtool of our Prometheus; ``given`` is its standard input."""
    text = given.decode() if isinstance(given, bytes) else given
    return subprocess.run([tool("prometheus") / "promtool", *map(str, args)], input=text, capture_output=True,
                          text=True, timeout=60, check=False)  # fmt: skip


def helm(*args: str, values: Mapping[str, Any] | None = None, version: int = 3) -> subprocess.CompletedProcess[str]:
    """Run helm in the project's folder; ``values`` go in as a file."""
    given = ["--values", "-"] if values is not None else []
    return subprocess.run(
        [str(tool(f"helm-{version}")), *args, *given], input=None if values is None else json.dumps(values),
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip


def template(
    values: Mapping[str, Any] | None = None, *, release: str = "ls", namespace: str = "demo",
    apis: Sequence[str] = (), kube: str = NEWEST, version: int = 3,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """``helm template`` for a cluster of version ``kube`` that has these kinds beside Kubernetes' own.

    ``version`` is helm's.
    """
    kinds = [flag for kind in apis for flag in ("--api-versions", kind)]
    where = ["--namespace", namespace, "--kube-version", kube]
    return helm("template", release, str(CHART), *where, *kinds, values=values or {}, version=version)


def render(values: Mapping[str, Any] | None = None, **where: Any) -> list[Object]:
    """All objects; AssertionError with what helm said when there are none. Takes what ``template`` takes."""
    done = template(values, **where)
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)


def refusal(values: Mapping[str, Any] | None = None, **where: Any) -> str:
    """What helm says to values that are wrong."""
    done = template(values, **where)
    assert done.returncode != 0, "helm took them"
    return done.stderr


def parse(text: str) -> list[Object]:
    """The objects of a text."""
    return [document for document in yaml.load_all(text, _Loader) if document]


def kind(objects: Sequence[Object], wanted: str) -> dict[str, Object]:
    """Objects of a kind, by name."""
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == wanted}


def pods(objects: Sequence[Object]) -> dict[str, Object]:
    """Every pod that comes of the objects, as ``{metadata, spec}`` by ``Kind/name`` of what makes it."""
    return {
        f"{one['kind']}/{one['metadata']['name']}": one if one["kind"] == "Pod" else one["spec"]["template"]
        for one in objects if one["kind"] in ("Pod", "Job", "Deployment", "DaemonSet", "StatefulSet", "CronJob")
    }  # fmt: skip


# What people do with the chart; each is rendered and looked through.
MATRIX: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": {
        "commonLabels": {"team": "harbour"}, "results": {"existingClaim": "shared"},
        "imagePullSecrets": [{"name": "registry"}],
        "operator": {"replicas": 3, "extraEnv": [{"name": "A", "value": "b"}], "podLabels": {"x": "y"},
                     "priorityClassName": "high", "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]},
        "api": {"replicas": 2, "allNamespaces": True, "apps": ["mine.jobs"],
                "auth": {"audiences": ["longshore"]}, "ingress": {"enabled": True, "hosts": ["jobs.example.com"]},
                "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]}},
        "pools": {"gpu": {"image": {"repository": "mine", "tag": "7"}, "minWorkers": 0, "maxWorkers": 9,
                          "queues": ["a", "b"], "servesNamespaces": ["*"], "commands": True, "podAnnotations": {"n": "o"},
                          "resources": {"limits": {"nvidia.com/gpu": 1}}, "extraVolumes": [{"name": "v", "emptyDir": {}}],
                          "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
                          "extraEnvFrom": [{"secretRef": {"name": "keys"}}]}},
        "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}],
                          "apiFrom": [{"podSelector": {}}]},
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
                    "prometheusRule": {"enabled": True, "runbookUrl": "https://example.com/runbooks/"},
                    "grafanaDashboard": {"enabled": True}},
        "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}}],
    },
    "namespaced": {"scope": "namespaced", "crds": {"install": False}, "watchNamespaces": ["demo", "other"]},
    "own secrets": {"workerToken": {"existingSecret": "mine"},
                    "api": {"auth": {"mode": "tokens", "existingSecret": "callers"}}},
    "pools alone": {"operator": {"enabled": False}, "api": {"enabled": False}, "crds": {"install": False},
                    "workerToken": {"existingSecret": "shared"}},
    "operator alone": {"api": {"enabled": False}, "pools": {"default": None}, "rbac": {"create": False}},
    "scaled by others": {"pools": {"one": {"minWorkers": 1, "maxWorkers": 3, "autoscaling": {"mode": "hpa"}},
                                   "two": {"minWorkers": 0, "maxWorkers": 3, "autoscaling": {"mode": "keda"}},
                                   "three": {"minWorkers": 0, "maxWorkers": 3, "autoscaling": {
                                       "mode": "keda", "keda": {"prometheusAddress": "http://prometheus:9090"}}}}},
    "tls": {"tls": {"enabled": True, "secretName": "certificates", "workersSecretName": "workers-certificate"},
            "api": {"ingress": {"enabled": True, "hosts": ["jobs.example.com"]}},
            "metrics": {"serviceMonitor": {"enabled": True}}},
    "pod monitors": {"metrics": {"podMonitor": {"enabled": True}}, "tests": {"enabled": False}},
}  # fmt: skip
