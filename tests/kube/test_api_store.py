"""The api of a cluster: its promises against a real API server, with real tokens and real rights."""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kube.api_service import API_RIGHTS, USER_RIGHTS, ApiService, account, conditions_of, everywhere, grant, password
from kube.control_plane import ControlPlane
from kube.kubelet import Kubelet
from kube.operator_side import make_job
from kube.operators import Rig, requests_of
from longshore.api.readiness import SHARED_SECONDS
from longshore.settings import Settings
from longshore.store.kubernetes.connect import connect
from longshore.store.kubernetes.history import History
from rights_table import TABLE

Wait = Callable[..., object]


# -- submit ---------------------------------------------------------------------------------------------------


def test_a_submit_is_a_resource(api: ApiService) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = api.ask("POST", "/v1/jobs", {"handler": "echo", "args": {"x": 1}, "labels": {"team": "a"}},
                     headers={"traceparent": trace, "tracestate": "a=1 , b=2"})  # fmt: skip
    job = answer.json()
    found = api.resource(job["id"])

    assert (202, f"/v1/jobs/{job['id']}", "1") == (
        answer.status, answer.headers["Location"], answer.headers["Retry-After"],
    )  # fmt: skip
    assert ("echo", {"x": 1}, "default") == tuple(found["spec"][name] for name in ("handler", "args", "queue"))
    assert {"team": "a"} == found["metadata"]["labels"]
    notes = found["metadata"]["annotations"]
    assert (trace, "api") == (notes["longshore.dev/traceparent"], notes["longshore.dev/source"])
    assert "a=1,b=2" == notes["longshore.dev/tracestate"]
    assert (found["metadata"]["uid"], api.namespace, "Pending") == (
        job["uid"], job["namespace"], job["status"]["phase"],
    )  # fmt: skip
    assert found["spec"] == job["spec"]


def test_a_key_makes_one_job(api: ApiService) -> None:
    body = {"handler": "echo", "args": {"x": 2}}
    key = {"Idempotency-Key": "invoice-1"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: api.ask("POST", "/v1/jobs", body, headers=key), range(4)))

    assert [202] * 4 == [answer.status for answer in answers]
    assert 1 == len({answer.json()["uid"] for answer in answers})
    assert 3 == sum("Idempotent-Replayed" in answer.headers for answer in answers)
    other = api.ask("POST", "/v1/jobs", {"handler": "echo", "args": {"x": 3}}, headers=key)
    assert (422, "/problems/idempotency-key-reused") == (other.status, other.json()["type"])
    many = api.ask("POST", "/v1/jobs:batch", [{"handler": "echo"}, {"handler": "echo"}], headers=key)
    assert 422 == many.status, "one job and a batch under the same key"


def test_a_name_is_taken_once(api: ApiService) -> None:
    first = api.submit(name="named", args={"x": 1})
    again = api.ask("POST", "/v1/jobs", {"handler": "echo", "name": "named", "args": {"x": 1}})
    other = api.ask("POST", "/v1/jobs", {"handler": "echo", "name": "named", "args": {"x": 2}})

    assert (202, first["uid"], "true") == (again.status, again.json()["uid"], again.headers["Idempotent-Replayed"])
    assert (409, "/problems/conflict") == (other.status, other.json()["type"])


def test_both_doors_lead_to_the_same_job(api: ApiService) -> None:
    """What the API server adds, and what may change later, makes no other job of it; anything else does."""
    made = api.plane.must("POST", api.resource_path(), {
        "apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": "by-hand", "labels": {"team": "a"}},
        "spec": {"handler": "echo", "args": {"x": 1}, "cancel": True}})  # fmt: skip
    body = {"handler": "echo", "name": "by-hand", "args": {"x": 1}, "queue": "default", "labels": {"team": "a"}}
    same = api.ask("POST", "/v1/jobs", body)
    changes: list[dict[str, object]] = [{"args": {"x": 2}}, {"labels": {}}, {"priority": 1}]
    others = [api.ask("POST", "/v1/jobs", {**body, **change}).status for change in changes]

    assert (202, made["metadata"]["uid"], "true") == (
        same.status, same.json()["uid"], same.headers["Idempotent-Replayed"],
    )  # fmt: skip
    assert [409] * 3 == others


def test_a_manifest_is_taken_with_its_annotations(api: ApiService) -> None:
    text = f"""
apiVersion: longshore.dev/v1alpha1
kind: Job
metadata:
  name: manifest
  namespace: {api.namespace}
  annotations: {{example.com/owner: me}}
spec:
  handler: wordcount
  args: {{text: to be}}
"""
    taken = api.ask("POST", "/v1/jobs", raw=text.encode(), headers={"Content-Type": "application/yaml"})
    elsewhere = api.ask("POST", "/v1/jobs", raw=text.replace(api.namespace, "elsewhere").encode(),
                        headers={"Content-Type": "application/yaml"})  # fmt: skip

    assert 202 == taken.status, taken.body
    assert "me" == api.resource("manifest")["metadata"]["annotations"]["example.com/owner"]
    assert (422, "/metadata/namespace") == (elsewhere.status, elsewhere.json()["errors"][0]["pointer"])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"handler": "ecko"}, "/handler"),
        ({"handler": "echo", "priority": "high"}, "/priority"),
        ({"handler": "echo", "labels": {"team": "-"}}, "/labels"),
        # What only the API server refuses, by its schema: our own model takes any float here.
        ({"handler": "echo", "redrive": 1000001}, "/redrive"),
    ],
)
def test_bad_fields_are_named(api: ApiService, body: dict[str, object], pointer: str) -> None:
    answer = api.ask("POST", "/v1/jobs", body)

    assert (422, pointer) == (answer.status, answer.json()["errors"][0]["pointer"]), answer.body


