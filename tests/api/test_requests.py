"""Requests to a real service: what it takes, and how it says no."""

import contextlib
import http.client
import json
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from longshore.job.spec import MAX_ARGS_BYTES
from service import Service


def submit(service: Service, body: object, **headers: str) -> Any:
    return service.request("POST", "/v1/jobs", body, headers=headers)


def ran(service: Service, handler: str, **fields: object) -> dict[str, Any]:
    """The job once it ended."""
    answer = submit(service, {"handler": handler, **fields}, Prefer="wait=20")
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()
    return found


# -- submit ------------------------------------------------------------------------------------------------------------


def test_a_job_is_accepted_run_and_read(shared_service: Service) -> None:
    answer = submit(shared_service, {"handler": "echo", "args": {"x": 1}})
    job = answer.json()

    assert 202 == answer.status
    assert f"/v1/jobs/{job['id']}" == answer.headers["Location"]
    done = shared_service.request("GET", f"/v1/jobs/{job['id']}?wait=10").json()
    assert ("Succeeded", {"x": 1}, 1) == (done["status"]["phase"], done["status"]["result"], done["status"]["attempts"])
    assert {"x": 1} == shared_service.request("GET", f"/v1/jobs/{job['id']}/result").json()


def test_prefer_wait_answers_with_the_end(shared_service: Service) -> None:
    answer = submit(shared_service, {"handler": "echo"}, Prefer="wait=10")

    assert (200, "wait=10") == (answer.status, answer.headers["Preference-Applied"])


def test_prefer_wait_gives_up_in_time(shared_service: Service) -> None:
    answer = submit(shared_service, {"handler": "naps"}, Prefer="wait=1")

    assert (202, "1") == (answer.status, answer.headers["Retry-After"])
    shared_service.request("POST", f"/v1/jobs/{answer.json()['id']}:cancel", {"graceSeconds": 0})


def test_a_whole_manifest_is_taken_as_json_and_as_yaml(shared_service: Service) -> None:
    manifest = {"apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": "from-a-manifest"},
                "spec": {"handler": "echo"}}  # fmt: skip
    text = b"apiVersion: longshore.dev/v1alpha1\nkind: Job\nmetadata: {name: from-a-manifest}\nspec: {handler: echo}\n"
    first = submit(shared_service, manifest)
    second = shared_service.request("POST", "/v1/jobs", raw=text, headers={"Content-Type": "application/yaml"})

    assert (202, 202) == (first.status, second.status)
    assert first.json()["uid"] == second.json()["uid"], "both doors lead to the same job"


DEEP = b'{"handler":"echo","args":{"x":' + b"[" * 3000 + b"]" * 3000 + b"}}"


@pytest.mark.parametrize(
    ("case", "raw", "status", "where"),
    [
        ("not JSON", b"{", 400, None),
        ("nothing", b"", 400, None),
        ("an array", b"[]", 422, ""),
        ("a number", b"7", 422, ""),
        ("an unknown field", b'{"handler":"echo","colour":"red"}', 422, "/colour"),
        ("a wrong type", b'{"handler":"echo","priority":"high"}', 422, "/priority"),
        ("too much", b'{"handler":"echo","args":{"x":"%b"}}' % (b"y" * MAX_ARGS_BYTES), 422, "/args"),
        ("too deep", DEEP, 422, "/args"),
        ("NaN", b'{"handler":"echo","args":{"x":NaN}}', 400, None),
        ("Infinity", b'{"handler":"echo","args":{"x":-Infinity}}', 400, None),
        ("no zone", b'{"handler":"echo","startAfter":"2026-01-01T00:00:00"}', 422, "/startAfter"),
        ("neither handler nor command", b"{}", 422, ""),
        ("handler and command", b'{"handler":"echo","command":["true"]}', 422, ""),
        ("an unknown handler", b'{"handler":"ecko"}', 422, "/handler"),
        ("bad arguments", b'{"handler":"primes","args":{"limit":"many"}}', 422, "/args/limit"),
        ("an argument that is not taken", b'{"handler":"primes","args":{"limits":1}}', 422, "/args/limits"),
        ("a bad item", b'{"handler":"primes","items":[{"limit":1},{"limit":-1}]}', 422, "/items/1/limit"),
        ("an unknown queue", b'{"handler":"echo","queue":"nowhere"}', 422, "/queue"),
        ("half a surrogate", b'{"handler":"echo","args":{"x":"\\ud800"}}', 400, None),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_the_field(
    shared_service: Service, case: str, raw: bytes, status: int, where: str | None
) -> None:
    before = shared_service.request("GET", "/v1/jobs:count").json()
    answer = shared_service.request("POST", "/v1/jobs", raw=raw)
    problem = answer.json()

    assert (status, "application/problem+json") == (answer.status, answer.headers["Content-Type"]), case
    assert status == problem["status"]
    if where is not None:
        assert where in [error["pointer"] for error in problem["errors"]]
    assert not re.search(r"Traceback|site-packages|File \"", answer.body.decode())
    assert before == shared_service.request("GET", "/v1/jobs:count").json(), "nothing is half accepted"


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Content-Encoding": "gzip"}, "Content-Encoding 'gzip'"),
        ({"Content-Encoding": "identity, br"}, "Content-Encoding 'identity, br'"),
        ({"Content-Type": "application/json; charset=latin-1"}, "charset 'latin-1'"),
        ({"Content-Type": "application/yaml; charset=UTF-16"}, "charset 'UTF-16'"),
    ],
)
def test_a_body_that_is_packed_or_in_another_encoding_is_refused_by_that(
    shared_service: Service, headers: dict[str, str], said: str
) -> None:
    answer = shared_service.request("POST", "/v1/jobs", raw=b'{"handler":"echo"}', headers=headers)

    assert 415 == answer.status
    assert said in answer.json()["detail"]


