"""The OpenAPI document in the hands of other people's tools: linters with their own rules, generators of clients.

scripts/openapi-tools installs them. What is generated is compiled with strict types and then talks to a live service.
"""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from service import Service

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
DOCUMENTS = ("docs/openapi.json", "docs/openapi-worker.json")


@functools.cache
def tools() -> Path:
    """Where scripts/openapi-tools has put them; a loud skip without them, under CI a failure."""
    done = subprocess.run([ROOT / "scripts/openapi-tools", "--there"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Path(done.stdout.strip())
    if os.environ.get("CI") == "true":
        pytest.fail(done.stderr)
    pytest.skip(done.stderr)


def run(*words: object, cwd: Path = ROOT) -> str:
    """What a program prints, which has to end well. Asks nobody outside of this machine for anything."""
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env={**os.environ, **quiet, "PATH": f"{tools() / 'bin'}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def node(program: str, *words: object, cwd: Path = ROOT) -> str:
    """The same of a program of node_modules."""
    return run(tools() / "node", (tools() / "node_modules/.bin" / program).resolve(), *words, cwd=cwd)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_redocly_has_no_objection_by_its_default_rules(document: str) -> None:
    found = json.loads(node("redocly", "lint", document, "--format=json"))

    assert (0, 0) == (found["totals"]["errors"], found["totals"]["warnings"]), found["problems"]


def test_spectral_has_no_error_by_its_default_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text('extends: ["spectral:oas"]\n')
    found = json.loads(
        node("spectral", "lint", *DOCUMENTS, "--ruleset", tmp_path / "rules.yaml", "--format", "json", "--quiet")
    )

    # Two rules warn of what the document leaves out on purpose: a person to write to, and a second sentence per operation.
    assert {"info-contact", "operation-description"} >= {one["code"] for one in found}
    assert [] == [one for one in found if one["severity"] == 0]


def test_a_typescript_caller_compiles_with_strict_types_and_talks_to_a_service(
    shared_service: Service, tmp_path: Path
) -> None:
    for file in (HERE / "typescript").iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}\n')
    (tmp_path / "node_modules").symlink_to(tools() / "node_modules")

    node("openapi-typescript", ROOT / DOCUMENTS[0], "--output", tmp_path / "schema.ts")
    node("tsc", "--project", tmp_path)
    said = json.loads(run(tools() / "node", tmp_path / "built/use.js", shared_service.url, cwd=tmp_path))

    assert {
        "phase": "Succeeded", "result": {"x": 1}, "detail": "/handler", "found": True,
        "lines": ["submitted", "attempt 1", "succeeded"], "slots": 2, "batch": 2, "concurrency": 4,
    } == said  # fmt: skip
    shared_service.request("PATCH", "/v1/queues/default", {"concurrency": None})


def test_a_generated_python_client_has_types_for_events_and_talks_to_a_service(
    shared_service: Service, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.yaml"
    # Its own formatter is not asked: what is generated is read by nobody.
    settings.write_text("package_name_override: longshore_api_client\npost_hooks: []\n")
    python = tools() / "bin/python"
    run(python, "-m", "openapi_python_client", "generate", "--path", ROOT / DOCUMENTS[0], "--meta", "none",
        "--config", settings, "--output-path", tmp_path / "longshore_api_client")  # fmt: skip
    shutil.copy(HERE / "generated_client.py", tmp_path)

    said = json.loads(run(python, tmp_path / "generated_client.py", shared_service.url, cwd=tmp_path))

    assert {
        "phase": "Succeeded", "result": {"x": 1}, "types": ["submitted", "started", "succeeded"], "attempts": [1],
        "ended": 1, "refused": 422, "count": 1, "slots": [2], "echo": ["slot"],
    } == said  # fmt: skip
