"""The chart on a real API server: what is refused there, what an install and its end leave behind, and its rights."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm_chart import CHART, MATRIX, MONITORING, Object, helm, kind, pods, render, tool
from kube.api_service import API_RIGHTS, ApiService
from kube.control_plane import ControlPlane
from kube.operators import Rig
from longshore_operator import worker_token
from longshore_operator.errors import KubeError

CHECK = CHART / "files/check.py"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
FOREIGN = ("monitoring.coreos.com", "gateway.networking.k8s.io", "keda.sh")  # kinds that this API server does not have


@pytest.fixture
def restricted(cluster: ControlPlane, namespace: str) -> str:
    """A namespace that lets in restricted pods alone."""
    cluster.must("PATCH", f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": RESTRICTED}})
    return namespace


def text(objects: list[Object]) -> str:
    ours = [one for one in objects if not one["apiVersion"].startswith(FOREIGN)]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": ours})


@pytest.mark.parametrize("release", ["ls", "r" * 53], ids=["short", "longest"])
@pytest.mark.parametrize("name", MATRIX)
def test_the_api_server_takes_every_object(cluster: ControlPlane, restricted: str, name: str, release: str) -> None:
    values = dict(MATRIX[name])
    if "watchNamespaces" in values:
        values["watchNamespaces"] = [restricted, "default"]  # they have to be there
    objects = render(values, namespace=restricted, release=release)
    # Pods are refused without their account, and nothing stays of a dry run.
    accounts = list(kind(objects, "ServiceAccount").values())
    cluster.kubectl("apply", "--filename=-", input=text(accounts), check=True)
    done = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", input=text(objects))

    assert done.returncode == 0, done.stderr
    assert "would violate" not in done.stderr
    assert len([one for one in objects if not one["apiVersion"].startswith(FOREIGN)]) == len(done.stdout.splitlines())


def test_a_restricted_namespace_lets_every_pod_in(
    cluster: ControlPlane, restricted: str, eventually: Callable[..., object]
) -> None:
    if not cluster.controllers:
        pytest.skip("no kube-controller-manager, which makes the pods")
    objects = render({"crds": {"install": False}, "rbac": {"create": False}}, namespace=restricted)
    cluster.kubectl("apply", "--filename=-", input=text(objects), check=True)
    makers = [name for name in pods(objects) if not name.startswith("Pod/")]

    def there() -> bool:
        return len(makers) + 3 == len(cluster.must("GET", f"/api/v1/namespaces/{restricted}/pods")["items"])

    eventually(there, what=f"pods of {makers} and three tests")


def deployer(plane: ControlPlane, namespace: str) -> Path:
    """An account with everything in its namespace and nothing elsewhere; it has what it hands on."""
    plane.must("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "deployer"}})
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    group = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    plane.must("POST", f"{group}/roles", {"metadata": {"name": "deployer"}, "rules": rules})
    plane.must("POST", f"{group}/rolebindings", {
        "metadata": {"name": "deployer"}, "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}],
    })  # fmt: skip
    return plane.service_account_kubeconfig(namespace, "deployer")


def test_a_namespaced_release_needs_no_right_in_the_cluster(cluster: ControlPlane, namespace: str) -> None:
    where = ["--namespace", namespace, "--kubeconfig", str(deployer(cluster, namespace))]
    values = {"scope": "namespaced", "crds": {"install": False}}

    done = helm("install", "ls", str(CHART), *where, values=values)
    assert done.returncode == 0, done.stderr
    assert f"kubectl create clusterrolebinding longshore:{namespace}:ls:api-auth-delegator" in done.stdout
    assert helm("uninstall", "ls", *where).returncode == 0


def test_a_release_of_the_whole_cluster_needs_rights_there(cluster: ControlPlane, namespace: str) -> None:
    where = ["--namespace", namespace, "--kubeconfig", str(deployer(cluster, namespace))]

    done = helm("install", "ls", str(CHART), *where, values={"crds": {"install": False}})
    assert done.returncode != 0
    assert "cannot" in done.stderr
    assert "clusterroles" in done.stderr


# -- the token -----------------------------------------------------------------------------------------------


def fill(kubeconfig: Path, secret: str) -> None:
    asyncio.run(
        worker_token.run(secret, worker_token.Keys("tokens", "operator", "root"), kubeconfig=str(kubeconfig), tries=1)
    )


def in_namespace(kubeconfig: Path, namespace: str) -> Path:
    """The same with a namespace, as a pod's account has one."""
    whole = yaml.safe_load(kubeconfig.read_text())
    whole["contexts"][0]["context"]["namespace"] = namespace
    path = kubeconfig.with_suffix(".namespaced")
    path.write_text(yaml.safe_dump(whole))
    return path


