"""What the chart makes, whatever the values are."""

import itertools
import re
from typing import Any

import pytest
import yaml

from helm_chart import MATRIX, MONITORING, NEWEST, OLDEST, ROOT, Object, helm, kind, pods, render, template
from longshore import settings
from longshore_operator import settings as operator_settings
from longshore_operator.scaling.decide import Knobs
from longshore_operator.scaling.pool import ANNOTATIONS, read

HTTP_ROUTE = "gateway.networking.k8s.io/v1/HTTPRoute"
LABELS = {
    "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component", "app.kubernetes.io/part-of",
    "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart",
}  # fmt: skip
SELECTORS = {
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "longshore.dev/pool",
}
CLUSTER_WIDE = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
LONGEST = "a" * 52 + "z"


@pytest.fixture(scope="module", params=MATRIX, ids=lambda name: name.replace(" ", "-"))
def objects(request: pytest.FixtureRequest) -> list[Object]:
    """Rendered for a cluster that has prometheus-operator."""
    return render(MATRIX[request.param], apis=[*MONITORING, HTTP_ROUTE])


def containers(pod: Object) -> list[Object]:
    spec = pod["spec"]
    return [*spec["containers"], *spec.get("initContainers", [])]


def test_every_container_is_restricted(objects: list[Object]) -> None:
    for name, pod in pods(objects).items():
        security = pod["spec"]["securityContext"]
        assert (True, 65532, {"type": "RuntimeDefault"}) == (
            security["runAsNonRoot"], security["runAsUser"], security["seccompProfile"]), name  # fmt: skip
        for container in containers(pod):
            assert {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            } == container["securityContext"], name  # fmt: skip


def test_every_container_says_what_it_needs(objects: list[Object]) -> None:
    for name, pod in pods(objects).items():
        for container in containers(pod):
            assert container["image"].rpartition(":")[2] != "latest", name
            assert container["resources"], name


def test_no_worker_gets_to_the_api_server(objects: list[Object]) -> None:
    bound = {subject["name"] for one in objects for subject in one.get("subjects", ())}
    for name, pod in pods(objects).items():
        if "longshore.dev/pool" in pod["metadata"]["labels"]:
            assert pod["spec"]["automountServiceAccountToken"] is False, name
            assert pod["spec"]["serviceAccountName"] not in bound, name
            assert not [volume for volume in pod["spec"]["volumes"] if "projected" in volume], name


def test_no_worker_gets_the_token_that_the_operator_answers_to(objects: list[Object]) -> None:
    for name, pod in pods(objects).items():
        if "longshore.dev/pool" in pod["metadata"]["labels"]:
            secret = next(volume["secret"] for volume in pod["spec"]["volumes"] if volume["name"] == "worker-token")
            assert [{"key": "tokens", "path": "tokens"}] == secret["items"], name


def test_no_account_mounts_its_token_by_itself(objects: list[Object]) -> None:
    assert {False} == {one["automountServiceAccountToken"] for one in kind(objects, "ServiceAccount").values()}


def test_no_service_puts_its_address_into_the_settings(objects: list[Object]) -> None:
    assert {False} == {pod["spec"]["enableServiceLinks"] for pod in pods(objects).values()}


def test_selectors_never_change_and_find_their_pods(objects: list[Object]) -> None:
    for name, one in kind(objects, "Deployment").items():
        selector = one["spec"]["selector"]["matchLabels"]
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert set(selector) <= SELECTORS, name
        assert selector.items() <= labels.items(), name


def test_no_two_deployments_take_each_other_s_pods(objects: list[Object]) -> None:
    deployments = kind(objects, "Deployment").values()
    for one, other in itertools.permutations(deployments, 2):
        labels = other["spec"]["template"]["metadata"]["labels"]
        assert not one["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_services_and_budgets_find_pods(objects: list[Object]) -> None:
    labels = [pod["metadata"]["labels"].items() for pod in pods(objects).values()]
    for one in [*kind(objects, "Service").values(), *kind(objects, "PodDisruptionBudget").values()]:
        selector = one["spec"]["selector"]
        selector = selector.get("matchLabels", selector)
        assert [found for found in labels if selector.items() <= found], one["metadata"]["name"]


def test_every_object_says_where_and_whose_it_is(objects: list[Object]) -> None:
    for one in objects:
        meta, name = one["metadata"], f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] == "CustomResourceDefinition" or name.endswith("-more"):
            continue
        assert (one["kind"] in CLUSTER_WIDE) != ("namespace" in meta), name
        assert set(meta["labels"]) >= LABELS, name