def test_a_batch_is_kept_whole(api: ApiService) -> None:
    body = {"jobs": [{"handler": "echo", "args": {"x": x}} for x in range(20)], "labels": {"batch": "b1"}}
    answer = api.ask("POST", "/v1/jobs:batch", body, headers={"Idempotency-Key": "b1"})
    again = api.ask("POST", "/v1/jobs:batch", body, headers={"Idempotency-Key": "b1"})

    assert (202, 20) == (answer.status, answer.json()["count"]), answer.body
    assert {True} == {item["created"] for item in answer.json()["items"]}
    assert {False} == {item["created"] for item in again.json()["items"]}
    assert {"Pending": 20} == api.ask("GET", "/v1/jobs:count?label=batch=b1").json()["counts"]


def test_a_refused_batch_leaves_nothing(api: ApiService) -> None:
    api.submit(name="in-the-way", args={"x": 1})
    jobs = [{"handler": "echo", "labels": {"batch": "b2"}} for _ in range(5)]
    answer = api.ask("POST", "/v1/jobs:batch", [*jobs, {"handler": "echo", "name": "in-the-way"}])

    assert 409 == answer.status, answer.body
    assert {} == api.ask("GET", "/v1/jobs:count?label=batch=b2").json()["counts"]


def test_a_batch_that_breaks_off_is_taken_back(api: ApiService, eventually: Wait) -> None:
    """A quota is the one rule that every job of a trial passes, and the last of them does not."""
    quotas, count = f"/api/v1/namespaces/{api.namespace}/resourcequotas", "count/jobs.longshore.dev"
    used = len(api.plane.must("GET", api.resource_path())["items"])  # as the quota controller counts, should it come by

    def allow(more: int) -> None:
        """What the quota controller would come to in a minute."""
        hard = {count: str(more)}
        api.plane.must("PATCH", f"{quotas}/q", {"spec": {"hard": hard}})
        api.plane.must("PATCH", f"{quotas}/q/status", {"status": {"hard": hard, "used": {count: str(used)}}})

    def trial() -> int:
        body = {
            "apiVersion": "longshore.dev/v1alpha1",
            "kind": "Job",
            "metadata": {"generateName": "trial-"},
            "spec": {"handler": "echo"},
        }
        return api.plane.request("POST", f"{api.resource_path()}?dryRun=All", body)[0]

    api.plane.must("POST", quotas, {"metadata": {"name": "q"}, "spec": {"hard": {count: "0"}}})
    try:
        # Admission reads quotas from a cache: it has this one when it refuses, and its new size when it does no more.
        allow(0)
        eventually(lambda: trial() == 403, what="the quota in force")
        allow(used + 5)
        eventually(lambda: trial() == 201, what="room for five")
        jobs = [{"handler": "echo", "labels": {"batch": "b3"}} for _ in range(30)]
        answer = api.ask("POST", "/v1/jobs:batch", jobs)
    finally:
        api.plane.must("DELETE", f"{quotas}/q")

    assert (429, "/problems/quota-exceeded") == (answer.status, answer.json()["type"]), answer.body
    assert "a batch was taken back" in api.log.read_text()
    assert {} == api.ask("GET", "/v1/jobs:count?label=batch=b3").json()["counts"]


def test_a_full_queue_refuses(api: ApiService) -> None:
    queues = f"/apis/longshore.dev/v1alpha1/namespaces/{api.namespace}/queues"
    api.plane.must("POST", queues, {"apiVersion": "longshore.dev/v1alpha1", "kind": "Queue",
                                    "metadata": {"name": "narrow"}, "spec": {"maxPending": 2}})  # fmt: skip
    api.plane.must("PATCH", f"{queues}/narrow/status", {"status": {"depth": 2, "running": 0}})
    answer = api.ask("POST", "/v1/jobs", {"handler": "echo", "queue": "narrow"})

    assert (429, "/problems/quota-exceeded") == (answer.status, answer.json()["type"])
    assert "Retry-After" in answer.headers


# -- read -----------------------------------------------------------------------------------------------------


def test_a_wait_ends_with_the_job(api: ApiService, eventually: Wait) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.ask, "POST", "/v1/jobs", {"handler": "echo", "name": "waited"},
                              headers={"Prefer": "wait=20"})  # fmt: skip
        eventually(lambda: api.plane.request("GET", api.resource_path("waited"))[0] == 200)
        api.record("waited", phase="Succeeded", attempts=1, result={"x": 1}, finishedAt="2026-01-01T00:00:00Z")
        answer = waiting.result(10)

    assert (200, "wait=20") == (answer.status, answer.headers["Preference-Applied"])
    assert {"x": 1} == answer.json()["status"]["result"]
    assert {"x": 1} == api.ask("GET", "/v1/jobs/waited/result").json()


def test_a_wait_that_is_over_answers_202(api: ApiService) -> None:
    answer = api.ask("POST", "/v1/jobs", {"handler": "echo"}, headers={"Prefer": "wait=1"})

    assert (202, "Pending") == (answer.status, answer.json()["status"]["phase"])


def test_an_etag_changes_with_the_job(api: ApiService) -> None:
    api.submit(name="tagged")
    tag = api.ask("GET", "/v1/jobs/tagged").headers["ETag"]
    same = api.ask("GET", "/v1/jobs/tagged", headers={"If-None-Match": tag})
    timer = threading.Timer(0.3, lambda: api.record("tagged", phase="Running", attempts=1))
    timer.start()
    changed = api.ask("GET", "/v1/jobs/tagged?wait=20", headers={"If-None-Match": tag})
    refused = api.ask("POST", "/v1/jobs/tagged:cancel", headers={"If-Match": tag})
    timer.join()

    assert (304, 200, 412) == (same.status, changed.status, refused.status)
    assert "Running" == changed.json()["status"]["phase"]