def test_the_token_is_made_once_and_by_an_account_that_may_nothing_else(cluster: ControlPlane, namespace: str) -> None:
    objects = [one for one in render(namespace=namespace) if one["metadata"]["name"] == "ls-worker-token"]
    cluster.kubectl("apply", "--filename=-", input=text(objects), check=True)
    account = in_namespace(cluster.service_account_kubeconfig(namespace, "ls-worker-token"), namespace)
    path = f"/api/v1/namespaces/{namespace}/secrets"

    fill(account, "ls-worker-token")
    made = cluster.must("GET", f"{path}/ls-worker-token")["data"]
    assert [43, 43] == [len(base64.b64decode(made[key])) for key in ("tokens", "operator")]
    assert made["tokens"] != made["operator"]
    fill(account, "ls-worker-token")
    cluster.kubectl("apply", "--filename=-", input=text(objects), check=True)
    assert made == cluster.must("GET", f"{path}/ls-worker-token")["data"]

    cluster.must("POST", path, {"metadata": {"name": "other"}})
    with pytest.raises(KubeError, match="cannot get resource"):
        fill(account, "other")


# -- from install to uninstall -------------------------------------------------------------------------------


@pytest.fixture
def release(own_control_plane: ControlPlane) -> tuple[ControlPlane, Callable[..., str]]:
    """A cluster of its own, and helm that must succeed there, of version 3 unless told otherwise."""
    own_control_plane.must("POST", "/api/v1/namespaces", {"metadata": {"name": "demo"}})

    def run(*args: str, values: dict[str, Any] | None = None, version: int = 3) -> str:
        where = ["--namespace", "demo", "--kubeconfig", str(own_control_plane.admin)]
        done = helm(*args, *where, values=values, version=version)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return own_control_plane, run


def left(plane: ControlPlane) -> str:
    """What a release has made, wherever it is."""
    kinds = (
        "deployments,services,secrets,configmaps,serviceaccounts,jobs.batch,roles,rolebindings,"
        "poddisruptionbudgets,networkpolicies,clusterroles,clusterrolebindings,customresourcedefinitions"
    )
    found = plane.kubectl(
        "get", kinds, "--all-namespaces", "--selector=app.kubernetes.io/part-of=longshore", "--output=name", check=True
    )
    return found.stdout


