"""What is made from something else is as it would be made now."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from helm_chart import CHART, ROOT, kind, parse, render, tool
from longshore.version import __version__
from longshore_operator import rbac

AGAIN = "run `make generate`"


def test_the_chart_has_the_crds_of_the_manifests() -> None:
    ours, theirs = ({file.name: file.read_text() for file in folder.glob("*.yaml")}
                    for folder in (CHART / "files/crds", ROOT / "manifests/crds"))  # fmt: skip

    assert theirs == ours, AGAIN


def test_what_is_rendered_is_the_crds() -> None:
    rendered = kind(render({"crds": {"keep": False}}), "CustomResourceDefinition")
    meant = [yaml.safe_load(file.read_text()) for file in (ROOT / "manifests/crds").glob("*.yaml")]

    assert {one["metadata"]["name"]: one for one in meant} == rendered


def test_the_chart_has_the_roles_of_the_operator() -> None:
    assert rbac.manifest() == (CHART / "files/rbac.yaml").read_text(), AGAIN


def rules(listed: tuple[rbac.Rule, ...]) -> list[dict[str, Any]]:
    return [{"apiGroups": [r.group], "resources": list(r.resources), "verbs": list(r.verbs)} for r in listed]


def test_the_operator_gets_the_rights_that_it_asks_for_and_no_other() -> None:
    objects = render()
    bound = {
        one["roleRef"]["name"]: one["roleRef"]["kind"] for one in objects
        if any(subject["name"] == "ls-operator" for subject in one.get("subjects", ()))
    }  # fmt: skip

    assert {"longshore:demo:ls:operator": "ClusterRole", "ls-operator": "Role"} == bound
    assert rules(rbac.RULES) == kind(objects, "ClusterRole")["longshore:demo:ls:operator"]["rules"]
    assert rules(rbac.OWN_RULES) == kind(objects, "Role")["ls-operator"]["rules"]


def test_a_namespaced_operator_gets_the_same_rights_in_its_namespaces() -> None:
    role = kind(render({"scope": "namespaced"}), "Role")["longshore:demo:ls:operator"]

    assert rules(rbac.RULES) == role["rules"]


def test_the_manifest_is_the_rendered_default() -> None:
    done = subprocess.run(
        [ROOT / "scripts/chart-manifest"], capture_output=True, text=True, timeout=60, check=False, env={
            "PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "HELM": str(tool("helm-3"))}
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / "manifests/install.yaml").read_text(), AGAIN


def test_the_manifest_can_be_applied_as_it_is() -> None:
    objects = parse((ROOT / "manifests/install.yaml").read_text())

    assert not [one for one in objects if "helm.sh/hook" in one["metadata"].get("annotations", {})]


def test_the_pages_of_values_are_made_from_the_values(tmp_path: Path) -> None:
    copy = shutil.copytree(CHART, tmp_path / "charts/longshore")
    (tmp_path / "docs").mkdir()
    (copy / "README.md").unlink()
    file_order = ["--sort-values-order=file", "--template-files=values.md.gotmpl", "--output-file=../../docs/values.md"]
    for more in ([], file_order):
        subprocess.run(
            [tool("helm-docs"), "--chart-search-root", copy, *more], check=True, capture_output=True, timeout=60
        )

    for page in ("charts/longshore/README.md", "docs/values.md"):
        assert (tmp_path / page).read_text() == (ROOT / page).read_text(), AGAIN


def test_every_value_is_explained() -> None:
    undocumented = re.findall(r"^\| ([\w.]+) \| .* \|\s+\|$", (CHART / "README.md").read_text(), re.MULTILINE)

    assert [] == undocumented


def test_the_schema_is_closed_and_knows_exactly_the_values() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def same(where: str, node: dict[str, Any], values: object) -> None:
        while "$ref" in node:
            node = schema["definitions"][node["$ref"].rpartition("/")[2]]
        if "properties" not in node:
            return
        # A chart around this one hands down what others want too.
        assert node["additionalProperties"] is (where == "/global"), where
        if isinstance(values, dict) and where != "/pools":
            unset = set(node["properties"]) - set(values) - {"claims"}
            assert not unset, f"{where}: {unset} have no default and no comment"
            for name, inner in node["properties"].items():
                same(f"{where}/{name}", inner, values.get(name))

    same("", schema, yaml.safe_load((CHART / "values.yaml").read_text()))


def test_the_chart_is_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert __version__ == chart["appVersion"] == chart["version"]
    for image in yaml.safe_load(chart["annotations"]["artifacthub.io/images"]):
        assert image["image"].endswith(f":{__version__}")
    listed = {one["name"] for one in yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])}
    assert listed == set(kind(render(), "CustomResourceDefinition"))