def test_a_job_that_is_deleted_ends_its_waits(api: ApiService, eventually: Wait) -> None:
    api.submit(name="vanishing")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.ask, "GET", "/v1/jobs/vanishing?wait=20")
        eventually(lambda: "longshore_waiting_requests 1.0" in api.request("GET", "/metrics").body.decode())
        api.plane.must("DELETE", api.resource_path("vanishing"))

        assert 404 == waiting.result(10).status


def test_lists_filter_and_go_on(api: ApiService) -> None:
    for number in range(5):
        api.submit(name=f"list-{number}", queue="listed", labels={"list": "l1", "odd": str(number % 2)})
    api.submit("primes", name="list-5", queue="listed", args={"limit": 10}, labels={"list": "l1"})
    api.record("list-0", phase="Failed", attempts=1)
    api.record("list-1", phase="Succeeded", attempts=1)

    def names(query: str) -> list[str]:
        answer = api.ask("GET", f"/v1/jobs?{query}")
        assert 200 == answer.status, answer.body
        return [job["id"] for job in answer.json()["items"]]

    assert [f"list-{number}" for number in range(6)] == names("queue=listed")
    assert ["list-5"] == names("queue=listed&handler=primes")
    assert ["list-1", "list-3"] == names("label=list=l1&label=odd=1")
    assert ["list-0", "list-1"] == names("queue=listed&phase=Failed&phase=Succeeded")
    first = api.ask("GET", "/v1/jobs?queue=listed&limit=4").json()
    second = api.ask("GET", f"/v1/jobs?queue=listed&limit=4&cursor={first['nextCursor']}").json()
    assert (4, 2, "") == (len(first["items"]), len(second["items"]), second["nextCursor"])
    assert {"Pending": 4, "Failed": 1, "Succeeded": 1} == api.ask("GET", "/v1/jobs:count?queue=listed").json()["counts"]
    assert [] == names("queue=listed&handler=primes,status.phase=Failed"), "no second selector gets in"
    wrong = api.ask("GET", "/v1/jobs?cursor=nonsense")
    assert (422, "cursor") == (wrong.status, wrong.json()["errors"][0]["parameter"])


def test_what_is_not_there_is_404(api: ApiService) -> None:
    assert [404] * 5 == [
        api.ask(method, path).status
        for method, path in (("GET", "/v1/jobs/nobody"), ("POST", "/v1/jobs/nobody:cancel"),
                             ("DELETE", "/v1/jobs/nobody"), ("GET", "/v1/jobs/nobody/logs"), ("GET", "/v1/queues/nobody"))
    ]  # fmt: skip
    foreign = api.ask("GET", "/v1/jobs?namespace=kube-system")
    assert (422, "namespace") == (foreign.status, foreign.json()["errors"][0]["parameter"]), "it is not served"
    crooked = api.ask("GET", "/v1/jobs?namespace=a/pods%3F")
    assert (422, "namespace") == (crooked.status, crooked.json()["errors"][0]["parameter"])


def test_items_come_from_the_status(api: ApiService) -> None:
    api.submit("primes", name="array", items=[{"limit": 10}] * 4)
    error = {"type": "ValueError", "message": "no"}
    api.record("array", phase="Running", attempts=3, items={
        "succeeded": 2, "failed": 1, "running": 1, "succeededIndexes": "0-1", "failedIndexes": "3", "unkeptIndexes": "1",
        "errors": [{"index": 3, "error": error}]})  # fmt: skip

    assert [
        {"index": 0, "phase": "Succeeded"},
        {"index": 1, "phase": "Succeeded", "resultNotKept": "the worker has no results directory"},
        {"index": 3, "phase": "Failed", "error": error},
    ] == api.ask("GET", "/v1/jobs/array/items").json()["items"]
    refused = api.ask("GET", "/v1/jobs/array/logs")
    assert (422, "index") == (refused.status, refused.json()["errors"][0]["parameter"])
    assert 404 == api.ask("GET", "/v1/jobs/array/logs?index=4").status
    early = api.ask("GET", "/v1/jobs/array/result")
    api.record(
        "array", phase="Succeeded", attempts=4, items={"succeeded": 4, "succeededIndexes": "0-3", "unkeptIndexes": "1"}
    )
    never, anothers = (api.ask("GET", f"/v1/jobs/array/logs?index=1&attempt={number}") for number in (5, 4))
    assert (404, 410) == (never.status, anothers.status)
    assert "item 1 of job array has had no attempt 5; there were 4 of all its items so far" == never.json()["detail"]
    page = api.ask("GET", "/v1/jobs/array/result?limit=2").json()
    assert (409, True) == (early.status, "/v1/jobs/array/items" in early.json()["detail"])
    assert ([{"index": 0}, {"index": 1, "resultNotKept": "the worker has no results directory"}], 1) == (
        page["items"], page["nextAfter"])  # fmt: skip