@pytest.mark.parametrize(("first", "then"), [(3, 3), (4, 4), (3, 4)], ids=["helm 3", "helm 4", "helm 3, then 4"])
def test_an_upgrade_keeps_the_token_and_an_uninstall_leaves_the_crds_alone(
    release: tuple[ControlPlane, Callable[..., str]], first: int, then: int
) -> None:
    plane, run = release
    secret = "/api/v1/namespaces/demo/secrets/ls-worker-token"
    token = {"tokens": base64.b64encode(b"new\nold").decode()}

    said = run("install", "ls", str(CHART), version=first)
    assert "helm test ls --namespace demo" in said
    # As docs/security.md rotates it.
    create = ["create", "secret", "generic", "ls-worker-token", "--dry-run=client", "-o", "yaml"]
    rotated = plane.kubectl(*create, "--from-literal=tokens=new\nold", check=True).stdout
    flags = ["--server-side", "--force-conflicts", "--filename=-", "--namespace=demo"]
    plane.kubectl("apply", *flags, input=rotated, check=True)
    jobs = plane.kubectl("get", "jobs.batch", "-n", "demo", "-o", "name", check=True).stdout
    for values in ({"operator": {"replicas": 2}}, {"operator": {"image": {"tag": "another"}}}):
        run("upgrade", "ls", str(CHART), values=values, version=then)
        assert token == plane.must("GET", secret)["data"]
    assert jobs != plane.kubectl("get", "jobs.batch", "-n", "demo", "-o", "name", check=True).stdout
    run("rollback", "ls", "1", version=then)
    assert token == plane.must("GET", secret)["data"]
    assert jobs == plane.kubectl("get", "jobs.batch", "-n", "demo", "-o", "name", check=True).stdout

    run("uninstall", "ls", version=then)
    kept = "customresourcedefinition.apiextensions.k8s.io/{}.longshore.dev\n"
    assert "".join(kept.format(name) for name in ("jobs", "queues", "schedules")) == left(plane)


def test_kept_crds_are_taken_over_when_somebody_says_so(release: tuple[ControlPlane, Callable[..., str]]) -> None:
    plane, run = release
    run("install", "first", str(CHART))

    where = ["--namespace", "demo", "--kubeconfig", str(plane.admin)]
    done = helm("install", "second", str(CHART), *where)
    assert done.returncode != 0
    assert 'CustomResourceDefinition "jobs.longshore.dev"' in done.stderr
    run("uninstall", "first")
    run("install", "second", str(CHART), "--take-ownership")


def test_helm_says_which_secrets_the_pods_wait_for(release: tuple[ControlPlane, Callable[..., str]]) -> None:
    _, run = release
    said = run("install", "ls", str(CHART), values=MATRIX["own secrets"])

    assert "until there is a Secret mine with the keys tokens and operator;" in said
    assert "until there is a Secret callers with the key tokens;" in said


def test_a_name_that_helm_takes_is_not_too_long(release: tuple[ControlPlane, Callable[..., str]]) -> None:
    plane, run = release
    run("install", "r" * 53, str(CHART))
    run("uninstall", "r" * 53)

    done = helm("install", "r" * 54, str(CHART), "--namespace=demo", "--kubeconfig", str(plane.admin))
    assert "must not be longer than 53" in done.stderr


def test_two_releases_stand_side_by_side(release: tuple[ControlPlane, Callable[..., str]]) -> None:
    plane, run = release
    run("install", "one", str(CHART))
    run("install", "two", str(CHART), values={"scope": "namespaced", "crds": {"install": False}})

    run("uninstall", "one")
    assert "deployment.apps/two-operator" in left(plane)
    assert "deployment.apps/one-operator" not in left(plane)


def test_results_that_nobody_removes_are_warned_of(release: tuple[ControlPlane, Callable[..., str]]) -> None:
    _, run = release
    everywhere = {"servesNamespaces": ["*"]}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"api": {"enabled": False}}, "without the api nobody removes results"),
        ({"poolDefaults": everywhere}, "pool default serves other namespaces, and the api does not"),
        ({"poolDefaults": everywhere, "api": {"allNamespaces": True}}, ""),
        ({"poolDefaults": everywhere, "results": {}}, ""),
        ({}, ""),
    ]
    for values, said in cases:
        whole = {"results": {"existingClaim": "claim"}, "pools": {"default": {}}, **values}
        notes = run("install", "ls", str(CHART), "--dry-run=client", values=whole).partition("NOTES:")[2]

        assert said in notes
        assert ("WARNING" in notes) == bool(said), values


# -- monitoring ----------------------------------------------------------------------------------------------