def test_every_right_is_spelled_out(objects: list[Object]) -> None:
    for one in objects:
        for rule in one.get("rules", ()) if "Role" in one["kind"] else ():
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}, one["metadata"]["name"]


def test_the_workers_port_is_called_as_the_operator_looks_for_it(objects: list[Object]) -> None:
    for name, pod in pods(objects).items():
        if "longshore.dev/pool" in pod["metadata"]["labels"]:
            ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
            assert {"http": 8080, "probes": 8081} == ports, name


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_a_second_render_is_the_same(values: dict[str, Any]) -> None:
    first, second = (template(values, apis=MONITORING) for _ in range(2))

    assert first.stdout == second.stdout != ""


def test_it_renders_for_the_oldest_kubernetes_and_is_the_same_there() -> None:
    assert template(kube=OLDEST).stdout == template(kube=NEWEST).stdout != ""


@pytest.mark.parametrize("release", ["ls", LONGEST, LONGEST[:-1] + "y", "a.b", "7up"])
def test_names_fit(release: str) -> None:
    objects = render(MATRIX["everything"] | {"pools": {"p" * 20: {}}}, release=release, apis=MONITORING)

    for one in objects:
        if one["kind"] not in CLUSTER_WIDE:
            assert len(one["metadata"]["name"]) <= 63, one["metadata"]["name"]
        if one["kind"] in ("Service", "Pod", "Deployment"):
            assert re.fullmatch("[a-z][-a-z0-9]*[a-z0-9]", one["metadata"]["name"])
        for text in one["metadata"].get("labels", {}).values():
            assert len(text) <= 63


@pytest.mark.parametrize(
    ("one", "other"),
    [(("ls", "a"), ("ls2", "a")), (("ls", "a"), ("ls", "b")), ((LONGEST, "a"), (LONGEST[:-1] + "y", "a")),
     (("c", "a-b"), ("b-c", "a"))],
    ids=["two names", "two namespaces", "two long names", "a dash at another place"],
)  # fmt: skip
def test_two_releases_share_no_object(one: tuple[str, str], other: tuple[str, str]) -> None:
    def keys(release: tuple[str, str]) -> set[tuple[str, str, str]]:
        name, namespace = release
        found = render({"crds": {"install": False}}, release=name, namespace=namespace)
        return {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in found}

    assert not keys(one) & keys(other)


def test_two_releases_in_one_namespace_do_not_take_each_other_s_pods() -> None:
    for one, other in itertools.permutations([render(release="ls"), render(release="ls2")], 2):
        for service in kind(one, "Service").values():
            for pod in pods(other).values():
                assert not service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()


def test_a_namespaced_release_has_nothing_cluster_wide() -> None:
    objects = render(MATRIX["namespaced"])

    assert not {one["kind"] for one in objects} & CLUSTER_WIDE
    roles = [
        one for one in objects if one["kind"] == "Role" and one["metadata"]["name"] == "longshore:demo:ls:operator"
    ]
    assert ["demo", "other"] == [one["metadata"]["namespace"] for one in roles]


def test_another_chart_version_alone_starts_no_pod_anew(objects: list[Object]) -> None:
    for name, one in kind(objects, "Deployment").items():
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(labels), name


def environment(pod: Object) -> dict[str, str]:
    """Of the first container, as a process sees it."""
    given = {one["name"]: one.get("value", "from-a-field") for one in pod["spec"]["containers"][0].get("env", ())}
    return {name: value.replace("$(POD_NAMESPACE)", given.get("POD_NAMESPACE", "")) for name, value in given.items()}


def test_every_variable_is_a_setting_of_its_program(objects: list[Object]) -> None:
    for name, pod in pods(objects).items():
        program = pod["spec"]["containers"][0]["command"]
        if program == ["longshore-operator"]:
            operator_settings.load({}, environment(pod))
        elif program[0] == "longshore":
            found = settings.load({}, environment(pod)).settings
            assert (8080, "json") == (found.port, found.log_format), name


def test_a_release_takes_no_more_time_to_end_than_its_jobs() -> None:
    worker = kind(render({"pools": {"slow": {"drainSeconds": 600, "graceSeconds": 9}}}), "Deployment")["ls-pool-slow"]

    assert 634 == worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]