def test_events_tell_of_changes(api: ApiService) -> None:
    with ThreadPoolExecutor(1) as pool:
        api.submit(name="eventful")
        stream = pool.submit(api.ask, "GET", "/v1/jobs/eventful/events", headers={"Accept": "text/event-stream"})
        api.ask("POST", "/v1/jobs/eventful:suspend")
        api.ask("POST", "/v1/jobs/eventful:resume")
        api.record("eventful", phase="Running", attempts=1, startedAt="2026-01-01T00:00:00Z")
        api.record("eventful", phase="Pending", attempts=1, retries=1)
        api.record("eventful", phase="Failed", attempts=2, finishedAt="2026-01-01T00:00:01Z")
        text = stream.result(20).body.decode()

    types = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    assert ["submitted", "suspended", "resumed", "started", "retrying", "failed"] == types
    found = api.ask("GET", "/v1/jobs/eventful/events").json()["items"]
    assert types == [event["type"] for event in found]
    assert sorted(event["seq"] for event in found) == [event["seq"] for event in found]
    assert "2026-01-01T00:00:01Z" == found[-1]["at"]
    rest = api.ask("GET", f"/v1/jobs/eventful/events?after={found[3]['seq']}").json()["items"]
    assert ["retrying", "failed"] == [event["type"] for event in rest]


def test_events_that_the_watch_has_yet_to_tell_come_before_the_end(
    cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch, eventually: Wait
) -> None:
    change, told = History.change, threading.Event()

    def change_late(history: History, *what: Any) -> None:
        told.wait(10)
        change(history, *what)

    monkeypatch.setattr(History, "change", change_late)
    path = f"/apis/longshore.dev/v1alpha1/namespaces/{namespace}/jobs"
    cluster.must("POST", path, make_job("quick"))
    store, _ = connect(Settings(kubeconfig=cluster.admin, namespace=namespace), {})
    try:
        eventually(lambda: store.status()["watch"]["connected"])  # type: ignore[index]
        cluster.must("PATCH", f"{path}/quick/status", {"status": {"phase": "Running", "attempts": 1}})
        failed = {"phase": "Failed", "attempts": 1, "conditions": conditions_of("Failed")}
        cluster.must("PATCH", f"{path}/quick/status", {"status": failed})
        threading.Timer(0.3, told.set).start()

        assert ["started", "failed"] == [event.type for event in store.events(job="quick")]
    finally:
        store.stop_waiting()


def test_explain_says_what_the_api_can_know(api: ApiService) -> None:
    api.submit(name="later", startAfter="2999-01-01T00:00:00Z")
    api.submit(name="held", suspend=True)
    api.submit(name="plain")
    api.submit(name="runs")
    api.record("runs", phase="Running", attempts=1, worker="pod-1")

    def reason(name: str) -> str:
        return str(api.ask("GET", f"/v1/jobs/{name}/explain").json()["reason"])

    assert ["NotBefore", "Suspended", "Unknown", "Running"] == [reason(n) for n in ("later", "held", "plain", "runs")]
    assert "operator" in api.ask("GET", "/v1/jobs/plain/explain").json()["message"]
    workers = api.ask("GET", "/v1/workers")
    assert (503, True) == (workers.status, "operator_token_file" in workers.json()["detail"])


def test_logs_are_the_tail_or_a_hint(api: ApiService) -> None:
    api.submit(name="spoke")
    api.record("spoke", phase="Failed", attempts=2, worker="pod-1", logTail="the end\n")
    api.submit(name="silent")
    api.record("silent", phase="Succeeded", attempts=1, worker="pod-1", finishedAt="2026-01-01T00:00:00Z")
    tail, gone = api.ask("GET", "/v1/jobs/spoke/logs?offset=-4"), api.ask("GET", "/v1/jobs/silent/logs")

    assert (200, b"end\n", "true", "2") == (
        tail.status, tail.body, tail.headers["Longshore-Complete"], tail.headers["Longshore-Attempt"],
    )  # fmt: skip
    assert (410, True) == (gone.status, "kubectl logs pod-1" in gone.json()["detail"])
    never = [api.ask("GET", f"/v1/jobs/spoke/logs?{query}").status for query in ("attempt=3", "index=0", "attempt=2")]
    assert [404, 404, 200] == never


# -- change ---------------------------------------------------------------------------------------------------


def test_verbs_are_patches_of_the_specification(api: ApiService) -> None:
    api.submit(name="verbs")
    assert api.ask("POST", "/v1/jobs/verbs:suspend").json()["spec"]["suspend"]
    assert not api.ask("POST", "/v1/jobs/verbs:resume").json()["spec"]["suspend"]
    cancelled = api.ask("POST", "/v1/jobs/verbs:cancel", {"graceSeconds": 1.5})

    assert (202, True) == (cancelled.status, cancelled.json()["spec"]["cancel"])
    assert "1.5" == api.resource("verbs")["metadata"]["annotations"]["longshore.dev/cancel-grace-seconds"]
    assert 409 == api.ask("DELETE", "/v1/jobs/verbs").status
    api.record("verbs", phase="Cancelled")
    assert [409, 409] == [api.ask("POST", f"/v1/jobs/verbs:{verb}").status for verb in ("cancel", "redrive")]
    assert 204 == api.ask("DELETE", "/v1/jobs/verbs").status
    assert 404 == api.plane.request("GET", api.resource_path("verbs"))[0]


def test_a_change_is_made_only_in_the_state_that_was_asked_for(api: ApiService) -> None:
    api.submit(name="conditional")
    path = "/v1/jobs/conditional"
    tag = api.ask("GET", path).headers["ETag"]
    for verb in ("suspend", "resume", "cancel"):
        for refused in ({"If-Match": '"other-1"'}, {"If-Match": f"W/{tag}"}, {"If-None-Match": "*"}):
            assert 412 == api.ask("POST", f"{path}:{verb}", headers=refused).status, (verb, refused)
    with ThreadPoolExecutor(4) as pool:
        verbs = ("suspend", "cancel", "suspend", "cancel")
        found = list(pool.map(lambda verb: api.ask("POST", f"{path}:{verb}", headers={"If-Match": tag}).status, verbs))
    assert 1 == sum(status < 300 for status in found), found
    assert 3 == found.count(412)
    api.record("conditional", phase="Failed", attempts=1)
    old, tag = tag, api.ask("GET", path).headers["ETag"]
    for method, verb in (("POST", ":redrive"), ("DELETE", "")):
        assert 412 == api.ask(method, path + verb, headers={"If-Match": old}).status
    assert 204 == api.ask("DELETE", path, headers={"If-Match": tag}).status