def test_monitors_come_with_the_kinds_of_prometheus_operator(release: tuple[ControlPlane, Callable[..., str]]) -> None:
    plane, run = release
    values = {"metrics": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}}
    strict = {"metrics": {name: {"enabled": True, "renderMode": "failIfMissing"} for name in values["metrics"]}}
    kinds = "servicemonitors,prometheusrules"

    done = helm("install", "ls", str(CHART), "--namespace=demo", "--kubeconfig", str(plane.admin), values=strict)
    assert done.returncode != 0
    assert "renderMode is failIfMissing: install prometheus-operator's CRDs" in done.stderr
    said = run("install", "ls", str(CHART), values=values)
    for wanted in ("ServiceMonitor", "PrometheusRule"):
        assert f"WARNING: the cluster has no {wanted}, so none was made." in said
    plane.install_crds(tool("prometheus-operator") / "crds")
    said = run("upgrade", "ls", str(CHART), values=strict)
    assert "WARNING" not in said
    assert "set metrics.serviceMonitor.labels" in said
    made = plane.kubectl("get", kinds, "--namespace=demo", "--output=name", check=True).stdout.split()
    assert ["ls-api", "ls-operator", "ls-workers", "ls-rules"] == [name.rpartition("/")[2] for name in made]
    run("uninstall", "ls")
    assert "" == plane.kubectl("get", kinds, "--namespace=demo", "--output=name", check=True).stdout


def test_prometheus_operator_knows_every_field(own_control_plane: ControlPlane) -> None:
    own_control_plane.install_crds(tool("prometheus-operator") / "crds")
    for name in ("everything", "pod monitors"):
        found = [
            one
            for one in render(MATRIX[name], namespace="default", apis=MONITORING)
            if "monitoring" in one["apiVersion"]
        ]
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": found})
        done = own_control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", input=items)

        assert done.returncode == 0, done.stderr
        assert len(found) == len(done.stdout.splitlines()) >= 3, name


def test_keda_knows_every_field(own_control_plane: ControlPlane) -> None:
    own_control_plane.install_crds(tool("keda"))
    found = list(kind(render(MATRIX["scaled by others"], namespace="default"), "ScaledObject").values())
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": found})
    done = own_control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", input=items)

    assert done.returncode == 0, done.stderr
    assert {"metrics-api", "prometheus"} == {one["spec"]["triggers"][0]["type"] for one in found}
    assert len(found) == len(done.stdout.splitlines())


# -- rights --------------------------------------------------------------------------------------------------


def may(plane: ControlPlane, account: str, verb: str, resource: str, *more: str) -> bool:
    """Whether an account of the release may do that; ``more`` are flags."""
    user = f"--as=system:serviceaccount:demo:{account}"
    return plane.kubectl("auth", "can-i", verb, resource, user, *more).stdout.strip() == "yes"


def test_who_may_do_what(release: tuple[ControlPlane, Callable[..., str]]) -> None:
    plane, run = release
    run("install", "ls", str(CHART))
    jobs, here, there = "jobs.longshore.dev", "--namespace=demo", "--namespace=default"

    assert may(plane, "ls-operator", "patch", f"{jobs}", "--subresource=status", there)
    assert may(plane, "ls-operator", "update", "leases.coordination.k8s.io", here)
    assert may(plane, "ls-api", "create", jobs, here)
    assert may(plane, "ls-api", "create", "tokenreviews.authentication.k8s.io")
    refused = [
        ("ls-operator", "get", "secrets", here), ("ls-operator", "update", "leases.coordination.k8s.io", there),
        ("ls-operator", "create", "pods", here), ("ls-operator", "delete", "queues.longshore.dev", here),
        ("ls-api", "create", jobs, there), ("ls-api", "get", "secrets", here), ("ls-api", "create", "pods", here),
        ("ls-pool-default", "get", jobs, here), ("ls-pool-default", "get", "pods", here), ("ls-pool-default", "create", jobs, here),
        ("ls-worker-token", "list", "secrets", here), ("ls-worker-token", "create", "secrets", here),
    ]  # fmt: skip
    assert [] == [one for one in refused if may(plane, *one)]


