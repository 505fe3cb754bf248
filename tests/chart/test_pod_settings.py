"""What a platform's people set of pods: the same keys for operator, api and pools, and each of them arrives."""

from typing import Any

import kubernetes_validate
import pytest

from helm_chart import NEWEST, kind, pods, render

CONTAINER = {"name": "more", "image": "more:1", "resources": {"requests": {"cpu": "1"}}}
VOLUME = {"name": "ca", "configMap": {"name": "ca"}}
MOUNT = {"name": "ca", "mountPath": "/ca"}
SETTINGS: dict[str, Any] = {
    "serviceAccountName": "mine", "runtimeClassName": "gvisor", "hostUsers": False, "initContainers": [CONTAINER],
    "sidecars": [CONTAINER], "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["db"]}], "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["192.0.2.53"]}, "strategy": {"type": "Recreate"}, "minReadySeconds": 7,
    "startupProbe": {"failureThreshold": 999}, "livenessProbe": {"timeoutSeconds": 9},
    "readinessProbe": {"httpGet": {"path": "/mine"}}, "extraVolumes": [VOLUME], "extraVolumeMounts": [MOUNT],
    "extraEnvFrom": [{"secretRef": {"name": "keys"}}], "podSecurityContext": {"runAsUser": 1000650000, "fsGroup": None},
    "securityContext": {"readOnlyRootFilesystem": False, "capabilities": None},
}  # fmt: skip
COMPONENTS = {"operator": "ls-operator", "api": "ls-api", "poolDefaults": "ls-pool-default"}


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_setting_of_a_pod_arrives(component: str) -> None:
    objects = render({component: SETTINGS})
    deployment = kind(objects, "Deployment")[COMPONENTS[component]]
    kubernetes_validate.validate(deployment, NEWEST, strict=True)
    spec = deployment["spec"]["template"]["spec"]
    container = spec["containers"][0]

    for key in ("runtimeClassName", "hostUsers", "initContainers", "hostAliases", "dnsPolicy", "dnsConfig"):
        assert SETTINGS[key] == spec[key], key
    assert "mine" == spec["serviceAccountName"]
    assert not {"ls-operator", "ls-api", "ls-pool-default"}.intersection(
        {COMPONENTS[component]}, kind(objects, "ServiceAccount")
    )
    assert CONTAINER == spec["containers"][1]
    assert ({"type": "Recreate"}, 7) == (deployment["spec"]["strategy"], deployment["spec"]["minReadySeconds"])
    assert (999, 1) == (container["startupProbe"]["failureThreshold"], container["startupProbe"]["periodSeconds"])
    assert (9, "/livez") == (
        container["livenessProbe"]["timeoutSeconds"],
        container["livenessProbe"]["httpGet"]["path"],
    )
    assert "/mine" == container["readinessProbe"]["httpGet"]["path"]
    assert VOLUME in spec["volumes"]
    assert MOUNT in container["volumeMounts"]
    assert SETTINGS["extraEnvFrom"] == container["envFrom"]
    assert {"runAsNonRoot", "runAsUser", "runAsGroup", "seccompProfile"} == set(spec["securityContext"])
    assert 1000650000 == spec["securityContext"]["runAsUser"]
    assert {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": False, "runAsNonRoot": True} == container[
        "securityContext"
    ]


def test_a_role_is_bound_to_the_account_that_somebody_named() -> None:
    objects = render({"operator": {"serviceAccountName": "mine"}, "api": {"serviceAccountName": "yours"}})
    bound = {
        subject["name"] for one in objects for subject in one.get("subjects", ()) if one["kind"] == "ClusterRoleBinding"
    }

    assert {"mine", "yours"} == bound


def test_openshift_gives_the_users() -> None:
    none = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    for name, pod in pods(render({"podSecurityContext": none})).items():
        assert {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}} == pod["spec"]["securityContext"], (
            name
        )


def test_each_pool_has_an_account_of_its_own_and_jobs_get_its_token_when_asked_alone() -> None:
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/jobs"}
    objects = render({"pools": {"cloud": {"serviceAccountAnnotations": role, "automountServiceAccountToken": True}}})
    accounts, found = kind(objects, "ServiceAccount"), pods(objects)

    assert role == accounts["ls-pool-cloud"]["metadata"]["annotations"]
    assert "annotations" not in accounts["ls-pool-default"]["metadata"]
    for name, mounted in (("cloud", True), ("default", False)):
        spec = found[f"Deployment/ls-pool-{name}"]["spec"]
        assert (f"ls-pool-{name}", mounted) == (spec["serviceAccountName"], spec["automountServiceAccountToken"])


def test_a_digest_decides_beside_a_tag() -> None:
    digest = "sha256:" + "0" * 64
    images = {
        name: pod["spec"]["containers"][0]["image"]
        for name, pod in pods(render({
            "image": {"tag": "1", "digest": digest}, "operator": {"image": {"digest": digest}},
            "pools": {"other": {"image": {"tag": "2"}}},
        })).items()
    }  # fmt: skip

    assert f"longshore:1@{digest}" == images["Deployment/ls-api"] == images["Deployment/ls-pool-default"]
    assert f"longshore-operator@{digest}" == images["Deployment/ls-operator"]
    assert "longshore:2" == images["Deployment/ls-pool-other"]


def test_pods_of_the_token_and_of_helm_test_run_where_they_may() -> None:
    where = {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}], "priorityClassName": "high"}
    found = pods(render({"operator": where, "tests": where}))
    special = [name for name in found if "worker-token" in name or "test-" in name]

    assert 4 == len(special)
    for name in special:
        assert where.items() <= found[name]["spec"].items(), name


def test_every_pod_has_a_policy_and_asks_for_names_wherever_clusters_have_them() -> None:
    objects = render({"networkPolicy": {"enabled": True, "webhookPorts": [443, 8443]},
                      "operator": {"egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]}})  # fmt: skip
    policies = kind(objects, "NetworkPolicy").values()

    for name, pod in pods(objects).items():
        labels = pod["metadata"]["labels"].items()
        (policy,) = (one for one in policies if one["spec"]["podSelector"]["matchLabels"].items() <= labels)
        names = policy["spec"]["egress"][0]
        assert {53, 5353} == {port["port"] for port in names["ports"]}, name
        assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in names["to"], name
        assert "openshift-dns" in str(names["to"]), name
    operator = kind(objects, "NetworkPolicy")["ls-operator"]["spec"]["egress"]
    assert {"ports": [{"protocol": "TCP", "port": 443}, {"protocol": "TCP", "port": 8443}]} in operator
    assert {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]} in operator


def test_helm_test_tests_what_is_there() -> None:
    def checks(values: dict[str, Any]) -> set[str]:
        return {name.rpartition("-")[2] for name in pods(render(values)) if "test-" in name}

    namespaced = {"scope": "namespaced", "crds": {"install": False}}
    assert {"health", "http", "resource"} == checks({}) == checks(namespaced)
    assert {"health"} == checks({**namespaced, "watchNamespaces": ["other"]}), "nobody runs jobs here"
    for values, delegated in (({}, "true"), (namespaced, "false"), ({"rbac": {"create": False}}, "false")):
        (check,) = pods(render(values))["Pod/ls-test-http"]["spec"]["containers"]
        assert delegated == next(one["value"] for one in check["env"] if one["name"] == "CHECK_DELEGATED")