def test_two_people_do_not_overwrite_each_others_policy(api: ApiService) -> None:
    path = "/v1/queues/disputed"
    default = api.ask("GET", "/v1/queues/default").headers["ETag"]
    assert 412 == api.ask("PATCH", path, {"concurrency": 4}, headers={"If-Match": '"other-1"'}).status
    assert 404 == api.ask("GET", path).status, "nothing was made"
    assert 200 == api.ask("PATCH", path, {"concurrency": 4}, headers={"If-Match": default}).status, (
        "it had the defaults"
    )
    tag = api.ask("GET", path).headers["ETag"]
    status = {"status": {"depth": 7}}
    changed, _ = api.plane.request(
        "PATCH", api.resource_path("disputed").replace("/jobs/", "/queues/") + "/status", status
    )
    first = api.ask("PATCH", path, {"concurrency": 5}, headers={"If-Match": tag})
    second = api.ask("POST", f"{path}:pause", headers={"If-Match": tag})

    assert 200 == changed
    assert [200, 412] == [first.status, second.status], "the depth is no reason to refuse, the policy is"
    assert (5, False) == (first.json()["policy"]["concurrency"], api.ask("GET", path).json()["paused"])


def test_a_redrive_raises_the_counter_once(api: ApiService) -> None:
    api.submit(name="dead")
    assert 409 == api.ask("POST", "/v1/jobs/dead:redrive").status
    api.record("dead", phase="Failed", attempts=1)
    key = {"Idempotency-Key": "again"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: api.ask("POST", "/v1/jobs/dead:redrive", headers=key), range(4)))

    assert [202] * 4 == [answer.status for answer in answers]
    assert 1 == api.resource("dead")["spec"]["redrive"]
    assert 409 == api.ask("POST", "/v1/jobs/dead:redrive").status, "it is on its way"
    assert 409 == api.ask("DELETE", "/v1/jobs/dead").status
    api.record("dead", phase="Pending", attempts=1, redrives=1)
    api.record("dead", phase="Failed", attempts=2, redrives=1)
    assert 202 == api.ask("POST", "/v1/jobs/dead:redrive").status
    assert 2 == api.resource("dead")["spec"]["redrive"]


def test_a_chain_is_redriven_in_order(api: ApiService) -> None:
    after = {"chain-a": [], "chain-b": ["chain-a"], "a-chain-c": ["chain-b"], "chain-d": ["chain-b", "chain-other"]}
    for name in (*after, "chain-other"):
        api.submit(name=name, after=after.get(name, []))
        api.record(name, phase="Failed", reason="DependencyFailed" if after.get(name) else "HandlerError")
    alone = api.ask("POST", "/v1/jobs/a-chain-c:redrive")
    answer = api.ask("POST", "/v1/jobs/chain-a:redrive", {"dependents": True})
    found = {name: api.resource(name) for name in after}
    versions = [int(found[name]["metadata"]["resourceVersion"]) for name in ("chain-a", "chain-b", "a-chain-c")]

    assert 409 == alone.status
    assert "waits for job chain-b, which is Failed" in alone.json()["detail"]
    assert (202, ["chain-a", "chain-b", "a-chain-c"]) == (answer.status, answer.json()["redriven"])
    assert sorted(versions) == versions
    assert 0 == found["chain-d"]["spec"].get("redrive", 0), "it waits for another that has failed"


def test_a_batch_is_created_in_the_order_of_its_dependencies(api: ApiService) -> None:
    """The operator failed a job whose dependency stood behind it in the batch."""
    after = {"wave-c": ["wave-b", "wave-a"], "wave-b": ["wave-a"], "wave-a": []}
    jobs = [{"handler": "echo", "name": name, "after": names} for name, names in after.items()]
    answer = api.ask("POST", "/v1/jobs:batch", {"jobs": jobs})
    versions = [int(api.resource(name)["metadata"]["resourceVersion"]) for name in ("wave-a", "wave-b", "wave-c")]
    missing = api.ask("POST", "/v1/jobs:batch", {"jobs": [{"handler": "echo", "after": ["wave-a", "wave-z"]}]})

    assert 202 == answer.status, answer.body
    assert list(after) == [item["id"] for item in answer.json()["items"]]
    assert sorted(versions) == versions
    assert (422, "/jobs/0/after/1") == (missing.status, missing.json()["errors"][0]["pointer"])


def test_queues_are_resources(api: ApiService) -> None:
    assert "default" in [queue["name"] for queue in api.ask("GET", "/v1/queues").json()["items"]]
    assert api.ask("POST", "/v1/queues/fresh:pause").json()["paused"], "it had no resource"
    changed = api.ask("PATCH", "/v1/queues/fresh", {"concurrency": 4, "paused": None})
    wrong = api.ask("PATCH", "/v1/queues/fresh", {"concurrency": 0})
    unknown = api.ask("PATCH", "/v1/queues/fresh", {"colour": "red"})

    assert (200, 4, False) == (changed.status, changed.json()["policy"]["concurrency"], changed.json()["paused"])
    assert (422, "/concurrency") == (wrong.status, wrong.json()["errors"][0]["pointer"])
    assert (422, "/colour") == (unknown.status, unknown.json()["errors"][0]["pointer"])


