"""The OpenAPI document as others read it: generators of clients, linters, and a reader of types.

What the linters (redocly, spectral) and the generators object to is a rule here as well, so that it is found without them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from longshore.api import openapi, openapi_worker
from longshore.api.openapi_events import EVENT_DATA
from longshore.job.spec import Submission
from service import Service

ROOT = Path(__file__).parent.parent.parent
API = openapi.document()
DOCUMENTS = pytest.mark.parametrize("document", [API, openapi_worker.document()], ids=["api", "worker"])
METHODS = ("get", "put", "post", "patch", "delete")


def schemas(value: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything that may be a schema, at any depth, with where it stands."""
    if isinstance(value, dict):
        if not path.endswith(("/properties", "/example", "/mapping")):
            yield path, value
        for name, one in value.items():
            yield from schemas(one, f"{path}/{name}")
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from schemas(one, f"{path}/{place}")


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation by method and path."""
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            assert method in METHODS
            yield f"{method} {path}", one


@DOCUMENTS
def test_no_field_has_a_default_that_a_generator_takes_for_a_promise(document: dict[str, Any]) -> None:
    assert [] == [path for path, schema in schemas(document) if "default" in schema]


def test_defaults_are_told_in_words() -> None:
    told = API["components"]["schemas"]
    assert "Defaults to `0`." in told["Submission"]["properties"]["priority"]["description"]
    assert 'Defaults to `"default"`.' in told["JobSpec"]["properties"]["queue"]["description"]
    assert "Defaults to `2.0`." in told["Retry"]["properties"]["factor"]["description"]


def test_nothing_of_a_submit_is_compulsory() -> None:
    told = API["components"]["schemas"]["Submission"]

    assert [] == told.get("required", [])
    assert {field.alias for field in Submission.model_fields.values()} == set(told["properties"])


@DOCUMENTS
def test_every_object_says_what_is_in_it(document: dict[str, Any]) -> None:
    untyped = [
        path
        for path, schema in schemas(document)
        if schema.get("type") == "object" and not {"properties", "additionalProperties"} & set(schema)
    ]

    assert [] == untyped


@DOCUMENTS
def test_no_part_of_a_union_is_anything_at_all(document: dict[str, Any]) -> None:
    unions = [
        (path, schema[word]) for path, schema in schemas(document) for word in ("anyOf", "oneOf") if word in schema
    ]

    assert unions
    assert [] == [path for path, parts in unions if {} in parts]


@DOCUMENTS
def test_every_operation_has_a_name_a_tag_a_sentence_and_a_refusal(document: dict[str, Any]) -> None:
    names = [one["operationId"] for _, one in operations(document)]
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}

    assert len(names) == len(set(names))
    assert tags == {tag for _, one in operations(document) for tag in one["tags"]}
    for where, one in operations(document):
        assert one["summary"].endswith("."), where
        answers = one["responses"]
        assert any(status.startswith("4") for status in answers), where
        for status, answer in answers.items():
            assert answer["description"], (where, status)
            if status[0] in "45":
                assert {"application/problem+json"} == set(answer["content"]), (where, status)
        for parameter in one.get("parameters", ()):
            assert parameter["description"], (where, parameter["name"])


@DOCUMENTS
def test_no_path_ends_in_a_slash_and_each_names_its_parameters(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        assert path == "/" or not path.endswith("/")
        for one in methods.values():
            named = {parameter["name"] for parameter in one.get("parameters", ()) if parameter["in"] == "path"}
            assert all("{" + name + "}" in path for name in named)
            assert path.count("{") == len(named)


@DOCUMENTS
def test_every_schema_is_used_and_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    there = document["components"]["schemas"]
    referred = {schema["$ref"].rpartition("/")[2] for _, schema in schemas(document) if "$ref" in schema}

    assert referred == set(there)


def test_events_are_a_union_that_their_type_decides() -> None:
    told = API["components"]["schemas"]
    union = told["Event"]
    mapping = union["discriminator"]["mapping"]

    assert "type" == union["discriminator"]["propertyName"]
    assert set(EVENT_DATA) == set(mapping)
    assert [{"$ref": one} for one in mapping.values()] == union["oneOf"]
    for kind, one in mapping.items():
        assert kind == told[one.rpartition("/")[2]]["properties"]["type"]["const"]


def test_the_page_about_the_api_names_the_same_events() -> None:
    text = (ROOT / "docs" / "http-api.md").read_text()

    assert [] == [kind for kind in EVENT_DATA if f"`{kind}`" not in text]


def unfit(name: str, answer: object) -> list[str]:
    """What in the answer the schema of that name does not allow, and which of its fields the schema does not have."""
    checked = Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": API["components"]})
    wrong = [f"{error.json_path}: {error.message}" for error in checked.iter_errors(answer)]
    properties = API["components"]["schemas"][name].get("properties", {})
    more = set(answer) - set(properties) if isinstance(answer, dict) and properties else set()
    return wrong + [f"{field} is in no schema" for field in more]


def test_what_the_service_says_of_itself_fits_its_types(shared_service: Service) -> None:
    shared_service.request("POST", "/v1/jobs", {"handler": "sleep", "args": {"seconds": 0.5}})
    schedule = {"cron": "@yearly", "jobTemplate": {"spec": {"handler": "echo"}}}
    shared_service.request("PUT", "/v1/schedules/typed", schedule)
    shared_service.request("POST", "/v1/schedules/typed:trigger")
    for path, name in (
        ("/v1", "Links"), ("/v1/handlers", "HandlerList"), ("/v1/workers", "WorkerList"), ("/v1/queues", "QueueList"),
        ("/v1/queues/default", "Queue"), ("/v1/status", "ServiceStatus"), ("/v1/status/details", "ServiceStatus"),
        ("/livez", "Liveness"), ("/readyz", "Health"), ("/healthz", "Health"), ("/v1/jobs:count", "JobCounts"),
        ("/v1/schedules", "SchedulePage"), ("/v1/schedules/typed", "Schedule"),
    ):  # fmt: skip
        answer = shared_service.request("GET", path).json()
        assert [] == unfit(name, answer), path
        for one in answer["items"] if name in ("WorkerList", "QueueList") else ():
            assert [] == unfit({"WorkerList": "WorkerInfo", "QueueList": "Queue"}[name], one), path
        for attempt in answer.get("running", ()) if name == "ServiceStatus" else ():
            assert [] == unfit("RunningAttempt", attempt)


def test_every_event_of_a_service_fits_the_type_that_it_names(shared_service: Service) -> None:
    client = shared_service.client()
    jobs = [
        client.submit(
            {"handler": "fail", "args": {"times": 2}, "maxRetries": 1, "retry": {"initialSeconds": 0.01}}, wait=10
        ),
        client.submit({"handler": "fail", "items": [{"times": 0}, {"times": 1}]}, wait=10),
        client.submit({"handler": "echo", "startAfter": "2999-01-01T00:00:00Z"}),
    ]
    client.redrive(jobs[0]["id"])
    client.suspend(jobs[2]["id"])
    client.resume(jobs[2]["id"])
    client.cancel(jobs[2]["id"])
    client.wait(jobs[0]["id"], timeout=10)
    found = [
        event for job in jobs for event in shared_service.request("GET", f"/v1/jobs/{job['id']}/events").json()["items"]
    ]
    told = API["components"]["schemas"]["Event"]["discriminator"]["mapping"]

    kinds = {event["type"] for event in found}
    assert {"submitted", "started", "retrying", "failed", "redriven", "item-succeeded", "item-failed", "suspended",
            "resumed", "cancelled"} <= kinds  # fmt: skip
    for event in found:
        assert [] == unfit(told[event["type"]].rpartition("/")[2], event)
        assert [] == unfit(EVENT_DATA[event["type"]].__name__, event["data"])
        assert [] == unfit("Event", event)


@pytest.mark.parametrize("kind", [{}, [], ["Queue"], None, 7])
def test_a_manifest_of_a_kind_that_is_no_text_is_refused(shared_service: Service, kind: object) -> None:
    answer = shared_service.request(
        "POST", "/v1/jobs", {"apiVersion": "longshore.dev/v1alpha1", "kind": kind, "spec": {}}
    )

    assert (422, "/kind") == (answer.status, answer.json()["errors"][0]["pointer"])


@pytest.mark.parametrize("query", ["limit=1001", "limit=0", "after=-2", "after=x"])
def test_a_page_that_the_document_does_not_allow_is_refused_for_a_job_without_items(
    shared_service: Service, query: str
) -> None:
    job = shared_service.client().submit({"handler": "echo"}, wait=10)

    assert 422 == shared_service.request("GET", f"/v1/jobs/{job['id']}/result?{query}").status