def test_the_number_of_pods_has_one_owner() -> None:
    objects = render({"pools": {"few": {"replicas": 0}, "many": {"minWorkers": 0, "maxWorkers": 9}}})
    few, many = (kind(objects, "Deployment")[f"ls-pool-{name}"] for name in ("few", "many"))

    assert 0 == few["spec"]["replicas"]
    assert "replicas" not in many["spec"]
    assert Knobs(0, 9) == read(many["metadata"]["annotations"]), "the chart's defaults are the operator's"
    assert {annotation for annotation, *_ in ANNOTATIONS.values()} == many["metadata"]["annotations"].keys()


@pytest.mark.parametrize("mode", ["operator", "hpa", "keda", "none"])
def test_one_scaler_at_most(mode: str) -> None:
    pool = {"minWorkers": 1, "maxWorkers": 9, "slots": 3, "autoscaling": {"mode": mode}}
    objects = render({"pools": {"default": pool}})
    deployment = kind(objects, "Deployment")["ls-pool-default"]
    found = {
        "operator": "longshore.dev/max-workers" in deployment["metadata"].get("annotations", {}),
        "hpa": bool(kind(objects, "HorizontalPodAutoscaler")), "keda": bool(kind(objects, "ScaledObject")),
    }  # fmt: skip

    assert "replicas" not in deployment["spec"]
    assert {name: name == mode for name in found} == found


def test_the_scalers_of_others_go_by_the_slots_that_are_wanted() -> None:
    pool = {"minWorkers": 1, "maxWorkers": 9, "slots": 3}
    objects = render({"pools": {
        "default": None, "one": {**pool, "autoscaling": {"mode": "hpa"}}, "two": {**pool, "autoscaling": {"mode": "keda"}},
        "three": {**pool, "autoscaling": {"mode": "keda", "keda": {"prometheusAddress": "http://prometheus:9090"}}},
    }})  # fmt: skip
    hpa = kind(objects, "HorizontalPodAutoscaler")["ls-pool-one"]["spec"]
    asking, scraped = (kind(objects, "ScaledObject")[f"ls-pool-{name}"]["spec"] for name in ("two", "three"))

    assert ("ls-pool-one", 1, 9) == (hpa["scaleTargetRef"]["name"], hpa["minReplicas"], hpa["maxReplicas"])
    external = hpa["metrics"][0]["external"]
    assert ("longshore_pool_wanted_slots", {"exported_namespace": "demo", "pool": "one"}, "3") == (
        external["metric"]["name"], external["metric"]["selector"]["matchLabels"], external["target"]["averageValue"])  # fmt: skip
    assert ("ls-pool-two", 1, 9) == (
        asking["scaleTargetRef"]["name"],
        asking["minReplicaCount"],
        asking["maxReplicaCount"],
    )
    assert {
        "url": "http://ls-operator.demo:8082/v1/pools/demo/two/load", "valueLocation": "wantedSlots", "targetValue": "3",
    } == asking["triggers"][0]["metadata"]  # fmt: skip
    assert {
        "serverAddress": "http://prometheus:9090", "threshold": "3", "ignoreNullValues": "false",
        "query": 'max(longshore_pool_wanted_slots{exported_namespace="demo",pool="three"})',
    } == scraped["triggers"][0]["metadata"]  # fmt: skip


def test_workers_and_the_api_share_the_results_and_nobody_else_has_them() -> None:
    objects = render({"results": {"existingClaim": "shared"}, "pools": {"gpu": {}}})
    claim = {"name": "results", "persistentVolumeClaim": {"claimName": "shared"}}
    having = {name for name, pod in pods(objects).items() if claim in pod["spec"].get("volumes", ())}

    assert {"Deployment/ls-api", "Deployment/ls-pool-default", "Deployment/ls-pool-gpu"} == having
    for name in having:
        pod = pods(objects)[name]
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        assert mounts["results"] == environment(pod)["LONGSHORE_RESULTS_DIR"]
    assert "results" not in str([pod["spec"].get("volumes") for pod in pods(render()).values()])


def test_pods_say_whom_they_serve() -> None:
    objects = render({"pools": {"gpu": {"queues": ["a", "b"], "servesNamespaces": ["x", "y"]}}})

    annotations = pods(objects)["Deployment/ls-pool-gpu"]["metadata"]["annotations"]
    assert ("a,b", "x,y") == (annotations["longshore.dev/queues"], annotations["longshore.dev/serves-namespaces"])