# -- who may --------------------------------------------------------------------------------------------------


def test_without_a_token_nobody_comes_in(api: ApiService) -> None:
    answers = [api.request("GET", "/v1/jobs"), api.ask("GET", "/v1/jobs", token="nonsense"),
               api.ask("POST", "/v1/jobs", {"handler": "echo"}, token="ä")]  # fmt: skip

    assert [401] * 3 == [answer.status for answer in answers]
    assert "Bearer" in answers[0].headers["WWW-Authenticate"]
    assert [200] * 3 == [api.request("GET", path).status for path in ("/livez", "/readyz", "/metrics")]
    assert 200 == api.request("GET", "/v1/jobs", headers={"Authorization": password(api.token)}).status


def test_rights_are_those_of_the_cluster(api: ApiService) -> None:
    account(api.plane, api.namespace, "reader", [
        {"apiGroups": ["longshore.dev"], "resources": ["jobs"], "verbs": ["get", "list"]}])  # fmt: skip
    account(api.plane, api.namespace, "sender", [
        {"apiGroups": ["longshore.dev"], "resources": ["jobs"], "verbs": ["create"]}])  # fmt: skip
    reader, sender = (api.plane.token(api.namespace, name) for name in ("reader", "sender"))
    api.submit(name="guarded")
    refused = api.ask("POST", "/v1/jobs", {"handler": "echo"}, token=reader)

    assert 403 == refused.status
    detail = refused.json()["detail"]
    assert f"{api.namespace}:reader may not create jobs.longshore.dev in the namespace {api.namespace}" in detail
    assert 200 == api.ask("GET", "/v1/jobs", token=reader).status
    assert 202 == api.ask("POST", "/v1/jobs", {"handler": "echo"}, token=sender).status
    assert [403] * 4 == [
        api.ask(method, path, token=token).status
        for method, path, token in (
            ("GET", "/v1/jobs/guarded", sender), ("POST", "/v1/jobs/guarded:cancel", reader),
            ("DELETE", "/v1/jobs/guarded", reader), ("POST", "/v1/queues/default:pause", reader))
    ]  # fmt: skip


