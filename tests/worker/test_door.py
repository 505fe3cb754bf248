"""Who may come in, and what is refused how."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from longshore.api import openapi_worker
from longshore.api.app import create_worker
from longshore.apps import Apps
from longshore.settings import Settings
from longshore.store.worker import WorkerAttempts
from worker_service import TOKEN, Worker

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("path", ["/v1/attempts", "/v1/status", "/v1/handlers", "/v1/workers", "/openapi.json", "/"])
def test_only_the_operator_comes_in(worker: Worker, path: str) -> None:
    for token in ("", "wrong", TOKEN[:-1], TOKEN + "x"):
        assert worker.ask("GET", path, token=token).status == 401
    assert worker.ask("GET", path).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_what_watches_a_worker_needs_no_token(worker: Worker, path: str) -> None:
    assert worker.request("GET", path).status == 200


def test_tokens_rotate_without_a_restart(worker: Worker) -> None:
    def status(token: str) -> int:
        return worker.ask("GET", "/v1/attempts", token=token).status

    try:
        worker.tokens.write_text(f"{TOKEN}\nthe-next-one\n")
        assert [200, 200, 401] == [status(TOKEN), status("the-next-one"), status("another")]
        worker.tokens.write_text("the-next-one")
        assert [401, 200] == [status(TOKEN), status("the-next-one")]
    finally:
        worker.tokens.write_text(TOKEN)


@pytest.mark.parametrize("text", ["", " \n", "a b c", None, b"\xff\xfe"])
def test_without_tokens_nobody_comes_in(worker: Worker, text: str | bytes | None) -> None:
    worker.tokens.unlink()
    try:
        if text is not None:
            worker.tokens.write_bytes(text if isinstance(text, bytes) else text.encode())
        for token in ("", TOKEN, "a"):
            answer = worker.ask("POST", "/v1/attempts", {"version": 1, "attempts": [worker.attempt()]}, token=token)
            assert answer.status == 503
            assert answer.headers["Content-Type"] == "application/problem+json"
        assert worker.request("GET", "/livez").status == 200
    finally:
        worker.tokens.write_text(TOKEN)


def test_jobs_are_sent_to_the_api(worker: Worker) -> None:
    for method, path in (("POST", "/v1/jobs"), ("POST", "/v1/jobs:batch"), ("GET", "/v1/jobs/a-job")):
        answer = worker.request(method, path, {"handler": "echo"} if method == "POST" else None)
        assert (answer.status, answer.headers["Content-Type"]) == (421, "application/problem+json")
        assert "https://jobs.example" in answer.json()["detail"]


GOOD: dict[str, Any] = {"uid": "u", "job": "a-job", "namespace": "default", "number": 1, "handler": "echo"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"attempts": [GOOD]}, "/version"),
        ({"version": 1}, "/attempts"),
        ({"version": 1, "attempts": []}, "/attempts"),
        ({"version": 1, "attempts": [GOOD] * 101}, "/attempts"),
        ({"version": 1, "attempts": [GOOD], "more": 1}, "/more"),
        ({"version": 1, "attempts": [GOOD, {**GOOD, "uid": "../x"}]}, "/attempts/1/uid"),
        ({"version": 1, "attempts": [{**GOOD, "number": 0}]}, "/attempts/0/number"),
        ({"version": 1, "attempts": [{**GOOD, "number": "1"}]}, "/attempts/0/number"),
        ({"version": 1, "attempts": [{**GOOD, "number": 10**12}]}, "/attempts/0/number"),
        ({"version": 1, "attempts": [{**GOOD, "index": -1}]}, "/attempts/0/index"),
        ({"version": 1, "attempts": [{**GOOD, "handler": None}]}, "/attempts/0"),
        ({"version": 1, "attempts": [{**GOOD, "command": ["true"]}]}, "/attempts/0"),
        ({"version": 1, "attempts": [{**GOOD, "runner": "command"}]}, "/attempts/0"),
        ({"version": 1, "attempts": [{**GOOD, "args": []}]}, "/attempts/0/args"),
        ({"version": 1, "attempts": [{**GOOD, "args": {"x": "y" * 600_000}}]}, "/attempts/0/args"),
        ({"version": 1, "attempts": [{**GOOD, "timeoutSeconds": 0}]}, "/attempts/0/timeoutSeconds"),
        ({"version": 1, "attempts": [{**GOOD, "timeout_seconds": 5}]}, "/attempts/0/timeout_seconds"),
        ({"version": 1, "attempts": [{**GOOD, "memoryBytes": "1Gi"}]}, "/attempts/0/memoryBytes"),
        ({"version": 1, "attempts": [{**GOOD, "traceparent": "zz"}]}, "/attempts/0/traceparent"),
        ({"version": 1, "attempts": [{**GOOD, "cpu": 2}]}, "/attempts/0/cpu"),
    ],
)
def test_a_wrong_body_names_the_field_and_starts_nothing(worker: Worker, body: object, pointer: str) -> None:
    answer = worker.ask("POST", "/v1/attempts", body)

    assert answer.status == 422, answer.body
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert worker.poll().running == ()


def test_another_version_is_refused_with_the_one_that_is_spoken(worker: Worker) -> None:
    answer = worker.ask("POST", "/v1/attempts", {"version": 2, "batches": "something else"})

    assert (answer.status, answer.json()["type"]) == (400, "/problems/unsupported-version")
    assert "version 1" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/attempts?after=nonsense", 422),
        ("GET", "/v1/attempts?after=0123abcd:99999999999999999", 422),
        ("GET", "/v1/attempts?wait=-1", 422),
        ("GET", "/v1/attempts?since=5", 422),
        ("GET", "/v1/attempts?after=0123abcd:5", 200),
        ("DELETE", "/v1/attempts/u/1", 404),
        ("DELETE", "/v1/attempts/u/99999999999999999999", 404),
        ("DELETE", "/v1/attempts/u/one", 404),
        ("DELETE", "/v1/attempts/u/1?graceSeconds=nan", 422),
        ("DELETE", "/v1/attempts/u/1?graceSeconds=soon", 422),
        ("DELETE", "/v1/attempts/u/1?index=x", 422),
        ("GET", "/v1/attempts/u/1/logs", 410),
        ("GET", "/v1/attempts/u/1/logs?offset=x", 422),
        ("PUT", "/v1/attempts", 405),
        ("GET", "/v1/queues", 404),
    ],
)
def test_odd_requests_are_answered_with_sense(worker: Worker, method: str, path: str, status: int) -> None:
    assert worker.ask(method, path).status == status


def test_a_body_that_is_no_json_is_refused(worker: Worker) -> None:
    headers = {"Content-Type": "application/json"}
    assert worker.ask("POST", "/v1/attempts", raw=b"{", headers=headers).status == 400
    assert worker.ask("POST", "/v1/attempts", raw=b"[1]", headers=headers).status == 422
    assert worker.ask("POST", "/v1/attempts", raw=b"{}", headers={"Content-Type": "text/plain"}).status == 415


def test_the_document_is_valid_committed_and_served(worker: Worker) -> None:
    validate(openapi_worker.document())
    committed = (ROOT / "docs" / "openapi-worker.json").read_bytes()

    assert openapi_worker.text() == committed, "make generate rewrites it"
    assert committed == worker.ask("GET", "/openapi.json").body


def test_every_route_is_in_the_document_and_the_other_way_round(tmp_path: Path) -> None:
    settings = Settings(worker_tokens_file=tmp_path / "tokens")
    app = create_worker(WorkerAttempts("/nowhere"), settings, Apps({}, {}, ()))
    rules = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    documented = {(path, method) for path, methods in openapi_worker.document()["paths"].items() for method in methods}

    assert rules == documented


def test_a_worker_keeps_to_its_document_under_fuzzing(start_worker: Callable[..., Worker]) -> None:
    """All checks on generated requests, fixed seed, bounded; runs the tool as its users do."""
    worker = start_worker()
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", str(ROOT / "docs" / "openapi-worker.json"), "--url", worker.url,
        "-H", f"Authorization: Bearer {TOKEN}", "--seed", "7", "--max-examples", "25", "--workers", "1",
        "--phases", "examples,coverage,fuzzing", "--request-timeout", "40", "--generation-database", "none",
        # Drained on purpose, the worker is not ready, which the checks take for a broken one.
        "--exclude-operation-id", "drain", "--exclude-operation-id", "reload",
        # What a handler takes cannot be said in a schema; and a command is more than a list of words.
        "--exclude-checks", "positive_data_acceptance,unsupported_method,ignored_auth",
    ]  # fmt: skip
    found = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    (ROOT / ".build").mkdir(exist_ok=True)
    (ROOT / ".build" / "schemathesis-worker.txt").write_text(found.stdout + found.stderr)

    assert 0 == found.returncode, (found.stdout + found.stderr)[-6000:]
    assert worker.run().outcome == "succeeded"


@pytest.mark.parametrize(
    ("role", "options", "says"),
    [
        ("worker", {}, "worker_tokens_file"),
        ("serve", {"LONGSHORE_WORKER_TOKENS_FILE": "tokens", "LONGSHORE_HOST": "0.0.0.0"}, "worker_tokens_file"),
        ("worker", {"LONGSHORE_WORKER_TOKENS_FILE": "tokens", "LONGSHORE_APPS": "no_such_module"}, "no_such_module"),
    ],
)
def test_a_start_that_would_be_open_or_useless_is_refused(
    tmp_path: Path, role: str, options: dict[str, str], says: str
) -> None:
    environment = {
        "PATH": "/usr/bin",
        "PYTHONPATH": ":".join(sys.path),
        "LONGSHORE_PORT": "0",
        "LONGSHORE_PROBE_PORT": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "longshore", role], env=environment | options, cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert says in done.stderr


def test_a_closed_terminal_drains_a_worker(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "hung-up", {"slots": 1})
    try:
        worker.start()
        os.kill(worker.pid, signal.SIGHUP)
        assert 0 == worker.wait_end(), "it was killed by the signal"
    finally:
        worker.end()