@pytest.mark.parametrize(
    ("image", "expected"),
    [({}, "quay.example/base:1"), ({"tag": "2"}, "quay.example/base:2"),
     ({"repository": "mine", "tag": "7"}, "quay.example/mine:7"),
     ({"registry": "other.example", "repository": "mine", "digest": "sha256:" + "0" * 64},
      "other.example/mine@sha256:" + "0" * 64)],
    ids=["none of its own", "another tag", "its own", "its own by digest"],
)  # fmt: skip
def test_a_pool_has_the_image_that_it_names(image: dict[str, str], expected: str) -> None:
    base = {"registry": "quay.example", "repository": "base", "tag": "1"}
    objects = render({"image": base, "pools": {"default": {"image": image}}})

    assert expected == pods(objects)["Deployment/ls-pool-default"]["spec"]["containers"][0]["image"]


def test_the_crds_outlive_the_release_unless_told_otherwise() -> None:
    kept, gone = render(), render({"crds": {"keep": False}})

    for one in kind(kept, "CustomResourceDefinition").values():
        assert {"helm.sh/resource-policy": "keep"} == one["metadata"]["annotations"]
    assert 3 == len(kind(kept, "CustomResourceDefinition"))
    for one in kind(gone, "CustomResourceDefinition").values():
        assert "annotations" not in one["metadata"]


def test_more_objects_are_filled_in() -> None:
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-one"}}
    two = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include "longshore.fullname" . }}-two\n'

    assert {"ls-one", "ls-two"} <= set(kind(render({"extraObjects": [one, two]}), "ConfigMap"))


@pytest.mark.parametrize(("mode", "count"), [("skipIfMissing", 0), ("alwaysRender", 3)])
def test_monitors_where_the_cluster_knows_none(mode: str, count: int) -> None:
    objects = render({"metrics": {"serviceMonitor": {"enabled": True, "renderMode": mode}}})

    assert count == len(kind(objects, "ServiceMonitor"))


def test_workers_may_reach_nothing_but_what_their_pool_says() -> None:
    extra = [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]
    policy = kind(render({"networkPolicy": {"enabled": True}, "poolDefaults": {"egress": extra}}), "NetworkPolicy")

    dns, more = policy["ls-pool-default"]["spec"]["egress"]
    assert {53, 5353} == {port["port"] for port in dns["ports"]}, "OpenShift's too"
    assert extra == [more]


def test_who_asks_the_operator_for_its_numbers_may_reach_it() -> None:
    page = (ROOT / "docs/scaling.md").read_text()
    (example,) = re.findall(r"```yaml\n(networkPolicy:\n.*?)```", page, re.DOTALL)
    values = {"pools": {"default": {"minWorkers": 0, "maxWorkers": 3, "autoscaling": {"mode": "keda"}}}}
    objects = render(values | yaml.safe_load(example))
    (rule,) = kind(objects, "NetworkPolicy")["ls-operator"]["spec"]["ingress"]
    (trigger,) = kind(objects, "ScaledObject")["ls-pool-default"]["spec"]["triggers"]
    (port,) = kind(objects, "Service")["ls-operator"]["spec"]["ports"]

    assert f"http://ls-operator.demo:{port['port']}/" in trigger["metadata"]["url"]
    assert [port["targetPort"]] == [one["port"] for one in rule["ports"]]
    assert yaml.safe_load(example)["networkPolicy"]["metricsFrom"] == rule["from"][1:]


def test_helm_test_reaches_an_api_that_lets_in_few() -> None:
    values = {"networkPolicy": {"enabled": True, "apiFrom": [{"podSelector": {"matchLabels": {"a": "b"}}}]}}
    objects = render(values)
    checked = {name: pod["metadata"]["labels"] for name, pod in pods(objects).items() if "test-" in name}
    froms = kind(objects, "NetworkPolicy")["ls-api"]["spec"]["ingress"][0]["from"]

    assert 3 == len(checked)
    for name, labels in checked.items():
        assert any(one["podSelector"]["matchLabels"].items() <= labels.items() for one in froms), name


@pytest.mark.parametrize("version", [3, 4])
def test_the_chart_is_clean(version: int) -> None:
    done = helm("lint", "--strict", "charts/longshore", version=version)

    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_helm_4_renders_the_same(values: dict[str, Any]) -> None:
    def text(version: int) -> str:
        done = template(values, apis=[*MONITORING, HTTP_ROUTE], version=version)
        assert done.returncode == 0, done.stderr
        # Helm 3 drops the empty lines at the end of each document.
        return re.sub(r"\n\s+(?=---\n|\Z)", "\n", done.stdout)

    assert text(3) == text(4) != ""