def test_rights_in_one_namespace_open_nothing_of_another(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """The whole table of routes, by an account that may do everything in a namespace of its own."""
    other = cluster.make_namespace()
    service = ApiService(tmp_path, cluster, namespace, all_namespaces=True)
    subject = {"kind": "ServiceAccount", "name": "longshore-api", "namespace": namespace}
    everywhere(cluster, f"{namespace}-api", API_RIGHTS, subject)
    account(cluster, other, "attacker", USER_RIGHTS)
    token = cluster.token(other, "attacker")
    service.start()
    try:
        service.submit(name="secret", args={"x": "hidden"}, labels={"of": "victim"})
        for route, method, _, _, named in TABLE:
            if route == "/refunds":
                continue  # of an application that is not loaded here
            path = route.replace("<id>", "secret").replace("<name>", "default")
            body = {"handler": "echo"} if method == "POST" else None
            ours = [service.ask(method, path + place, body, token=token) for place in ("", f"?namespace={namespace}")]
            there = service.ask(method, f"{path}?namespace={other}", body, token=token)
            assert [403, 403] == [answer.status for answer in ours], (method, path)
            assert named == (there.status != 403), (method, path)
            assert not re.search(b"hidden|victim", there.body), (method, path)
        kept = service.ask("GET", "/v1/jobs/secret").json()
    finally:
        service.end()

    assert ("Pending", False) == (kept["status"]["phase"], kept["spec"].get("suspend", False))


def test_reviews_are_remembered(api: ApiService) -> None:
    account(api.plane, api.namespace, "often", [
        {"apiGroups": ["longshore.dev"], "resources": ["jobs"], "verbs": ["list"]}])  # fmt: skip
    token = api.plane.token(api.namespace, "often")
    before = counted(api, "review")
    assert [200] * 5 == [api.ask("GET", "/v1/jobs?limit=1", token=token).status for _ in range(5)]

    assert 2 == counted(api, "review") - before


def counted(api: ApiService, word: str) -> float:
    """Requests to the API server whose labels have the word."""
    lines = api.request("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines
               if line.startswith("longshore_kube_requests_total{") and word in line)  # fmt: skip


def test_our_own_missing_rights_are_named(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    service = ApiService(tmp_path, cluster, namespace)
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/longshore-api"
    cluster.must("PATCH", role, {"rules": [
        {"apiGroups": ["longshore.dev"], "resources": ["jobs", "queues"], "verbs": ["get", "list", "watch"]}]})  # fmt: skip
    try:
        service.start()
        answer = service.ask("POST", "/v1/jobs", {"handler": "echo"})
    finally:
        service.end()

    assert (503, "/problems/store-unavailable") == (answer.status, answer.json()["type"])
    assert f"may not create jobs.longshore.dev in the namespace {namespace}" in answer.json()["detail"]


# -- with an operator and a worker ----------------------------------------------------------------------------


def test_the_whole_way(
    cluster: ControlPlane, kubelet: Kubelet, namespace: str, tmp_path: Path, eventually: Wait
) -> None:
    rig = Rig(cluster, kubelet, namespace, tmp_path)
    service = ApiService(tmp_path / "api", cluster, namespace, commands=True)
    try:
        worker = rig.worker(commands=True)
        tokens = tmp_path / "tokens-of-the-operator"
        tokens.write_text("of-the-operator\n")
        leader = rig.leader(token_file=tokens)
        service.change(worker_tokens_file=worker.tokens, operator_token_file=tokens)
        service.start()
        wait = {"Prefer": "wait=20"}
        done = service.ask("POST", "/v1/jobs", {"handler": "primes", "args": {"limit": 100}}, headers=wait)
        said = service.ask("POST", "/v1/jobs", {"command": ["sh", "-c", "echo still here; sleep 600"], "name": "talks"})
        eventually(lambda: service.resource("talks")["status"]["phase"] == "Running")
        eventually(lambda: b"still here" in service.ask("GET", "/v1/jobs/talks/logs").body, what="its output")
        live = service.ask("GET", "/v1/jobs/talks/logs")
        for name in ("second", "third"):
            service.ask("POST", "/v1/jobs", {"command": ["sleep", "600"], "name": name})
        eventually(
            lambda: service.ask("GET", "/v1/jobs/third/explain").json()["reason"] == "NoFreeSlot", what="the reason"
        )
        (there,) = service.ask("GET", "/v1/workers").json()["items"]
        cancelled = service.ask("POST", "/v1/jobs/talks:cancel")
        ended = service.ask("GET", "/v1/jobs/talks?wait=20")
        after = service.ask("GET", "/v1/jobs/talks/logs")
        leader.kill()
        unasked = service.ask("GET", "/v1/workers")
    finally:
        service.end()
        rig.close()

    assert (200, {"count": 25, "largest": 97}) == (done.status, done.json()["status"]["result"])
    assert 202 == said.status, said.body
    assert (200, "false", True) == (live.status, live.headers["Longshore-Complete"], b"still here" in live.body)
    assert (202, "Cancelled") == (cancelled.status, ended.json()["status"]["phase"])
    assert (200, "true") == (after.status, after.headers["Longshore-Complete"]), after.body
    assert ("worker-0", {"talks", "second"}) == (there["name"], {one["job"] for one in there["running"]})
    assert 503 == unasked.status
    assert "does not answer" in unasked.json()["detail"]


def test_all_namespaces_when_asked_for(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """And any handler, where no applications say which there are."""
    other = cluster.make_namespace()
    service = ApiService(tmp_path, cluster, namespace, all_namespaces=True, apps="")
    subject = {"kind": "ServiceAccount", "name": "longshore-api", "namespace": namespace}
    everywhere(cluster, f"{namespace}-api", API_RIGHTS, subject)
    grant(cluster, other, "user", USER_RIGHTS, {"kind": "ServiceAccount", "name": "user", "namespace": namespace})
    service.start()
    try:
        there = service.ask("POST", f"/v1/jobs?namespace={other}", {"handler": "anything"})
        path = there.headers["Location"]
        cluster.must("PATCH", f"/apis/longshore.dev/v1alpha1/namespaces/{other}/jobs/{there.json()['id']}/status",
                           {"status": {"phase": "Succeeded", "attempts": 1, "conditions": conditions_of("Succeeded")}})  # fmt: skip
        read = service.ask("GET", f"{path}&wait=20")
        here = service.ask("GET", "/v1/jobs").json()["items"]
        nowhere = service.ask("POST", "/v1/jobs?namespace=default", {"handler": "anything"})
    finally:
        service.end()

    assert (202, other) == (there.status, there.json()["namespace"])
    assert (200, "Succeeded", path) == (read.status, read.json()["status"]["phase"], read.json()["links"]["self"])
    assert ([], 403) == (here, nowhere.status)


def test_an_api_that_ends_answers_who_waits(
    cluster: ControlPlane, namespace: str, tmp_path: Path, eventually: Wait
) -> None:
    service = ApiService(tmp_path, cluster, namespace)
    service.start()
    try:
        service.submit(name="slow")
        with ThreadPoolExecutor(2) as pool:
            wait = pool.submit(service.ask, "GET", "/v1/jobs/slow?wait=30")
            stream = pool.submit(service.ask, "GET", "/v1/events", headers={"Accept": "text/event-stream"}, timeout=60)
            eventually(lambda: "longshore_waiting_requests 1.0" in service.request("GET", "/metrics").body.decode())
            eventually(lambda: "longshore_streams_open 1.0" in service.request("GET", "/metrics").body.decode())
            code = service.stop(9)  # gunicorn would cut them off after 10 s
            answers = wait.result(5), stream.result(5)
    finally:
        service.end()

    assert (0, 200, "Pending") == (code, answers[0].status, answers[0].json()["status"]["phase"])
    assert b"event: submitted" in answers[1].body


# -- an API server of one's own -------------------------------------------------------------------------------


def test_twelve_waits_hang_on_one_watch(own_control_plane: ControlPlane, tmp_path: Path, eventually: Wait) -> None:
    """Without controllers, which would watch Jobs too."""
    plane = own_control_plane
    plane.install_crds()
    service = ApiService(tmp_path, plane, plane.make_namespace())
    service.start()
    names = [f"many-{number}" for number in range(12)]
    try:
        for name in names:
            service.submit(name=name)
        with ThreadPoolExecutor(12) as pool:
            waits = [pool.submit(service.ask, "GET", f"/v1/jobs/{name}?wait=25") for name in names]
            eventually(lambda: "longshore_waiting_requests 12.0" in service.request("GET", "/metrics").body.decode())
            watches = open_watches(plane)
            beyond = service.ask("GET", "/v1/jobs/many-0?wait=25")
            for name in names:
                service.record(name, phase="Succeeded", attempts=1)
            ended = [wait.result(10).json()["status"]["phase"] for wait in waits]
    finally:
        service.end()

    assert (1, ["Succeeded"] * 12) == (watches, ended)
    assert "Pending" == beyond.json()["status"]["phase"], "beyond the budget nobody waits"


def open_watches(plane: ControlPlane) -> int:
    """Watches of Jobs that the API server has open, by its own count."""
    lines = [line for line in plane.metrics().splitlines() if line.startswith("apiserver_longrunning_requests{")]
    jobs = [line for line in lines if 'resource="jobs"' in line and 'group="longshore.dev"' in line]
    return int(sum(float(line.rpartition(" ")[2]) for line in jobs))


def test_an_api_server_that_was_killed_and_comes_back(
    own_control_plane: ControlPlane, tmp_path: Path, eventually: Wait
) -> None:
    plane = own_control_plane
    plane.install_crds()
    service = ApiService(tmp_path, plane, plane.make_namespace())
    service.start()
    try:
        service.submit(name="before")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(service.ask, "GET", "/v1/jobs/before?wait=30")
            eventually(lambda: "longshore_waiting_requests 1.0" in service.request("GET", "/metrics").body.decode())
            plane.kill_apiserver()
            away = service.ask("POST", "/v1/jobs", {"handler": "echo", "name": "during"})
            alive = service.request("GET", "/livez").status
            # An answer of the API server counts for two seconds.
            eventually(lambda: service.request("GET", "/readyz").status == 503, seconds=20, what="no readiness")
            plane.start_apiserver()
            plane.kill_etcd()
            eventually(lambda: service.request("GET", "/readyz").status == 503, seconds=20, what="none without etcd")
            plane.start_etcd()
            eventually(lambda: service.request("GET", "/readyz").status == 200, seconds=60, what="readiness")
            eventually(lambda: service.metric("watch_connected") == 1, what="the watch")
            service.record("before", phase="Succeeded", attempts=1)
            ended = waiting.result(20)
            assert service.metric("watch_events_total") >= 1
        after = service.ask("POST", "/v1/jobs", {"handler": "echo", "name": "after"})
    finally:
        service.end()

    assert (503, "/problems/store-unavailable", "1") == (
        away.status, away.json()["type"], away.headers["Retry-After"],
    )  # fmt: skip
    assert 200 == alive
    assert (200, "Succeeded") == (ended.status, ended.json()["status"]["phase"])
    assert 202 == after.status


@pytest.mark.parametrize("levels", [70, 300, 1_200, 9_000])
def test_what_is_nested_too_deeply_is_refused_by_its_field(api: ApiService, levels: int) -> None:
    text = "[" * levels + "]" * levels
    raw = f'{{"handler": "echo", "name": "deep-{levels}", "args": {{"x": {text}}}}}'.encode()
    headers = {"Content-Type": "application/json"}
    one = api.ask("POST", "/v1/jobs", raw=raw, headers=headers)
    two = api.ask("POST", "/v1/jobs:batch", raw=b'{"jobs": [{"handler": "echo"}, ' + raw + b"]}", headers=headers)

    assert (422, 422) == (one.status, two.status)
    assert [{"pointer": "/args", "detail": "is nested deeper than 64 levels"}] == one.json()["errors"]
    assert "/jobs/1/args" == two.json()["errors"][0]["pointer"]


@pytest.mark.parametrize("levels", [300, 1_200, 9_000])
def test_a_resource_that_is_nested_too_deeply_hides_no_other(
    api: ApiService, levels: int, tmp_path: Path, eventually: Wait
) -> None:
    """An API server takes it, from kubectl."""
    name, text = f"applied-{levels}", "[" * levels + "]" * levels
    body = tmp_path / "deep.json"
    body.write_text(f'{{"apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {{"name": "{name}"}},'
                    f'"spec": {{"handler": "echo", "args": {{"kept": 1, "x": {text}}}}}}}')  # fmt: skip
    path = api.resource_path()
    api.plane.kubectl("create", "--raw", path, "-f", str(body), check=True)
    beside = api.submit(name=f"beside-{levels}")["id"]
    try:
        one, many = api.ask("GET", f"/v1/jobs/{name}"), api.ask("GET", "/v1/jobs")
        cancelled = api.ask("POST", f"/v1/jobs/{name}:cancel")
        eventually(lambda: api.metric("watch_connected") == 1, what="the watch")
        waited = api.ask("GET", f"/v1/jobs/{beside}?wait=0.2")
    finally:
        api.plane.kubectl("delete", "--raw", f"{path}/{name}")

    assert [200, 200, 202, 200] == [answer.status for answer in (one, many, cancelled, waited)]
    assert 1 == one.json()["spec"]["args"]["kept"]
    assert "nested too deeply to be shown" in one.body.decode()
    assert {name, beside} <= {job["id"] for job in many.json()["items"]}


def test_open_readiness_is_one_question_to_the_api_server_every_two_seconds(api: ApiService) -> None:
    lists = ('resource="jobs"', 'verb="LIST"')
    before, began = requests_of(api.plane, *lists), time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: api.request("GET", "/readyz").status, range(300)))
    asked = requests_of(api.plane, *lists) - before

    assert {200} == set(answers)
    # The first at once, then one for each two seconds that it took; and one of the api's own watch, which may begin anew.
    assert asked <= (time.monotonic() - began) / SHARED_SECONDS + 2


def test_views_of_an_application_count_in_the_api_of_a_cluster(
    cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> None:
    namespace = cluster.make_namespace()
    service = ApiService(tmp_path_factory.mktemp("counting"), cluster, namespace, apps="metric_jobs")
    try:
        service.start()
        for _ in range(3):
            assert 204 == service.ask("POST", "/shop/touch").status
        lines = service.ask("GET", "/metrics").body.decode().splitlines()
        assert {"shop_touched_total 3.0", "shop_depth 7.0", 'shop_release{version="1.2"} 1.0'} <= set(lines)
    finally:
        service.end()
        cluster.request("DELETE", f"/api/v1/namespaces/{namespace}")