def test_users_get_rights_by_the_cluster_s_own_roles(release: tuple[ControlPlane, Callable[..., str]]) -> None:
    plane, run = release
    run("install", "ls", str(CHART))

    rules = {
        name: one["rules"] for name, one in kind(render(), "ClusterRole").items() if name.endswith((":view", ":edit"))
    }  # fmt: skip
    labels = {
        one["metadata"]["name"]: one["metadata"]["labels"]
        for one in plane.must("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles")["items"]
    }
    assert "true" == labels["longshore:demo:ls:view"]["rbac.authorization.k8s.io/aggregate-to-view"]
    assert [["get", "list", "watch"]] == [rule["verbs"] for rule in rules["longshore:demo:ls:view"]]


def test_the_api_gets_the_rights_that_its_own_tests_give_it() -> None:
    roles = kind(render(), "Role")
    *own, lease = API_RIGHTS

    assert own == roles["ls-api"]["rules"]
    assert [lease | {"resourceNames": ["ls-operator"]}] == roles["ls-api-lease"]["rules"]


# -- helm test -----------------------------------------------------------------------------------------------


def test_the_check_of_job_resources_sees_one_succeed_and_one_fail(rig: Rig, tmp_path: Path) -> None:
    objects = [one for one in render(namespace=rig.namespace) if one["metadata"]["name"] == "ls-test"]
    rig.plane.kubectl("apply", "--filename=-", input=text(objects), check=True)
    kubeconfig = yaml.safe_load(rig.plane.service_account_kubeconfig(rig.namespace, "ls-test").read_text())
    account = tmp_path / "account"
    account.mkdir()
    cluster = kubeconfig["clusters"][0]["cluster"]
    (account / "token").write_text(kubeconfig["users"][0]["user"]["token"])
    (account / "namespace").write_text(rig.namespace)
    (account / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    host, _, port = cluster["server"].removeprefix("https://").rpartition(":")
    rig.worker()
    rig.leader(unknown_handler_seconds=1)

    def check(handler: str) -> subprocess.CompletedProcess[str]:
        variables = {"CHECK_ACCOUNT": str(account), "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port,
                     "CHECK_HANDLER": handler, "CHECK_ARGS": '{"x": 1}', "CHECK_SECONDS": "30"}  # fmt: skip
        return subprocess.run([sys.executable, CHECK, "resource"], env=os.environ | variables, capture_output=True,
                              text=True, timeout=60, check=False)  # fmt: skip

    fine, wrong = check("echo"), check("nobody")
    assert fine.returncode == 0, fine.stdout + fine.stderr
    assert 'succeeded: {"x": 1}' in fine.stdout
    assert wrong.returncode == 1
    assert "is Failed" in wrong.stderr


def test_the_check_over_http_ends_at_once_where_the_api_may_not_ask_who_calls(
    cluster: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """As in `scope: namespaced`, until an administrator gives the right."""
    (tmp_path / "api").mkdir()
    api = ApiService(tmp_path / "api", cluster, namespace)
    api.start()
    try:
        cluster.must("DELETE", f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{namespace}-longshore-api")
        (tmp_path / "token").write_text(api.token)
        variables = {"CHECK_URL": api.url, "CHECK_TOKEN_FILE": str(tmp_path / "token"), "CHECK_HANDLER": "echo",
                     "CHECK_ARGS": "{}", "CHECK_DELEGATED": "false", "CHECK_SECONDS": "50"}  # fmt: skip
        done = subprocess.run([sys.executable, CHECK, "http"], env=os.environ | variables, capture_output=True,
                              text=True, timeout=60, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "not tested: the api may not ask who a caller is" in done.stdout
    finally:
        api.end()
