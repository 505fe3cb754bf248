"""What the values mean: nulls, the values of an older chart, names that look like numbers, a chart around this one."""

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm_chart import CHART, MATRIX, MONITORING, Object, helm, kind, parse, pods, render, template

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
NUMERIC = ["2024", "1e3", "0x1f", "true", "null", "on", "n", "08", "1.5"]


def fixed_maps(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where the defaults have maps whose keys the schema knows."""
    for key, value in values.items():
        if isinstance(value, dict) and value and key != "pools" and closed((*path, key)):
            yield (*path, key)
            yield from fixed_maps(value, (*path, key))


def closed(path: tuple[str, ...]) -> bool:
    node = SCHEMA
    for key in path:
        node = node["properties"][key]
        while "$ref" in node:
            node = SCHEMA["definitions"][node["$ref"].rpartition("/")[2]]
    return "properties" in node and path[-1] != "resources"


def texts(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in an object that has to be a text: names, namespaces, labels and annotations."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("labels", "annotations", "matchLabels"):
                yield from ((f"{where}/{key}/{name}", one) for name, one in value.items())
            elif key in ("name", "namespace", "secretName", "serviceAccountName", "claimName", "value", "image"):
                yield f"{where}/{key}", value
            yield from texts(value, f"{where}/{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from texts(value, f"{where}/{number}")


def test_the_defaults_of_the_templates_are_the_values() -> None:
    assert (CHART / "values.yaml").read_text() == (CHART / "files/defaults.yaml").read_text(), "run `make generate`"
    assert DEFAULTS["defaultsOf"] == yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]


def test_every_template_takes_the_whole_values_first() -> None:
    for file in (CHART / "templates").rglob("*"):
        if file.suffix in (".yaml", ".txt"):
            assert file.read_text().startswith('{{- include "longshore.values" . -}}'), file.name


@pytest.mark.parametrize("version", [3, 4])
def test_values_of_a_chart_that_knew_nothing_are_the_defaults(tmp_path: Path, version: int) -> None:
    """As `--reuse-values` hands on the values of a release whose chart had hardly any."""
    old = tmp_path / "longshore"
    shutil.copytree(CHART, old)
    (old / "values.yaml").write_text("pools: {default: {apps: []}}\n")
    where = ["--namespace", "demo", "--kube-version", "1.36.0"]
    bare = helm("template", "ls", str(old), *where, version=version)
    whole = template({"pools": {"default": {"apps": []}}}, version=version)

    assert bare.returncode == 0, bare.stderr
    assert whole.stdout == bare.stdout


def test_null_is_the_chart_s_own_word_wherever_keys_are_fixed() -> None:
    expected = render()
    for path in fixed_maps(DEFAULTS):
        values: Any = None
        for key in reversed(path):
            values = {key: values}
        assert expected == render(values), path


def test_a_null_for_a_switch_a_number_or_a_text_is_the_default() -> None:
    nulls = {
        "scope": None, "listenAddress": None, "operator": {"replicas": None, "leaseSeconds": None, "retentionSeconds": None},
        "api": {"replicas": None, "service": {"port": None}, "auth": {"mode": None}},
        "poolDefaults": {"slots": None, "drainSeconds": None, "tmpSize": None, "pdb": {"maxUnavailable": None}},
        "tests": {"timeoutSeconds": None},
    }  # fmt: skip

    assert render() == render(nulls)


def test_a_null_takes_away_a_list_or_a_map_of_the_user_s() -> None:
    gone = {"resources": None, "nodeSelector": None, "tolerations": None, "podLabels": None}
    objects = render({"operator": gone, "commonLabels": {"team": None}, "poolDefaults": {"resources": None}})
    worker = pods(objects)["Deployment/ls-pool-default"]["spec"]["containers"][0]

    assert "resources" not in pods(objects)["Deployment/ls-operator"]["spec"]["containers"][0]
    assert "resources" not in worker
    assert "team" not in pods(objects)["Deployment/ls-operator"]["metadata"]["labels"]


def test_a_pool_that_is_null_is_none() -> None:
    names = set(kind(render({"pools": {"default": None, "gpu": {}, "old": None}}), "Deployment"))
    pools = {name for name in names if "-pool-" in name}

    assert {"ls-pool-gpu"} == pools


def pool(of_all: dict[str, Any], own: dict[str, Any]) -> tuple[Object, Object]:
    """The Deployment of a pool, and its container."""
    objects = render({"poolDefaults": of_all, "pools": {"default": None, "gpu": own}})
    deployment = kind(objects, "Deployment")["ls-pool-gpu"]
    return deployment["spec"], deployment["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    "own", [{"commands": False, "queues": [], "replicas": 0, "tolerations": [], "priorityClassName": ""},
            {"commands": None, "queues": None, "replicas": 0, "tolerations": None, "priorityClassName": None}],
    ids=["said", "null"],
)  # fmt: skip
def test_a_pool_takes_back_what_the_defaults_of_pools_say(own: dict[str, Any]) -> None:
    of_all = {"commands": True, "queues": ["a"], "replicas": 3, "tolerations": [{"operator": "Exists"}],
              "priorityClassName": "high", "nodeSelector": {"disk": "ssd", "zone": "a"},
              "resources": {"limits": {"memory": "2Gi", "cpu": 3}}, "pdb": {"enabled": True}}  # fmt: skip
    deployment, container = pool(
        of_all, {**own, "nodeSelector": {"disk": None}, "resources": {"limits": {"cpu": None}}}
    )
    spec = deployment["template"]["spec"]

    assert "false" == next(one["value"] for one in container["env"] if one["name"] == "LONGSHORE_COMMANDS")
    assert "longshore.dev/queues" not in deployment["template"]["metadata"]["annotations"]
    assert 0 == deployment["replicas"]
    assert not {"tolerations", "priorityClassName"} & spec.keys()
    assert {"zone": "a"} == spec["nodeSelector"]
    assert {"memory": "2Gi"} == container["resources"]["limits"]


def test_a_pool_takes_back_a_whole_map() -> None:
    deployment, container = pool({"nodeSelector": {"a": "b"}}, {"nodeSelector": None, "resources": None, "pdb": None})

    assert "nodeSelector" not in deployment["template"]["spec"]
    assert "resources" not in container


@pytest.mark.parametrize("name", NUMERIC)
def test_names_that_look_like_something_else_stay_texts(name: str) -> None:
    label = re.sub("[^a-z0-9]", "-", name)
    values = {
        "fullnameOverride": "", "nameOverride": name, "commonLabels": {"team": name}, "commonAnnotations": {"x": name},
        "results": {"existingClaim": label}, "imagePullSecrets": [{"name": label}],
        "image": {"repository": "r/" + label, "tag": name}, "pools": {"default": None, label: {"queues": [label], "servesNamespaces": [label]}},
        "operator": {"priorityClassName": label, "webhookSecrets": {label: label}, "extraEnv": [{"name": "A", "value": name}]},
        "api": {"ingress": {"enabled": True, "hosts": ["x"], "className": label}, "serviceAccountName": label},
        "networkPolicy": {"enabled": True}, "metrics": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}},
        "tests": {"handler": name},
    }  # fmt: skip
    for more in ({}, {"scope": "namespaced", "pools": {label: {}}}, {"workerToken": {"existingSecret": label}}):
        found = [*itertools.chain.from_iterable(
            texts(one, f"{one['kind']}/{one['metadata']['name']}")
            for one in render(values | more, release=name, namespace=label, apis=MONITORING)
            if one["kind"] != "CustomResourceDefinition"
        )]  # fmt: skip

        assert len(found) > 300
        assert [] == [(where, text) for where, text in found if not isinstance(text, str)]


@pytest.mark.parametrize("program", ["operator", "api", "pool-default"])
def test_a_variable_of_the_user_takes_the_place_of_the_chart_s(program: str) -> None:
    prefix = "LONGSHORE_OPERATOR_" if program == "operator" else "LONGSHORE_"
    mine = [{"name": f"{prefix}LOG_LEVEL", "value": "debug"}, {"name": "MINE", "value": "1"}]
    key = "poolDefaults" if program == "pool-default" else program
    container = pods(render({key: {"extraEnv": mine}}))[f"Deployment/ls-{program}"]["spec"]["containers"][0]
    names = [one["name"] for one in container["env"]]

    assert len(set(names)) == len(names)
    assert mine == container["env"][-2:]


def around(tmp_path: Path, values: dict[str, Any], *flags: str) -> list[Object]:
    """What a chart makes that this one is a conditional part of."""
    whole = tmp_path / "whole"
    if not whole.exists():
        shutil.copytree(CHART, whole / "charts/longshore")
        (whole / "Chart.yaml").write_text(
            "apiVersion: v2\nname: whole\nversion: 1.0.0\ndependencies:\n"
            "  - {name: longshore, version: 0.x.x, repository: '', condition: longshore.enabled}\n"
        )
    done = helm("template", "ls", str(whole), "--namespace=demo", "--kube-version=1.36.0", *flags, values=values)
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)


@pytest.mark.parametrize(("enabled", "there"), [({}, True), ({"enabled": True}, True), ({"enabled": False}, False)],
                         ids=["by default", "on", "off"])  # fmt: skip
def test_as_a_conditional_part_of_another_chart(tmp_path: Path, enabled: dict[str, Any], there: bool) -> None:
    assert there == bool(around(tmp_path, {"longshore": enabled}))


def test_what_the_chart_around_says_of_images_counts(tmp_path: Path) -> None:
    ours = {"image": {"registry": "ours.example"}, "imagePullSecrets": [{"name": "ours"}, {"name": "both"}]}
    values = {
        "global": {"imageRegistry": "all.example:5000", "imagePullSecrets": ["both", {"name": "all"}], "other": 1}
    }
    found = pods(around(tmp_path, {**values, "longshore": ours}))

    assert len(found) >= 6
    for name, pod in found.items():
        assert pod["spec"]["containers"][0]["image"].startswith("all.example:5000/longshore"), name
        assert ["ours", "both", "all"] == [one["name"] for one in pod["spec"]["imagePullSecrets"]], name


@pytest.mark.parametrize("version", [3, 4])
def test_labels_and_annotations_of_all_are_on_everything(version: int) -> None:
    extra = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "labels": {"own": "label"}}},
             "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: two\n---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: three\n"]  # fmt: skip
    marks = {"commonLabels": {"team": "harbour"}, "commonAnnotations": {"owner": "night shift"}}
    objects = render(MATRIX["everything"] | marks | {"extraObjects": extra}, apis=MONITORING, version=version)

    for one in objects:
        where = f"{one['kind']} {one['metadata']['name']}"
        assert "harbour" == one["metadata"]["labels"]["team"], where
        assert "night shift" == one["metadata"]["annotations"]["owner"], where
    for name, pod in pods(objects).items():
        assert "harbour" == pod["metadata"]["labels"]["team"], name
    assert {"own": "label", "team": "harbour"} == kind(objects, "ConfigMap")["one"]["metadata"]["labels"]
    assert {"one", "two"} <= set(kind(objects, "ConfigMap"))
    assert {"three"} <= set(kind(objects, "Secret"))


@pytest.mark.parametrize(
    ("values", "namespaces"),
    [({}, ["demo"]), ({"scope": "namespaced"}, ["demo"]),
     ({"scope": "namespaced", "watchNamespaces": ["b", "a"]}, ["a", "b"])],
    ids=["cluster", "its own", "others"],
)  # fmt: skip
def test_each_namespace_of_a_release_has_a_marker_of_its_operator(
    values: dict[str, Any], namespaces: list[str]
) -> None:
    objects = render(values)
    markers = [one for one in objects if "longshore.dev/owner" in one["metadata"]["labels"]]
    assert namespaces == [one["metadata"]["namespace"] for one in markers]
    env = pods(objects)["Deployment/ls-operator"]["spec"]["containers"][0]["env"]
    owner = next(one["value"] for one in env if one["name"] == "LONGSHORE_OPERATOR_OWNER")
    assert {owner} == {one["spec"]["holderIdentity"] for one in markers}
