"""Schedules over HTTP, on a real service: made, read, changed, paused, triggered, deleted."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from service import Answer, Service

NIGHTLY = {
    "name": "nightly",
    "cron": "0 3 * * *",
    "timeZone": "Europe/Berlin",
    "jobTemplate": {"spec": {"handler": "echo"}},
}


def make(service: Service, **fields: object) -> Answer:
    return service.request("POST", "/v1/schedules", {**NIGHTLY, **fields})


def test_a_schedule_is_made_read_and_deleted(shared_service: Service) -> None:
    made = make(shared_service, name="whole", labels={"team": "a"})
    assert (201, "/v1/schedules/whole") == (made.status, made.headers["Location"])
    assert 200 == make(shared_service, name="whole", labels={"team": "a"}).status
    assert 409 == make(shared_service, name="whole", cron="0 4 * * *").status
    found = shared_service.request("GET", "/v1/schedules/whole?next=3")
    times = [datetime.fromisoformat(text) for text in found.json()["nextTimes"]]
    assert 3 == len(times)
    assert all(time > datetime.now(UTC) for time in times)
    same = {"If-None-Match": found.headers["ETag"]}
    assert 304 == shared_service.request("GET", "/v1/schedules/whole?next=3", headers=same).status
    assert 204 == shared_service.request("DELETE", "/v1/schedules/whole").status
    assert 404 == shared_service.request("GET", "/v1/schedules/whole").status


def test_a_list_has_pages_by_name(shared_service: Service) -> None:
    for name in ("p-1", "p-2", "p-3"):
        make(shared_service, name=name)
    names, cursor = list[str](), ""
    while True:
        page = shared_service.request("GET", f"/v1/schedules?limit=2&cursor={cursor}").json()
        names += [found["name"] for found in page["items"]]
        if not (cursor := page["nextCursor"]):
            break

    assert names == sorted(names)
    assert {"p-1", "p-2", "p-3"} <= set(names)


def test_a_replacement_is_whole_and_conditional(shared_service: Service) -> None:
    tag = make(shared_service, name="changed").headers["ETag"]
    other = {"cron": "@hourly", "jobTemplate": {"spec": {"handler": "echo", "args": {"x": 1}}}}
    done = shared_service.request("PUT", "/v1/schedules/changed", other, headers={"If-Match": tag})
    late = shared_service.request(
        "PUT", "/v1/schedules/changed", NIGHTLY | {"name": "changed"}, headers={"If-Match": tag}
    )

    assert (200, other) == (done.status, done.json()["spec"])
    assert 412 == late.status
    new = {"If-None-Match": "*"}
    assert 412 == shared_service.request("PUT", "/v1/schedules/changed", other, headers=new).status
    assert 201 == shared_service.request("PUT", "/v1/schedules/brand-new", other, headers=new).status


def test_a_pause_and_a_trigger(shared_service: Service) -> None:
    make(shared_service, name="steered")
    paused = shared_service.request("POST", "/v1/schedules/steered:pause").json()
    assert (True, []) == (paused["spec"]["suspend"], paused["nextTimes"])
    key = {"Idempotency-Key": "once"}
    first = shared_service.request("POST", "/v1/schedules/steered:trigger", headers=key)
    again = shared_service.request("POST", "/v1/schedules/steered:trigger", headers=key)
    assert (202, first.json()["id"]) == (first.status, again.json()["id"])
    ended = shared_service.request("GET", f"/v1/jobs/{first.json()['id']}?wait=20").json()
    assert "Succeeded" == ended["status"]["phase"]
    assert "steered" == ended["labels"]["longshore.dev/schedule"]
    assert shared_service.request("POST", "/v1/schedules/steered:resume").json()["nextTimes"]


def test_a_manifest_is_taken_as_yaml(shared_service: Service) -> None:
    text = (Path(__file__).parent.parent.parent / "manifests" / "examples" / "schedule.yaml").read_text()
    text = text.replace("handler: ", "handler: echo #")
    answer = shared_service.request(
        "POST", "/v1/schedules", raw=text.encode(), headers={"Content-Type": "application/yaml"}
    )

    assert answer.status in (201, 422), answer.body  # what its handler takes is another's affair
    job = {"apiVersion": "longshore.dev/v1alpha1", "kind": "Schedule", "metadata": {"name": "x"}, "spec": {}}
    assert "/v1/schedules" in shared_service.request("POST", "/v1/jobs", job).json()["detail"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"cron": "0 25 * * *"}, "/cron"),
        ({"timeZone": "Mars/Olympus"}, "/timeZone"),
        ({"name": "No Name"}, "/name"),
        ({"jobTemplate": {"spec": {"handler": "never-heard-of"}}}, "/jobTemplate/spec/handler"),
        ({"jobTemplate": {"spec": {"handler": "echo", "queue": "nowhere"}}}, "/jobTemplate/spec/queue"),
        ({"jobTemplate": {}}, "/jobTemplate/spec"),
        ({"startingDeadlineSeconds": -1}, "/startingDeadlineSeconds"),
        ({"concurrencyPolicy": "Perhaps"}, "/concurrencyPolicy"),
        ({"every": "day"}, "/every"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(shared_service: Service, fields: dict[str, object], pointer: str) -> None:
    answer = make(shared_service, **{"name": "wrong", **fields})

    assert (422, pointer) == (answer.status, answer.json()["errors"][0]["pointer"])
    assert 404 == shared_service.request("GET", "/v1/schedules/wrong").status
