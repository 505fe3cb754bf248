"""checkov looks through what is rendered; whatever it finds has its reason in checkov.yaml."""

import fnmatch
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm_chart import MATRIX, MONITORING, render, tool

RENDERED = ("default", "everything", "namespaced")
HTTP_ROUTE = "gateway.networking.k8s.io/v1/HTTPRoute"
EXCUSED: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "checkov.yaml").read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str, str]]:
    """(check, what it is about, kind/name) of everything that checkov would have otherwise."""
    folder = tmp_path_factory.mktemp("rendered")
    for name in RENDERED:
        # With the policies, which are off by default, and without the stranger's object, which has no namespace.
        values = MATRIX[name] | {"networkPolicy": {"enabled": True}, "extraObjects": []}
        objects = render(values, apis=[*MONITORING, HTTP_ROUTE])
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
    done = subprocess.run(
        [tool("checkov") / "bin/python", "-m", "checkov.main", "--skip-download", "--framework=kubernetes",
         f"--directory={folder}", "--compact", "--quiet", "--output=json"],
        capture_output=True, text=True, timeout=120, check=False, cwd=folder,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert answer["summary"]["parsing_errors"] == 0, done.stdout[-2000:]
    assert answer["summary"]["passed"] > 1000, answer["summary"]
    return {(one["check_id"], one["check_name"], short(one["resource"])) for one in answer["results"]["failed_checks"]}


def short(resource: str) -> str:
    """``Deployment/ls-api`` of ``Deployment.demo.ls-api``, whatever more comes behind."""
    kind, _, name, *_ = resource.split(".")
    return f"{kind}/{name}"


def excuses(excuse: dict[str, Any], check: str, what: str) -> bool:
    return excuse["check"] == check and any(fnmatch.fnmatch(what, glob) for glob in excuse.get("of", ["*"]))


def test_whatever_checkov_finds_has_its_reason(found: set[tuple[str, str, str]]) -> None:
    assert [] == [one for one in sorted(found) if not any(excuses(excuse, one[0], one[2]) for excuse in EXCUSED)]


@pytest.mark.parametrize("excuse", EXCUSED, ids=lambda excuse: excuse["check"])
def test_no_reason_is_left_over(found: set[tuple[str, str, str]], excuse: dict[str, Any]) -> None:
    assert excuse["reason"].endswith(".")
    needed = [what for check, _, what in found if check == excuse["check"]]
    unused = [glob for glob in excuse.get("of", ["*"]) if not fnmatch.filter(needed, glob)]

    assert [] == unused