def test_a_body_that_says_that_it_is_what_it_is_is_taken(shared_service: Service) -> None:
    headers = {"Content-Type": "application/json; charset=UTF-8", "Content-Encoding": "identity"}

    assert 202 == shared_service.request("POST", "/v1/jobs", raw=b'{"handler":"echo"}', headers=headers).status


def test_near_matches_of_a_handler_are_listed(shared_service: Service) -> None:
    assert "did you mean echo?" in submit(shared_service, {"handler": "ecco"}).json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("GET", "/v1/jobs/never-was", {}, 404),
        ("GET", "/v1/jobs/never-was/logs", {}, 404),
        ("GET", "/v1/jobs/never-was/events", {}, 404),
        ("POST", "/v1/jobs/never-was:cancel", {}, 404),
        ("DELETE", "/v1/jobs/never-was", {}, 404),
        ("PUT", "/v1/jobs", {}, 405),
        ("POST", "/v1/jobs", {"Content-Type": "text/plain"}, 415),
        ("GET", "/v1/jobs?cursor=nonsense", {}, 422),
        ("GET", "/v1/jobs?limit=0", {}, 422),
        ("GET", "/v1/jobs?colour=red", {}, 422),
        ("GET", "/v1/jobs?phase=Gone", {}, 422),
        ("GET", "/v1/jobs", {"Host": "evil.example"}, 421),
        ("POST", "/v1/jobs", {"Origin": "http://evil.example"}, 403),
        ("POST", "/v1/jobs", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", "/v1/jobs", {"Idempotency-Key": "x" * 300}, 422),
    ],
)
def test_every_refusal_is_a_problem(
    shared_service: Service, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    raw = b'{"handler":"echo"}' if method == "POST" and "cancel" not in path else None
    answer = shared_service.request(method, path, raw=raw, headers=headers)

    assert (status, "application/problem+json") == (answer.status, answer.headers["Content-Type"])
    assert answer.status != 405 or "POST" in answer.headers["Allow"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_body_that_is_too_large_is_refused_unread(shared_service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared_service.port, timeout=10)
    connection.putrequest("POST", "/v1/jobs")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    answer = connection.getresponse()

    assert (413, "/problems/too-large") == (answer.status, json.loads(answer.read())["type"])
    connection.close()


def test_a_start_in_the_past_means_now(shared_service: Service) -> None:
    assert "Succeeded" == ran(shared_service, "echo", startAfter="2001-01-01T00:00:00Z")["status"]["phase"]


# -- idempotency and names ---------------------------------------------------------------------------------------------


def test_the_same_key_is_the_same_job_and_another_body_is_refused(shared_service: Service) -> None:
    first = submit(shared_service, {"handler": "echo", "args": {"a": 1, "b": 2}}, **{"Idempotency-Key": "k1"})
    again = submit(shared_service, {"args": {"b": 2, "a": 1}, "handler": "echo"}, **{"Idempotency-Key": "k1"})
    other = submit(shared_service, {"handler": "echo"}, **{"Idempotency-Key": "k1"})

    assert first.json()["id"] == again.json()["id"]
    assert "true" == again.headers["Idempotent-Replayed"]
    assert (422, "/problems/idempotency-key-reused") == (other.status, other.json()["type"])


def test_the_same_key_twice_at_once_is_one_job(shared_service: Service) -> None:
    ids: list[str] = []

    def send() -> None:
        ids.append(submit(shared_service, {"handler": "echo"}, **{"Idempotency-Key": "at-once"}).json()["id"])

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (10, 1) == (len(ids), len(set(ids)))


def test_a_name_is_one_job_and_another_body_a_conflict(shared_service: Service) -> None:
    first = submit(shared_service, {"handler": "echo", "name": "mine"})
    again = submit(shared_service, {"handler": "echo", "name": "mine"})
    other = submit(shared_service, {"handler": "pid", "name": "mine"})

    assert first.json()["uid"] == again.json()["uid"]
    assert 409 == other.status


def test_a_redrive_under_a_key_is_done_once(shared_service: Service) -> None:
    job = ran(shared_service, "raises")
    path = f"/v1/jobs/{job['id']}:redrive"
    for _ in range(3):
        assert 202 == shared_service.request("POST", path, headers={"Idempotency-Key": "redrive-once"}).status
    done = shared_service.request("GET", f"/v1/jobs/{job['id']}?wait=10").json()

    assert (1, 2) == (done["status"]["redrives"], done["status"]["attempts"])


# -- batches and lists -------------------------------------------------------------------------------------------------


def test_a_batch_is_taken_whole_or_not_at_all(shared_service: Service) -> None:
    label = {"set": "whole"}
    good = shared_service.request("POST", "/v1/jobs:batch", {"jobs": [{"handler": "echo"}] * 20, "labels": label})
    bad = shared_service.request(
        "POST", "/v1/jobs:batch", {"jobs": [{"handler": "echo"}, {"handler": "echo", "priority": "x"}], "labels": label}
    )

    assert (202, 20) == (good.status, good.json()["count"])
    assert (422, "/jobs/1/priority") == (bad.status, bad.json()["errors"][0]["pointer"])
    assert 20 == sum(shared_service.request("GET", "/v1/jobs:count?label=set=whole").json()["counts"].values())
    assert 422 == shared_service.request("POST", "/v1/jobs:batch", {"jobs": [{"handler": "echo"}] * 1001}).status


def test_a_list_is_paged_and_filtered(shared_service: Service) -> None:
    shared_service.request(
        "POST", "/v1/jobs:batch", [{"handler": "echo", "labels": {"set": "paged"}, "args": {"n": n}} for n in range(25)]
    )
    found = list(shared_service.client().list(label="set=paged", limit=10))

    assert list(range(24, -1, -1)) == [job["spec"]["args"]["n"] for job in found]


# -- one job -----------------------------------------------------------------------------------------------------------


def test_an_etag_saves_the_body_until_something_changes(shared_service: Service) -> None:
    job = ran(shared_service, "echo")
    path = f"/v1/jobs/{job['id']}"
    tag = shared_service.request("GET", path).headers["ETag"]

    assert 304 == shared_service.request("GET", path, headers={"If-None-Match": tag}).status
    assert 412 == shared_service.request("DELETE", path, headers={"If-Match": '"other"'}).status


def test_cancel_in_every_state(shared_service: Service, eventually: Callable[..., Any]) -> None:
    def cancel(id: str) -> Any:
        return shared_service.request("POST", f"/v1/jobs/{id}:cancel", {})

    waiting = submit(shared_service, {"handler": "echo", "startAfter": "2999-01-01T00:00:00Z"}).json()["id"]
    running = submit(shared_service, {"handler": "cooperates"}).json()["id"]
    ended = ran(shared_service, "echo")["id"]
    eventually(lambda: shared_service.client().get(running)["status"]["phase"] == "Running")

    assert ("Cancelled", 202) == (cancel(waiting).json()["status"]["phase"], cancel(running).status)
    assert 202 == cancel(running).status or shared_service.client().get(running)["status"]["phase"] == "Cancelled"
    assert (409, "Succeeded") == (cancel(ended).status, re.findall(r"\((\w+)\)", cancel(ended).json()["detail"])[0])
    assert "Cancelled" == shared_service.client().wait(running, 10)["status"]["phase"]


def test_a_suspended_job_waits_until_it_is_resumed(shared_service: Service) -> None:
    id = submit(shared_service, {"handler": "echo", "suspend": True}).json()["id"]
    explained = shared_service.request("GET", f"/v1/jobs/{id}/explain").json()
    shared_service.request("POST", f"/v1/jobs/{id}:resume")

    assert "Suspended" == explained["reason"]
    assert "Succeeded" == shared_service.client().wait(id, 10)["status"]["phase"]


def test_a_removed_job_is_gone_and_not_unknown(shared_service: Service) -> None:
    id = ran(shared_service, "echo")["id"]

    assert 204 == shared_service.request("DELETE", f"/v1/jobs/{id}").status
    assert 410 == shared_service.request("GET", f"/v1/jobs/{id}").status
    assert 410 == shared_service.request("GET", f"/v1/jobs/{id}/logs").status


def test_an_active_job_is_not_removed(shared_service: Service) -> None:
    id = submit(shared_service, {"handler": "echo", "suspend": True}).json()["id"]

    assert 409 == shared_service.request("DELETE", f"/v1/jobs/{id}").status


def test_a_ttl_of_zero_removes_the_job_at_its_end(shared_service: Service, eventually: Callable[..., Any]) -> None:
    id = submit(shared_service, {"handler": "echo", "ttlSecondsAfterFinished": 0}).json()["id"]

    eventually(lambda: shared_service.request("GET", f"/v1/jobs/{id}").status == 410)


def test_retries_are_spent_and_told(shared_service: Service) -> None:
    retry = {"initialSeconds": 0.01}
    good = ran(shared_service, "flaky", retry=retry)["status"]
    bad = ran(shared_service, "raises", maxRetries=2, retry=retry)["status"]
    picky = ran(shared_service, "raises", maxRetries=2, retry={"except": ["KeyError"]})["status"]

    assert ("Succeeded", 3, 2) == (good["phase"], good["attempts"], good["retries"])
    assert ("Failed", "RetriesExhausted", 3) == (bad["phase"], bad["reason"], bad["attempts"])
    assert ["failed"] * 3 == [entry["outcome"] for entry in bad["history"]]
    assert ("Failed", 1, "KeyError") == (picky["phase"], picky["attempts"], picky["error"]["type"])


def test_jobs_that_depend_wait_and_fail_with_what_they_wait_for(shared_service: Service) -> None:
    submit(shared_service, {"handler": "echo", "name": "base-good", "suspend": True})
    submit(shared_service, {"handler": "raises", "name": "base-bad", "suspend": True})
    good = submit(shared_service, {"handler": "echo", "after": ["base-good"]}).json()["id"]
    bad = submit(shared_service, {"handler": "echo", "after": ["base-bad"]}).json()["id"]
    missing = submit(shared_service, {"handler": "echo", "after": ["no-such-job"]}, Prefer="wait=5").json()
    explained = shared_service.request("GET", f"/v1/jobs/{good}/explain").json()
    for name in ("base-good", "base-bad"):
        shared_service.request("POST", f"/v1/jobs/{name}:resume")

    assert ("Dependencies", ["base-good"]) == (explained["reason"], explained["waitsFor"])
    assert "Succeeded" == shared_service.client().wait(good, 10)["status"]["phase"]
    assert "DependencyFailed" == shared_service.client().wait(bad, 10)["status"]["reason"]
    assert "DependencyMissing" == missing["status"]["reason"]


def test_an_array_runs_every_item(shared_service: Service) -> None:
    job = ran(shared_service, "context", count=7, parallelism=2)
    items = shared_service.request("GET", f"/v1/jobs/{job['id']}/items").json()["items"]

    assert ("Succeeded", 7, "0-6") == (
        job["status"]["phase"], job["status"]["items"]["succeeded"], job["status"]["items"]["succeededIndexes"],
    )  # fmt: skip
    assert list(range(7)) == [item["result"]["index"] for item in items]


def test_failed_items_fail_the_array_and_a_redrive_runs_them_alone(shared_service: Service) -> None:
    items = [{"x": 1}, {"x": 2}, {}]
    job = submit(shared_service, {"handler": "echo", "items": items}, Prefer="wait=10").json()
    assert job["status"]["items"]["succeeded"] == 3
    job = ran(shared_service, "raises", count=3)

    assert ("Failed", "ItemsFailed", "0-2") == (
        job["status"]["phase"], job["status"]["reason"], job["status"]["items"]["failedIndexes"],
    )  # fmt: skip
    shared_service.request("POST", f"/v1/jobs/{job['id']}:redrive")
    again = shared_service.client().wait(job["id"], 10)
    assert (6, 1) == (again["status"]["attempts"], again["status"]["redrives"])


def test_an_array_tells_how_many_items_run_now(
    start_service: Callable[..., Service], eventually: Callable[..., Any]
) -> None:
    """It told how many ran when the last item had ended, and nothing before the first end; progress stayed at nothing."""
    service = start_service(slots=4)
    id = submit(service, {"handler": "holds", "args": {"folder": str(service.folder)}, "count": 6}).json()["id"]

    def seen() -> tuple[object, object, object] | None:
        job = service.request("GET", f"/v1/jobs/{id}").json()
        (listed,) = service.request("GET", "/v1/jobs").json()["items"]
        if any(job["status"][name] != listed["status"][name] for name in ("items", "progress")):
            return None  # it has changed between the two; at rest they agree
        items = job["status"]["items"]
        return items.get("running", 0), items.get("succeeded", 0), job["status"]["progress"]["percent"]

    eventually(lambda: seen() == (4, 0, 0.0), what="four running items")
    (service.folder / "go-1").touch()
    eventually(lambda: seen() == (4, 1, 16.67), what="the next item in the place of the first that ended")
    for index in (0, 2, 3):
        (service.folder / f"go-{index}").touch()
    eventually(lambda: seen() == (2, 4, 66.67), what="the last two")
    for index in (4, 5):
        (service.folder / f"go-{index}").touch()
    ended = service.client().wait(id, 20)["status"]

    assert ({"succeeded": 6, "succeededIndexes": "0-5"}, False) == (ended["items"], "progress" in ended)


def test_the_result_of_an_array_is_a_page_of_results(shared_service: Service) -> None:
    """It was null, with status 200."""
    job = ran(shared_service, "echo", items=[{"x": x} for x in range(5)])
    path = f"/v1/jobs/{job['id']}/result"
    first = shared_service.request("GET", f"{path}?limit=3").json()
    rest = shared_service.request("GET", f"{path}?limit=3&after={first['nextAfter']}").json()
    failed = ran(shared_service, "raises", count=2)
    refused = shared_service.request("GET", f"/v1/jobs/{failed['id']}/result")

    assert [{"index": x, "result": {"x": x}} for x in range(5)] == first["items"] + rest["items"]
    assert rest["nextAfter"] is None
    assert 404 == refused.status
    assert f"/v1/jobs/{failed['id']}/items" in refused.json()["detail"]


def test_the_output_of_an_array_is_that_of_a_named_item(shared_service: Service) -> None:
    """It was empty, with status 200."""
    job = ran(shared_service, "raises", count=3)
    answer = shared_service.request("GET", f"/v1/jobs/{job['id']}/logs")

    assert (422, "index") == (answer.status, answer.json()["errors"][0]["parameter"])
    assert "name one of them, 0 to 2" in answer.json()["detail"]
    assert 200 == shared_service.request("GET", f"/v1/jobs/{job['id']}/logs?index=2").status


@pytest.mark.parametrize(
    "query", ["attempt=2", "attempt=999999999", "index=0", "attempt=2&follow=true", "attempt=1&index=0"]
)
def test_output_of_what_never_was_is_not_found(shared_service: Service, query: str) -> None:
    """It was empty, with status 200."""
    job = ran(shared_service, "raises")
    answer = shared_service.request("GET", f"/v1/jobs/{job['id']}/logs?{query}")

    assert (404, "not-found") == (answer.status, answer.json()["type"].rpartition("/")[2])
    assert 200 == shared_service.request("GET", f"/v1/jobs/{job['id']}/logs?attempt=1").status


def test_output_of_an_item_that_never_was_is_not_found(shared_service: Service) -> None:
    path = f"/v1/jobs/{ran(shared_service, 'raises', count=3)['id']}/logs"
    asked = {"index=2": 200, "index=2&attempt=1": 200, "index=3": 404, "index=999999999": 404, "index=2&attempt=2": 404}

    assert asked == {query: shared_service.request("GET", f"{path}?{query}").status for query in asked}


def test_output_of_a_job_that_waits_is_to_come_and_has_no_attempts(shared_service: Service) -> None:
    waits = submit(shared_service, {"handler": "echo", "startAfter": "2999-01-01T00:00:00Z"}).json()["id"]
    array = submit(shared_service, {"handler": "echo", "count": 2, "startAfter": "2999-01-01T00:00:00Z"}).json()["id"]

    def status(path: str) -> int:
        return shared_service.request("GET", f"/v1/jobs/{path}").status

    assert [200, 404] == [status(f"{waits}/logs"), status(f"{waits}/logs?attempt=1")]
    assert [200, 404, 404] == [status(f"{array}/logs?index={rest}") for rest in ("1", "1&attempt=1", "2")]


def test_a_job_that_could_not_start_in_time_fails(shared_service: Service) -> None:
    found = ran(shared_service, "echo", suspend=True, startDeadlineSeconds=0.2)

    assert ("Failed", "StartDeadlineExceeded", 0) == (
        found["status"]["phase"], found["status"]["reason"], found["status"]["attempts"],
    )  # fmt: skip


# -- what a job says ---------------------------------------------------------------------------------------------------


def test_logs_are_read_by_offset_and_followed_to_the_end(shared_service: Service) -> None:
    id = submit(shared_service, {"command": ["sh", "-c", "for n in 1 2 3; do echo $n; sleep 0.1; done"]}).json()["id"]
    followed = b"".join(shared_service.client().logs(id, follow=True))
    streamed = shared_service.request("GET", f"/v1/jobs/{id}/logs?follow=true").body
    tail = shared_service.request("GET", f"/v1/jobs/{id}/logs?offset=-2")

    assert b"1\n2\n3\n" == followed == streamed
    assert (b"3\n", "4") == (tail.body, tail.headers["Longshore-Offset"])


def test_output_of_any_bytes_survives(shared_service: Service) -> None:
    id = submit(shared_service, {"command": ["sh", "-c", r"printf '\377\000\n'"]}, Prefer="wait=5").json()["id"]

    assert b"\xff\0\n" == shared_service.request("GET", f"/v1/jobs/{id}/logs").body


def test_a_stream_has_progress_as_it_is_reported(start_service: Callable[..., Service]) -> None:
    """It had none, so that a page had to ask for the job again and again."""
    service = start_service()
    id = submit(service, {"handler": "reports_twice", "args": {"folder": str(service.folder)}}).json()["id"]
    seen: list[tuple[bool, dict[str, Any]]] = []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection:
        connection.request("GET", f"/v1/jobs/{id}/events", headers={"Accept": "text/event-stream"})
        stream = connection.getresponse()
        block: list[str] = []
        for line in stream:
            if line.strip():
                block.append(line.decode().rstrip("\n"))
                continue
            lines, block = dict(one.split(": ", 1) for one in block), []
            (service.folder / "seen-0").touch()  # the stream is open
            if lines.get("event") == "progress":
                seen.append(("id" in lines, orjson.loads(lines["data"])["data"]))
                (service.folder / f"seen-{len(seen)}").touch()

    assert [False, False] == [numbered for numbered, _ in seen]
    assert [(10.0, "begun"), (60.0, "more")] == [(data["percent"], data["message"]) for _, data in seen]
    polled = service.request("GET", f"/v1/jobs/{id}/events").json()["items"]
    assert ["submitted", "started", "succeeded"] == [event["type"] for event in polled], "it is kept nowhere"


def test_a_report_that_was_held_back_is_told_while_the_job_runs(
    start_service: Callable[..., Service], eventually: Callable[..., Any]
) -> None:
    """It waited for the next report or the end, however far away those were."""
    service = start_service()
    id = submit(service, {"handler": "reports_in_a_row", "args": {"folder": str(service.folder)}}).json()["id"]

    def told() -> bool:
        progress = service.request("GET", f"/v1/jobs/{id}").json()["status"].get("progress", {})
        return progress.get("message") == "more"

    eventually(told, seconds=20, what="the second report")
    (service.folder / "seen").touch()
    done = service.request("GET", f"/v1/jobs/{id}?wait=20").json()
    assert "Succeeded" == done["status"]["phase"]


def test_a_job_gets_what_its_handler_wants_for_it(start_service: Callable[..., Service]) -> None:
    service = start_service()
    service.request("POST", "/v1/queues/default:pause")
    bare = submit(service, {"handler": "particular", "name": "bare"}).json()["spec"]
    own = submit(service, {"handler": "particular", "priority": 1, "resources": {"memory": "1Gi"}}).json()["spec"]
    again = submit(service, {"handler": "particular", "name": "bare"})
    (told,) = [
        found for found in service.request("GET", "/v1/handlers").json()["items"] if found["name"] == "particular"
    ]

    assert {"handler": "particular", "priority": 7, "resources": {"memory": "512Mi"}, "concurrencyKey": "one",
            "ttlSecondsAfterFinished": 60.0} == bare  # fmt: skip
    assert (1, {"memory": "1Gi"}, "one") == (own["priority"], own["resources"], own["concurrencyKey"])
    assert (202, "true") == (again.status, again.headers["Idempotent-Replayed"])
    assert 7 == told["priority"]


def test_events_are_streamed_and_resumed(shared_service: Service) -> None:
    id = ran(shared_service, "flaky", retry={"initialSeconds": 0.01})["id"]
    headers = {"Accept": "text/event-stream"}
    whole = shared_service.request("GET", f"/v1/jobs/{id}/events", headers=headers).body.decode()
    kinds = re.findall(r"event: (\S+)", whole)
    second = re.findall(r"id: (\d+)", whole)[1]
    rest = shared_service.request("GET", f"/v1/jobs/{id}/events", headers={**headers, "Last-Event-ID": second}).body

    assert ["submitted", "started", "retrying", "started", "retrying", "started", "succeeded"] == kinds
    assert kinds[2:] == re.findall(r"event: (\S+)", rest.decode())


def test_progress_is_seen_while_the_job_runs(shared_service: Service, eventually: Callable[..., Any]) -> None:
    id = submit(shared_service, {"handler": "sleep", "args": {"seconds": 30, "steps": 60}}).json()["id"]
    found = eventually(lambda: shared_service.client().get(id)["status"].get("progress"))

    assert 0 < found["percent"] < 100
    assert "step" in found["message"]
    shared_service.request("POST", f"/v1/jobs/{id}:cancel", {})


def test_a_failure_shows_its_class_and_its_traceback_ends_its_output(shared_service: Service) -> None:
    """The traceback was in the service's log alone."""
    answer = submit(shared_service, {"handler": "fail", "args": {"times": 9}}, Prefer="wait=10")
    status = answer.json()["status"]

    assert ("longshore_samples.fail.Unlucky", "as you wished") == (status["error"]["type"], status["error"]["message"])
    assert status["logTail"].startswith("attempt 1 of ")
    assert "\nTraceback (most recent call last):\n" in status["logTail"]
    assert status["logTail"].endswith("longshore_samples.fail.Unlucky: as you wished\n")
    assert status["logTail"].encode() == shared_service.request("GET", f"/v1/jobs/{answer.json()['id']}/logs").body


def test_tracebacks_go_to_the_log_alone_where_the_setting_says_so(start_service: Callable[..., Service]) -> None:
    service = start_service(tracebacks="log")
    job = ran(service, "fail")

    assert f"attempt 1 of {job['id']}\n".encode() == service.request("GET", f"/v1/jobs/{job['id']}/logs").body
    assert "raise Unlucky(message)" in service.log.read_text()


def test_each_attempt_keeps_its_error(shared_service: Service) -> None:
    """Errors of attempts that were retried were in the service's log alone."""
    job = ran(shared_service, "varied_luck", maxRetries=3, retry={"initialSeconds": 0.01})
    array = ran(shared_service, "varied_luck", count=2, maxRetries=3, retry={"initialSeconds": 0.01})
    (listed,) = [
        found for found in shared_service.request("GET", "/v1/jobs").json()["items"] if found["id"] == job["id"]
    ]
    errors = [
        {"type": kind, "message": f"bad luck {n} {'x' * 246}"[:256]} for n, kind in ((1, "ValueError"), (2, "OSError"))
    ]

    assert [*errors, None] == [entry.get("error") for entry in job["status"]["history"]]
    assert job["status"]["history"] == listed["status"]["history"]
    assert "error" not in job["status"]
    assert 4 == sum("error" in entry for entry in array["status"]["history"])


# -- queues ------------------------------------------------------------------------------------------------------------


def test_a_queue_is_paused_explained_and_resumed(start_service: Callable[..., Service]) -> None:
    service = start_service()
    service.request("POST", "/v1/queues/default:pause")
    id = submit(service, {"handler": "echo"}).json()["id"]
    explained = service.request("GET", f"/v1/jobs/{id}/explain").json()
    service.kill()
    service.start()
    still = service.client().get(id)["status"]["phase"]
    service.request("POST", "/v1/queues/default:resume")

    assert ("Paused", "Pending") == (explained["reason"], still)
    assert "Succeeded" == service.client().wait(id, 10)["status"]["phase"]


def test_limits_of_a_queue_are_changed_at_run_time_and_checked(
    start_service: Callable[..., Service], eventually: Callable[..., Any]
) -> None:
    service = start_service()
    bad = service.request("PATCH", "/v1/queues/default", {"concurrency": 0})
    good = service.request("PATCH", "/v1/queues/default", {"concurrency": 1, "maxPending": 1})
    naps = [submit(service, {"handler": "naps"})]
    eventually(lambda: service.client().get(naps[0].json()["id"])["status"]["phase"] == "Running")
    naps += [submit(service, {"handler": "naps"}) for _ in range(2)]

    assert (422, "/concurrency") == (bad.status, bad.json()["errors"][0]["pointer"])
    assert (1, ["concurrency", "maxPending"]) == (good.json()["policy"]["concurrency"], good.json()["overridden"])
    assert [202, 202, 429] == [answer.status for answer in naps]
    assert naps[2].headers["Retry-After"]


def test_a_full_service_says_503(start_service: Callable[..., Service]) -> None:
    service = start_service(max_pending=2)
    answers = [submit(service, {"handler": "echo", "suspend": True}) for _ in range(3)]

    assert [202, 202, 503] == [answer.status for answer in answers]
    assert "/problems/queue-full" == answers[2].json()["type"]


# -- the service -------------------------------------------------------------------------------------------------------


def test_a_slow_client_holds_nobody_up(shared_service: Service) -> None:
    slow = [socket.create_connection(("127.0.0.1", shared_service.port)) for _ in range(8)]
    for sock in slow:
        sock.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-")

    assert 200 == shared_service.probe("/livez")
    assert "Succeeded" == ran(shared_service, "echo")["status"]["phase"]
    for sock in slow:
        sock.close()


def test_a_client_that_leaves_while_it_waits_loses_nothing(
    shared_service: Service, eventually: Callable[..., Any]
) -> None:
    body = b'{"handler":"sleep","args":{"seconds":0.3},"name":"left-alone"}'
    sock = socket.create_connection(("127.0.0.1", shared_service.port))
    sock.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nPrefer: wait=20\r\nContent-Type: application/json\r\n"
                 b"Content-Length: %d\r\n\r\n%b" % (len(body), body))  # fmt: skip
    eventually(lambda: 200 == shared_service.request("GET", "/v1/jobs/left-alone").status, what="the job")
    sock.close()

    assert "Succeeded" == shared_service.client().wait("left-alone", 10)["status"]["phase"]


def test_waits_over_the_budget_are_answered_at_once(
    start_service: Callable[..., Service], eventually: Callable[..., Any]
) -> None:
    service = start_service(api_threads=4, wait_threads=1)
    id = submit(service, {"handler": "naps"}).json()["id"]
    first = threading.Thread(target=lambda: service.request("GET", f"/v1/jobs/{id}?wait=30"))
    first.start()
    eventually(lambda: b"longshore_waiting_requests 1.0" in service.request("GET", "/metrics").body, what="the wait")
    answer = submit(service, {"handler": "naps"}, Prefer="wait=20")
    stream = service.request("GET", f"/v1/jobs/{id}/logs?follow=true")

    assert 202 == answer.status
    assert (503, True) == (stream.status, "Retry-After" in stream.headers)
    service.request("POST", f"/v1/jobs/{id}:cancel", {"graceSeconds": 0})
    first.join()


def test_an_application_brings_routes_and_checks_of_its_own(shared_service: Service) -> None:
    assert {"message": "Hello from Longshore"} == shared_service.request("GET", "/hello").json()
    health = shared_service.request("GET", "/healthz").json()
    assert "ok" == health["checks"]["longshore_samples.hello.arithmetic"]


@pytest.mark.parametrize(
    "path", ["/", "/v1/", "/v1/handlers", "/v1/queues", "/v1/workers", "/v1/status/details", "/openapi.json"]
)
def test_the_service_tells_about_itself(shared_service: Service, path: str) -> None:
    answer = shared_service.request("GET", path)

    assert 200 == answer.status
    assert orjson.loads(answer.body)


def test_the_page_where_a_token_is_entered_needs_none(start_service: Callable[..., Service], tmp_path: Any) -> None:
    """It was 401, so that its *Authorize* button was never reached."""
    file = tmp_path / "tokens"
    file.write_text("")
    service = start_service(tokens_file=file)
    page = service.request("GET", "/docs").body.decode()
    # By its own folder, so that the page works behind a proxy's prefix.
    wanted = {f"/docs/{name}" for name in re.findall(r'(?:src|href)="docs/([^"]+)"', page)}

    assert {"/docs/start.js", "/docs/swagger-ui-bundle.js"} <= wanted
    assert {200} == {service.request("GET", path).status for path in ("/docs", "/openapi.json", *wanted)}
    closed = ("/", "/v1/", "/v1/handlers", "/v1/jobs", "/healthz")
    assert {401} == {service.request("GET", path).status for path in closed}
    assert "rough_jobs" not in service.request("GET", "/openapi.json").body.decode(), "nothing of this service is in it"


def test_tokens_open_as_much_as_their_role(start_service: Callable[..., Service], tmp_path: Any) -> None:
    from longshore.api.tokens import digest

    file = tmp_path / "tokens"
    file.write_text("".join(f"{role} {role} {digest(role)}\n" for role in ("read", "submit", "admin")))
    service = start_service(tokens_file=file)

    def status(token: str, method: str, path: str) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return service.request(method, path, {"handler": "echo"} if method == "POST" else None, headers=headers).status

    table = {
        ("", "GET", "/v1/jobs"): 401, ("wrong", "GET", "/v1/jobs"): 401, ("read", "GET", "/v1/jobs"): 200,
        ("read", "POST", "/v1/jobs"): 403, ("submit", "POST", "/v1/jobs"): 202,
        ("submit", "POST", "/v1/queues/default:pause"): 403, ("admin", "POST", "/v1/queues/default:resume"): 200,
        ("", "GET", "/livez"): 200, ("", "GET", "/metrics"): 401, ("read", "GET", "/metrics"): 200,
    }  # fmt: skip
    assert table == {key: status(*key) for key in table}
    file.write_text(f"read other {digest('other')}\n")
    assert (401, 200) == (status("admin", "GET", "/v1/jobs"), status("other", "GET", "/v1/jobs"))


def test_the_trace_context_of_a_submit_reaches_the_handler_and_survives_a_start(
    start_service: Callable[..., Service],
) -> None:
    service = start_service()
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=1 , b=2"}
    later = service.request("POST", "/v1/jobs", {"handler": "context", "name": "later", "suspend": True}, headers=trace)
    job = {"handler": "context"}
    told = [
        service.request("POST", "/v1/jobs", job, headers={**headers, "Prefer": "wait=30"}).json()["status"]["result"]
        for headers in (trace, trace | {"traceparent": "zz"}, trace | {"tracestate": "a=1,a=2"}, {})
    ]
    service.stop()
    service.start()
    service.request("POST", "/v1/jobs/later:resume")
    after = service.client().wait("later")

    assert 202 == later.status
    context = [(one["traceparent"], one["tracestate"]) for one in told]
    assert [(trace["traceparent"], "a=1,b=2"), ("", ""), (trace["traceparent"], ""), ("", "")] == context
    assert "a=1,b=2" == after["status"]["result"]["tracestate"]
