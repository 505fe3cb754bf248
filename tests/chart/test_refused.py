"""Values that are wrong, and what helm says to them."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from helm_chart import CHART, refusal

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"operater": {}}, "additional properties 'operater' not allowed"),
    "unknown key below": ({"operator": {"replica": 2}}, "at '/operator': additional properties 'replica' not allowed"),
    "unknown key of a pool": ({"pools": {"gpu": {"slot": 2}}}, "at '/pools/gpu': additional properties 'slot' not allowed"),
    "text for a number": ({"pools": {"gpu": {"slots": "two"}}}, "at '/pools/gpu/slots': got string, want null or integer"),
    "number for a text": ({"image": {"tag": 1.0}}, "at '/image/tag': got number, want null or string"),
    "text for a switch": ({"crds": {"keep": "yes"}}, "at '/crds/keep': got string, want null or boolean"),
    "no slots": ({"pools": {"gpu": {"slots": 0}}}, "at '/pools/gpu/slots': minimum: got 0, want 1"),
    "no operator": ({"operator": {"replicas": 0}}, "at '/operator/replicas': minimum: got 0, want 1"),
    "a scope that there is not": ({"scope": "galaxy"}, "at '/scope': value must be one of 'cluster', 'namespaced'"),
    "pool name": ({"pools": {"Big_one": {}}}, "invalid propertyName 'Big_one'"),
    "long pool name": ({"pools": {"p" * 21: {}}}, "invalid propertyName"),
    "handler module": ({"pools": {"gpu": {"apps": ["my-jobs"]}}}, "at '/pools/gpu/apps/0': 'my-jobs' does not match pattern"),
    "label of ours": ({"operator": {"podLabels": {"app.kubernetes.io/name": "x"}}}, "operator.podLabels: app.kubernetes.io/name is the chart's own label"),
    "digest": ({"image": {"digest": "abc"}}, "at '/image/digest': 'abc' does not match pattern"),
    "long name": ({"fullnameOverride": "a" * 37}, "at '/fullnameOverride': maxLength: got 37, want 36"),
    "min above max": ({"pools": {"gpu": {"minWorkers": 3, "maxWorkers": 1}}},
                      "pools.gpu: minWorkers (3) is greater than maxWorkers (1)"),
    "min alone": ({"pools": {"gpu": {"minWorkers": 3}}}, "pools.gpu: minWorkers and maxWorkers go together"),
    "two owners": ({"pools": {"gpu": {"replicas": 1, "minWorkers": 1, "maxWorkers": 3}}},
                   "pools.gpu: replicas and maxWorkers are both set"),
    "a scaler that there is not": ({"pools": {"gpu": {"autoscaling": {"mode": "vpa"}}}}, "at '/pools/gpu/autoscaling/mode'"),
    "a scaler without limits": ({"pools": {"gpu": {"autoscaling": {"mode": "keda"}}}}, "pools.gpu: autoscaling.mode keda needs minWorkers"),
    "hpa to zero": ({"pools": {"gpu": {"minWorkers": 0, "maxWorkers": 3, "autoscaling": {"mode": "hpa"}}}},
                    "pools.gpu: autoscaling.mode hpa needs minWorkers of 1"),
    "keda and two operators": ({"operator": {"replicas": 2}, "pools": {"gpu": {"minWorkers": 0, "maxWorkers": 3, "autoscaling": {"mode": "keda"}}}},
                               "pools.gpu.autoscaling.keda.prometheusAddress: without it KEDA asks the operator"),
    "own image without a version": ({"pools": {"gpu": {"image": {"repository": "mine"}}}}, "pools.gpu.image: mine needs a tag"),
    "excluded without scope": (
        {"scope": "namespaced", "operator": {"excludeNamespaces": ["a"]}}, "operator.excludeNamespaces: only with scope cluster"),
    "namespaces without scope": ({"watchNamespaces": ["a"]}, "watchNamespaces: only with scope namespaced"),
    "all namespaces without scope": ({"scope": "namespaced", "api": {"allNamespaces": True}},
                                     "api.allNamespaces: needs scope cluster"),
    "no Secret for callers": ({"api": {"auth": {"mode": "tokens"}}}, "api.auth.existingSecret: with mode tokens"),
    "no Secret for workers": ({"operator": {"enabled": False}}, "workerToken.existingSecret: with operator.enabled false"),
    "two monitors": ({"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
                     "serviceMonitor and podMonitor are both enabled"),
    "no monitors in the cluster": ({"metrics": {"serviceMonitor": {"enabled": True, "renderMode": "failIfMissing"}}},
                                   "the cluster has no monitoring.coreos.com/v1/ServiceMonitor"),
    "ingress without a host": ({"api": {"ingress": {"enabled": True}}}, "api.ingress.hosts: name at least one host"),
    "results that no two pods share": ({"results": {"emptyDir": {}}}, "at '/results': additional properties 'emptyDir' not allowed"),
    "claim": ({"results": {"existingClaim": "No_claim"}}, "at '/results/existingClaim': 'No_claim' does not match pattern"),
    "an alert that there is not": ({"metrics": {"prometheusRule": {"disabled": ["LongshoreNothing"]}}}, "at '/metrics/prometheusRule/disabled/0'"),
    "namespace": ({"scope": "namespaced", "watchNamespaces": ["Bad_Name"]}, "at '/watchNamespaces/0': 'Bad_Name' does not match pattern"),
    "priority class": ({"operator": {"priorityClassName": "Bad_Name"}}, "at '/operator/priorityClassName': 'Bad_Name' does not match pattern"),
    "Secret": ({"workerToken": {"existingSecret": "Bad_Name"}}, "at '/workerToken/existingSecret': 'Bad_Name' does not match pattern"),
    "a name to listen on": ({"listenAddress": "localhost"}, "listenAddress: localhost is no IP address"),
    "an address that nobody reaches": ({"listenAddress": "127.0.0.1"}, "listenAddress: nobody reaches 127.0.0.1"),
    "the same for IPv6": ({"listenAddress": "::1"}, "listenAddress: nobody reaches ::1"),
    "volume of ours": ({"poolDefaults": {"extraVolumes": [{"name": "tmp", "emptyDir": {}}]}}, "pools.default.extraVolumes: the volume tmp is the chart's own"),
    "volume of the operator": ({"operator": {"extraVolumes": [{"name": "worker-token"}]}}, "operator.extraVolumes: the volume worker-token is the chart's own"),
    "volume twice": ({"api": {"extraVolumes": [{"name": "a"}, {"name": "a"}]}}, "api.extraVolumes: the volume a is there twice"),
    "mount over ours": ({"api": {"extraVolumeMounts": [{"name": "a", "mountPath": "/tmp/"}]}}, "api.extraVolumeMounts: the path /tmp is the chart's own"),
    "a budget that holds up every drain": ({"api": {"pdb": {"maxUnavailable": 0}}}, "at '/api/pdb/maxUnavailable'"),
    "the same in percent": ({"poolDefaults": {"pdb": {"maxUnavailable": "00%"}}}, "at '/poolDefaults/pdb/maxUnavailable'"),
    "a pool for namespaces that the operator leaves alone": (
        {"scope": "namespaced", "pools": {"default": {"servesNamespaces": ["*"]}}}, "pools.default.servesNamespaces: *; with scope namespaced"),
    "variable that the pod counts on": ({"api": {"extraEnv": [{"name": "LONGSHORE_PORT", "value": "1"}]}}, "api.extraEnv: LONGSHORE_PORT is the chart's own"),
    "variable twice": ({"api": {"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}}, "api.extraEnv: A is there twice"),
    "tls without a certificate": ({"tls": {"enabled": True, "operatorSecretName": "a", "apiSecretName": "b"}},
                                  "tls.secretName: with tls.enabled, name the Secret"),
    "a variable beside tls": ({"poolDefaults": {"extraEnv": [{"name": "LONGSHORE_TLS_DIR", "value": "/x"}]}},
                              "pools.default.extraEnv: LONGSHORE_TLS_DIR is the chart's own; set tls.enabled"),
    "route without a gateway": ({"api": {"httpRoute": {"enabled": True}}}, "api.httpRoute.parentRefs: name at least one"),
}  # fmt: skip


@pytest.mark.parametrize(("values", "said"), WRONG.values(), ids=WRONG)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], said: str) -> None:
    assert said in refusal(values)


def test_a_kubernetes_that_is_too_old_is_refused() -> None:
    assert "requires kubeVersion: >=1.31.0-0 which is incompatible with Kubernetes v1.30.0" in refusal(kube="1.30.0")


def leaves(node: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every value that has no values below it."""
    if isinstance(node, dict) and node:
        for key, inner in node.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, node


def test_every_value_of_another_type_is_refused() -> None:
    validator = jsonschema.Draft7Validator(json.loads((CHART / "values.schema.json").read_text()))
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert validator.is_valid(values)
    found = list(leaves(values))
    assert len(found) > 100

    taken = []
    for path, default in found:
        wrong: object = {"a": {"b": {"c": 1}}} if not isinstance(default, dict) else "text"
        for key in reversed(path):
            wrong = {key: wrong}
        if validator.is_valid(wrong):
            taken.append(".".join(path))
    assert ["tests.args.hello"] == taken  # arguments of a handler may be anything
