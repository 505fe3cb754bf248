"""Linters look through what is rendered; whatever they find has its reason in a file below ``linters``."""

import fnmatch
import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from helm_chart import MATRIX, MONITORING, render, tool

RENDERED = ("default", "everything", "namespaced")
HTTP_ROUTE = "gateway.networking.k8s.io/v1/HTTPRoute"
LINTERS = ("checkov", "kube-score")
EXCUSED: dict[str, list[dict[str, Any]]] = {
    name: yaml.safe_load((Path(__file__).parent / f"linters/{name}.yaml").read_text()) for name in LINTERS
}


class Finding(NamedTuple):
    """What a linter would have otherwise."""

    check: str
    what: str
    """Kind/name of the object."""


def run(*command: object, status: int) -> Any:
    """The answer of a linter, in JSON; both tell by their exit status that something was found."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, done.stderr[-2000:]
    return json.loads(done.stdout)


def checkov(folder: Path) -> set[Finding]:
    """All that it says."""
    answer = run(tool("checkov") / "bin/python", "-m", "checkov.main", "--skip-download", "--framework=kubernetes",
                 f"--directory={folder}", "--compact", "--quiet", "--output=json", status=1)  # fmt: skip
    assert answer["summary"]["parsing_errors"] == 0, answer["summary"]
    assert answer["summary"]["passed"] > 1000, answer["summary"]
    found = set()
    for one in answer["results"]["failed_checks"]:
        kind, _, name, *_ = one["resource"].split(".")  # Deployment.demo.ls-api, and more behind it
        found.add(Finding(one["check_id"], f"{kind}/{name}"))
    return found


def kube_score(folder: Path) -> set[Finding]:
    """All that it says, with its optional checks, for the oldest Kubernetes that the chart allows."""
    program, perfect = tool("kube-score"), 10
    listed = subprocess.run([program, "list"], capture_output=True, text=True, check=True).stdout.splitlines()
    optional = [f"--enable-optional-test={line.partition(',')[0]}" for line in listed if line.endswith(",optional")]
    assert optional
    found, passed = set(), 0
    for file in folder.iterdir():  # one by one: they are installs of the same objects
        for item in run(
            program, "score", file, "--output-format=json", "--kubernetes-version=v1.31", *optional, status=1
        ):
            done = [one for one in item["checks"] if not one["skipped"]]
            bad = [one["check"]["id"] for one in done if one["grade"] < perfect]
            passed += len(done) - len(bad)
            found |= {Finding(check, f"{item['type_meta']['kind']}/{item['object_meta']['name']}") for check in bad}
    assert passed > 400, passed
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[Finding]]:
    """What each linter says."""
    folder = tmp_path_factory.mktemp("rendered")
    for name in RENDERED:
        # With the policies, which are off by default, and without the stranger's object, which has no namespace.
        values = MATRIX[name] | {"networkPolicy": {"enabled": True}, "extraObjects": []}
        objects = render(values, apis=[*MONITORING, HTTP_ROUTE])
        # As JSON: a plain `y` would be a text here and True for them.
        (folder / f"{name}.yaml").write_text("\n---\n".join(json.dumps(item) for item in objects))
    return {"checkov": checkov(folder), "kube-score": kube_score(folder)}


def excuses(excuse: dict[str, Any], finding: Finding) -> bool:
    return excuse["check"] == finding.check and any(
        fnmatch.fnmatch(finding.what, glob) for glob in excuse.get("of", ["*"])
    )


@pytest.mark.parametrize("linter", LINTERS)
def test_whatever_is_found_has_its_reason(found: dict[str, set[Finding]], linter: str) -> None:
    without = [one for one in sorted(found[linter]) if not any(excuses(excuse, one) for excuse in EXCUSED[linter])]

    assert [] == without


@pytest.mark.parametrize(
    ("linter", "excuse"),
    [pytest.param(linter, excuse, id=excuse["check"]) for linter in LINTERS for excuse in EXCUSED[linter]],
)
def test_no_reason_is_left_over(found: dict[str, set[Finding]], linter: str, excuse: dict[str, Any]) -> None:
    assert excuse["reason"].endswith(".")
    needed = [finding.what for finding in found[linter] if finding.check == excuse["check"]]
    unused = [glob for glob in excuse.get("of", ["*"]) if not fnmatch.filter(needed, glob)]

    assert [] == unused
