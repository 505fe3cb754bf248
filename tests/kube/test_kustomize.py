"""manifests/ as kustomize takes it, in a namespace of the user's."""

import json
import subprocess
from pathlib import Path

import yaml

from helm_chart import ROOT, kind, parse, pods


def test_a_namespace_of_kustomize_s_moves_everything(kube_tools: Path, tmp_path: Path) -> None:
    (tmp_path / "base").symlink_to(ROOT / "manifests")
    overlay = {"namespace": "elsewhere", "resources": ["base"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    done = subprocess.run(
        [kube_tools / "kubectl", "kustomize", "--load-restrictor=LoadRestrictionsNone", tmp_path],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    objects = parse(done.stdout)

    assert [] == [one for one in objects if one["metadata"].get("namespace") == "longshore"]
    for one in objects:
        for subject in one.get("subjects", ()):
            assert "elsewhere" == subject["namespace"], one["metadata"]["name"]
    for name, pod in pods(objects).items():
        variables = {one["name"]: one for one in pod["spec"]["containers"][0].get("env", ())}
        moved = [one for one in variables.values() if "longshore." in json.dumps(one.get("value", ""))]
        assert [] == moved, name
        for variable in ("LONGSHORE_OPERATOR_LEASE_NAMESPACE", "LONGSHORE_NAMESPACE"):
            if variable in variables:
                assert "metadata.namespace" == variables[variable]["valueFrom"]["fieldRef"]["fieldPath"], name
    assert "http://longshore-api.$(POD_NAMESPACE):80" in done.stdout
    assert 3 == len(kind(objects, "CustomResourceDefinition"))
