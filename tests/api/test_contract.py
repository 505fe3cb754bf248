"""The published document, the page that shows it, the metrics: held against the real service."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from helm_chart import promtool
from longshore.api import openapi, openapi_worker
from longshore.api.app import create_app
from longshore.apps import Apps
from longshore.errors import AppError
from longshore.job.status import Outcome
from longshore.settings import Settings
from longshore.store.local import LocalStore
from service import Service

ROOT = Path(__file__).parent.parent.parent


def test_the_committed_document_is_the_one_that_is_served(shared_service: Service) -> None:
    committed = (ROOT / "docs" / "openapi.json").read_bytes()

    assert openapi.text() == committed, "make generate rewrites it"
    assert committed == shared_service.request("GET", "/openapi.json").body


def test_the_document_is_valid() -> None:
    validate(openapi.document())


def keys(value: object) -> set[str]:
    """All keys at any depth."""
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("document", [openapi.document, openapi_worker.document])
def test_bounds_have_the_names_of_json_schema(document: Callable[[], object]) -> None:
    assert {"minimum", "maximum"} <= keys(document())
    assert set() == {"ge", "gt", "le", "lt"} & keys(document())


def test_what_has_a_namespace_takes_one(shared_service: Service) -> None:
    taking = {
        path
        for path, methods in openapi.document()["paths"].items()
        if any(one["name"] == "namespace" for one in methods.get("get", {}).get("parameters", ()))
    }
    schedule = {"cron": "@yearly", "jobTemplate": {"spec": {"handler": "echo"}}}
    shared_service.request("PUT", "/v1/schedules/default", schedule)
    job = shared_service.request("POST", "/v1/jobs", {"handler": "echo"}, headers={"Prefer": "wait=5"}).json()["id"]

    assert {"/v1/jobs", "/v1/jobs/{id}", "/v1/jobs/{id}/logs", "/v1/events", "/v1/queues/{name}"} <= taking
    for path in taking:
        there = path.replace("{id}", job).replace("{name}", "default") + "?namespace="
        assert 200 == shared_service.request("GET", there + "default").status, path
        answer = shared_service.request("GET", there + "elsewhere")
        assert (422, "namespace") == (answer.status, answer.json()["errors"][0]["parameter"]), path


def application(apps: Apps | None = None) -> Any:
    store = LocalStore("/nowhere", "/nowhere")
    return create_app(store, Settings(), apps or Apps({}, {}, ()))


def test_every_route_is_in_the_document_and_the_other_way_round() -> None:
    rules = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in application().url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    documented = {(path, method) for path, methods in openapi.document()["paths"].items() for method in methods}

    assert rules == documented


@pytest.mark.parametrize("route", ["/v1/jobs", "/metrics", "/docs/x", "/v1/mine", "/<anything>"])
def test_an_application_cannot_take_our_routes(route: str) -> None:
    from flask import Blueprint

    blueprint = Blueprint("mine", __name__)
    blueprint.add_url_rule(route, view_func=lambda **_: "mine", endpoint="mine")
    with pytest.raises(AppError, match="reserved"):
        application(Apps({}, {}, (("some_module", blueprint),)))


def test_the_page_shows_the_api_in_a_real_browser(
    shared_service: Service, program: Callable[[str], None], tmp_path: Path
) -> None:
    program("chromium")
    page = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path}", "--virtual-time-budget=15000", "--dump-dom", f"{shared_service.url}/docs",
        ],
        capture_output=True, text=True, timeout=90, check=True,
    ).stdout  # fmt: skip

    assert "submitJob" in page
    assert "Take a job." in page
    own = shared_service.request("GET", "/docs")
    assert "default-src 'self'" in own.headers["Content-Security-Policy"]
    assert not re.search(r"(src|href)=\"(https?:)?//", own.body.decode())


def test_metrics_are_well_formed(shared_service: Service) -> None:
    shared_service.request("POST", "/v1/jobs", {"handler": "echo"}, headers={"Prefer": "wait=5"})
    text = shared_service.request("GET", "/metrics").body
    checked = promtool("check", "metrics", given=text)

    # The exporter names one of its own metrics against the conventions; everything else is ours to keep clean.
    said = [line for line in (checked.stdout + checked.stderr).splitlines() if line and "flask_exporter" not in line]
    assert [] == said


def test_every_series_is_there_from_the_start_and_labels_stay_few(start_service: Callable[..., Service]) -> None:
    service = start_service()
    text = service.request("GET", "/metrics").body.decode()
    for handler in ("echo", "primes"):
        for outcome in Outcome:
            assert f'longshore_jobs_finished_total{{handler="{handler}",outcome="{outcome}"}} 0.0' in text
    before = set(re.findall(r"^([a-z_]+\{[^}]*\})", text, re.M))
    for n in range(20):
        service.request("GET", f"/v1/jobs/no-such-{n}")
        service.request("GET", f"/nowhere/{n}")
    after = set(re.findall(r"^([a-z_]+\{[^}]*\})", service.request("GET", "/metrics").body.decode(), re.M))
    assert len(after - before) < 45, "a metric has a label without bounds"


def test_openmetrics_carries_the_trace_as_an_exemplar(shared_service: Service) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "Prefer": "wait=5"}
    job = shared_service.request("POST", "/v1/jobs", {"handler": "context"}, headers=headers).json()
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    text = shared_service.request("GET", "/metrics", headers=accept).body.decode()
    exemplars = [
        sample.exemplar.labels
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name == "longshore_job_run_seconds" and sample.exemplar
    ]

    assert {"trace_id": trace} in exemplars
    assert trace in job["status"]["result"]["traceparent"]


def test_a_dead_engine_is_a_metric_and_not_a_failed_scrape() -> None:
    answer = application().test_client().get("/metrics", headers={"Host": "127.0.0.1"})

    assert (200, True) == (answer.status_code, b"longshore_engine_up 0.0" in answer.data)
    assert application().test_client().get("/readyz", headers={"Host": "127.0.0.1"}).status_code == 503


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    service = Service(tmp_path_factory.mktemp("fuzzed"), {"apps": "longshore_samples.echo", "slots": 2})
    service.start()
    yield service
    service.end()


@pytest.mark.timeout(620)  # four thousand requests
def test_the_service_keeps_to_its_document_under_fuzzing(fuzzed: Service) -> None:
    """All checks on generated requests, fixed seed, bounded; runs the tool as its users do."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{fuzzed.url}/openapi.json", "--seed", "7", "--max-examples", "25", "--workers", "1",
        "--phases", "examples,coverage,fuzzing,stateful", "--request-timeout", "40", "--generation-database", "none",
        # Drained on purpose, the service answers 503 to all that follows; streams hold a place for minutes by design.
        "--exclude-operation-id", "drain", "--exclude-operation-id", "reload", "--exclude-operation-id", "getEvents", "--exclude-operation-id", "getJobEvents",
        # What a queue, an id or a token is cannot be said in a schema: positive data may well be refused.
        "--exclude-checks", "positive_data_acceptance,unsupported_method,ignored_auth",
    ]  # fmt: skip
    found = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    (ROOT / ".build").mkdir(exist_ok=True)
    (ROOT / ".build" / "schemathesis.txt").write_text(found.stdout)

    assert 0 == found.returncode, found.stdout[-6000:]
