"""What is lost, whose is an attempt, what a worker's word is worth: the pure decisions, by tables."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from longshore.job.attempts import EndedEntry
from longshore.job.status import Outcome
from longshore_operator import recover
from longshore_operator.desk import Desk, Worker
from longshore_operator.job import Attempt, Job
from longshore_operator.jobs import Jobs
from longshore_operator.record import kept
from longshore_operator.recover import Claim, Pod
from trusted import TRUST

NOW = 1_800_000_000.0
REF = "default/uid-1/job.1.0a1b2c3d.json"
Json = dict[str, Any]


def make_pod(**status: Any) -> Json:
    return {
        "metadata": {"uid": "u1", "name": "worker-0", "namespace": "default", "labels": {"longshore.dev/pool": "p"}},
        "spec": {"containers": [{"name": "worker", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {
            "phase": "Running", "podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}], **status,
        },
    }  # fmt: skip


def ended_container(
    reason: str, at: str = "2026-01-01T00:00:00Z", *, name: str = "worker", state: str = "lastState"
) -> Json:
    return {"name": name, "restartCount": 1, state: {"terminated": {"reason": reason, "finishedAt": at}}}


def waits(reason: str, message: str = "") -> Json:
    return {"name": "worker", "state": {"waiting": {"reason": reason, "message": message}}}


CRASHED = {"name": "worker", "restartCount": 2, "lastState": {"terminated": {"reason": "Error", "exitCode": 3}}}
NO_NODE = {
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]
}


@pytest.mark.parametrize(
    ("status", "stage", "trouble"),
    [
        pytest.param({"containerStatuses": [waits("ContainerCreating")]}, "ContainerCreating", "", id="starts"),
        pytest.param({"containerStatuses": [waits("ImagePullBackOff", "Back-off\n pulling")]}, "ImagePullBackOff", "ImagePullBackOff: Back-off pulling", id="image"),
        pytest.param({"containerStatuses": [waits("CreateContainerConfigError", "no secret")]}, "CreateContainerConfigError", "CreateContainerConfigError: no secret", id="configuration"),
        pytest.param({"containerStatuses": [waits("PodInitializing")], "initContainerStatuses": [waits("CrashLoopBackOff", "x" * 999)]}, "CrashLoopBackOff", "CrashLoopBackOff: " + "x" * 282, id="init container"),
        pytest.param({"containerStatuses": [CRASHED | {"state": {"running": {}}}]}, "Starting", "Error: its container ended with exit code 3 and was started 2 more times", id="between two crashes"),
        pytest.param({"containerStatuses": [CRASHED | {"state": {"running": {}}, "ready": True}]}, "Starting", "", id="got over it"),
    ],
)  # fmt: skip
def test_a_pod_that_does_not_start_says_why(status: Json, stage: str, trouble: str) -> None:
    placed = make_pod(**status)
    placed["spec"]["nodeName"] = "node-1"
    found = recover.pod(placed, TRUST)
    assert (stage, trouble) == (found.stage, found.trouble)


def test_a_pod_without_a_node_says_what_the_scheduler_says() -> None:
    found = recover.pod(make_pod(**NO_NODE), TRUST)
    assert ("Unschedulable", "Unschedulable: 0/3 nodes", False) == (found.stage, found.trouble, found.running)


# -- pods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param({}, {"ready": True, "ended": "", "address": "10.0.0.7:8080"}, id="runs"),
        pytest.param({"podIP": "fd00::7"}, {"address": "[fd00::7]:8080"}, id="IPv6"),
        pytest.param({"podIP": ""}, {"address": ""}, id="has no address yet"),
        pytest.param({"conditions": [{"type": "Ready", "status": "False"}]}, {"ready": False}, id="not ready"),
        pytest.param({"conditions": [{"type": "Ready", "status": "Unknown"}]}, {"ready": False}, id="node silent"),
        pytest.param({"conditions": None, "containerStatuses": None}, {"ready": False, "last_end": ""}, id="no status"),
        pytest.param({"phase": "Failed", "reason": "Evicted"}, {"ended": "Evicted"}, id="evicted"),
        pytest.param({"phase": "Failed"}, {"ended": "Failed"}, id="failed without a reason"),
        pytest.param({"phase": "Succeeded"}, {"ended": "Succeeded"}, id="ended well"),
        pytest.param({"reason": "NodeLost"}, {"ended": ""}, id="a reason alone is no end"),
        pytest.param({"containerStatuses": [ended_container("OOMKilled")]}, {"last_end": "OOMKilled"}, id="OOM"),
        pytest.param(
            {"containerStatuses": [ended_container("OOMKilled", state="state") | ended_container("Error")]},
            {"last_end": "OOMKilled", "last_end_at": 1_767_225_600.0},
            id="ended, and not yet started again",
        ),
        pytest.param(
            {"containerStatuses": [ended_container("OOMKilled", name="mesh")]}, {"last_end": ""}, id="sidecar"
        ),
    ],
)
def test_a_pod_is_read(status: Json, expected: Json) -> None:
    found = recover.pod(make_pod(**status), TRUST)
    assert expected == {name: getattr(found, name) for name in expected}


@pytest.mark.parametrize(
    ("ready", "since", "state", "opens"),
    [
        pytest.param("False", "00:00:05", {"running": {"startedAt": "2026-01-01T00:00:05Z"}}, True, id="starts"),
        pytest.param("False", "00:00:06", {"running": {"startedAt": "2026-01-01T00:00:05Z"}}, False, id="was ready"),
        pytest.param("False", "00:00:01", {"waiting": {"reason": "CrashLoopBackOff"}}, False, id="does not run"),
        pytest.param("Unknown", "00:00:05", {"running": {"startedAt": "2026-01-01T00:00:05Z"}}, False, id="silent"),
        pytest.param("True", "00:00:09", {"running": {"startedAt": "2026-01-01T00:00:05Z"}}, True, id="ready"),
    ],
)
def test_before_its_first_readiness_a_workers_word_is_enough(
    ready: str, since: str, state: Json, *, opens: bool
) -> None:
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": f"2026-01-01T{since}Z"}
    found = recover.pod(make_pod(conditions=[condition], containerStatuses=[{"name": "worker", "state": state}]), TRUST)
    assert (found.open, found.ready) == (opens, ready == "True")


def test_a_pod_that_is_being_deleted_is_ending() -> None:
    resource = make_pod()
    resource["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert recover.pod(resource, TRUST).ending


@pytest.mark.parametrize(
    ("annotations", "namespace", "queue", "serves"),
    [
        ({}, "default", "any", True),
        ({}, "other", "any", False),
        ({"longshore.dev/serves-namespaces": "a, other"}, "other", "any", True),
        ({"longshore.dev/serves-namespaces": "*"}, "other", "any", True),
        ({"longshore.dev/queues": "red, blue"}, "default", "blue", True),
        ({"longshore.dev/queues": "red, blue"}, "default", "green", False),
        ({"longshore.dev/queues": "blue", "longshore.dev/serves-namespaces": "*"}, "other", "green", False),
    ],
)
def test_whom_a_pod_serves(annotations: dict[str, str], namespace: str, queue: str, *, serves: bool) -> None:
    resource = make_pod()
    resource["metadata"]["annotations"] = annotations
    assert serves == recover.pod(resource, TRUST).serves(namespace, queue)


# -- losses -------------------------------------------------------------------------------------------------------

WELL = recover.pod(make_pod(), TRUST)
UNREADY = recover.pod(make_pod(conditions=[]), TRUST)
EVICTED = recover.pod(make_pod(phase="Failed", reason="Evicted"), TRUST)
KILLED = recover.pod(make_pod(containerStatuses=[ended_container("OOMKilled")]), TRUST)
KILLED_AT = KILLED.last_end_at


@pytest.mark.parametrize(
    ("pod", "silent", "refusals", "why"),
    [
        pytest.param(WELL, 0.0, 0, "", id="well"),
        pytest.param(WELL, 4.9, 0, "", id="a little late"),
        pytest.param(WELL, 5.1, 0, "late", id="too late"),
        pytest.param(WELL, -600.0, 0, "", id="asked just now"),
        pytest.param(WELL, 0.0, 3, "", id="refusals may be a restart of its door"),
        pytest.param(WELL, 0.0, 4, "its process is gone", id="nobody listens"),
        pytest.param(KILLED, 0.0, 1, "its process is gone", id="nobody listens, and the kubelet knows why"),
        pytest.param(KILLED, 0.0, 0, "", id="ended by the kubelet's word alone, which may be older than its feed's"),
        pytest.param(UNREADY, 0.0, 0, "", id="not ready is not lost"),
        pytest.param(UNREADY, 1.9, 0, "", id="not ready, a little late"),
        pytest.param(UNREADY, 2.1, 0, "late", id="not ready and late"),
        pytest.param(EVICTED, 0.0, 0, "Evicted", id="evicted"),
        pytest.param(None, 0.0, 0, "its pod is gone", id="gone"),
    ],
)
def test_what_is_lost(pod: Pod | None, silent: float, refusals: int, why: str) -> None:
    found = recover.lost(pod, silent_seconds=silent, refusals=refusals, heard_at=KILLED_AT - 5)
    assert why in found
    assert bool(why) == bool(found)


@pytest.mark.parametrize(
    ("pod", "heard_at", "how"),
    [
        pytest.param(KILLED, KILLED_AT - 5, "OOMKilled", id="heard before"),
        pytest.param(KILLED, KILLED_AT + 0.9, "OOMKilled", id="heard in the same second"),
        pytest.param(KILLED, KILLED_AT + 1, "", id="heard since: it was its predecessor's end"),
        pytest.param(WELL, 0.0, "", id="has not ended"),
        pytest.param(None, 0.0, "", id="gone"),
    ],
)
def test_how_the_container_has_ended_since(pod: Pod | None, heard_at: float, how: str) -> None:
    assert how == recover.container_end(pod, heard_at)


# -- claims -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "held", "latest", "expected"),
    [
        pytest.param(1, (1, "me"), 1, Claim.OURS, id="what it was given"),
        pytest.param(1, (1, ""), 1, Claim.OURS, id="what ran when the status was written"),
        pytest.param(1, None, 0, Claim.NEW, id="what a predecessor started"),
        pytest.param(3, None, 1, Claim.NEW, id="what a predecessor started after ends that it did not write"),
        pytest.param(2, (1, ""), 1, Claim.NEW, id="what followed the attempt that the status names"),
        pytest.param(2, (1, "you"), 1, Claim.STALE, id="a later one while another worker runs the latest"),
        pytest.param(1, (1, "you"), 1, Claim.TWIN, id="the same number on another worker"),
        pytest.param(1, (2, "you"), 2, Claim.STALE, id="given up, and started again elsewhere"),
        pytest.param(1, (2, "me"), 2, Claim.STALE, id="given up, and started again there"),
        pytest.param(1, (2, ""), 2, Claim.STALE, id="given up before the status was written"),
        pytest.param(1, None, 1, Claim.STALE, id="given up, and waits again"),
        pytest.param(5, (9, "you"), 0, Claim.STALE, id="an item's earlier attempt"),
        pytest.param(5, None, 0, Claim.NEW, id="an item, whose number may be lower than the job's"),
    ],
)
def test_whose_an_attempt_is(number: int, held: tuple[int, str] | None, latest: int, expected: Claim) -> None:
    assert expected == recover.claim(number, "me", held=held, latest=latest)


def make_job(**status: Any) -> Json:
    spec = status.pop("spec", {})
    return {
        "metadata": {
            "name": "job", "namespace": "default", "uid": "uid-1", "resourceVersion": str(status.pop("version", 7)),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"handler": "echo", **spec}, "status": {"phase": "Pending", "attempts": 0, "redrives": 0, **status},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("index", "has"), [(None, False), (0, False), (1, False), (2, True), (3, True), (4, False)], ids=str
)
def test_of_which_items_may_be_told(index: int | None, *, has: bool) -> None:
    items = {"succeeded": 1, "failed": 1, "running": 0, "succeededIndexes": "0", "failedIndexes": "1"}
    assert has == Job(make_job(spec={"count": 4}, items=items)).has(index)


def test_of_a_job_that_is_no_array_no_item_may_be_told() -> None:
    assert Job(make_job()).has(None)
    assert not Job(make_job()).has(0)
    assert not Job(make_job(phase="Failed")).has(None)


# -- the desk -----------------------------------------------------------------------------------------------------


def make_jobs(desk: Desk) -> Jobs:
    """As on a standby: it only watches."""
    nothing: Any = None
    return Jobs(
        desk, nothing, nothing, nothing, nothing, now=lambda: NOW, stir=lambda: None, log=lambda *_args, **_fields: None
    )


def test_an_event_from_before_a_jobs_end_does_not_bring_it_back() -> None:
    desk = Desk()
    jobs = make_jobs(desk)
    jobs.seen(make_job(version=7))
    assert ["uid-1"] == list(desk.jobs)
    jobs.gone(make_job(version=9))
    jobs.seen(make_job(version=8))
    assert [] == list(desk.jobs)


def test_a_job_that_runs_by_its_status_counts_against_limits() -> None:
    desk = Desk()
    jobs = make_jobs(desk)
    jobs.seen(make_job(phase="Running", attempts=2))
    line = desk.line(("default", "default"), NOW)
    assert (1, 0) == (line.running, len(line))
    jobs.seen(make_job(version=8, attempts=2, disruptions=1))
    assert (0, 0) == (line.running, len(line)), "the leader has written that it waits again; only leaders have a line"
    jobs.gone(make_job(version=9))
    assert (0, 0) == (line.running, len(line))


def test_the_end_of_a_worker_leaves_nothing_on_the_desk() -> None:
    desk, job = Desk(), Job(make_job())
    desk.add(job)
    worker = desk.workers["u1"] = Worker(WELL)
    attempt = Attempt(1, None, NOW)
    desk.begin(job, attempt, worker, NOW)
    assert [(job, attempt)] == list(worker.held.values())
    desk.drop(job)
    assert ({}, 0) == (worker.held, desk.line(job.key, NOW).running)


# -- a worker's word ----------------------------------------------------------------------------------------------


def deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param({"result": {"x": 1}}, {"outcome": "succeeded", "result": {"x": 1}}, id="as it is"),
        pytest.param({"result": "x" * 17_000}, {"outcome": "failed", "reason": "ResultTooLarge"}, id="too large"),
        pytest.param({"result": 2**70}, {"outcome": "failed", "reason": "ResultNotSerializable"}, id="too great"),
        pytest.param({"result": deep(99)}, {"outcome": "succeeded"}, id="deep"),
        pytest.param({"result": deep(101)}, {"outcome": "failed", "reason": "ResultNotSerializable"}, id="too deep"),
        pytest.param({"result": {"a": deep(101)}}, {"outcome": "failed"}, id="too deep in an object"),
        pytest.param({"result_ref": REF}, {"outcome": "succeeded", "result_ref": REF}, id="a result of its own"),
        *(
            pytest.param(
                {"result_ref": wrong}, {"outcome": "failed", "reason": "ResultNotKept", "result_ref": None}, id=wrong
            )
            for wrong in (
                REF.replace("uid-1", "uid-2"),
                REF.replace("default", "other"),
                REF.replace("job.1", "job.2"),
                REF.replace("job", "0"),
                REF.replace("json", "log"),
                f"../{REF}",
                "",
                "/etc/passwd",
            )
        ),
        pytest.param({"log_tail": "é" * 9000}, {"log_tail": "é" * 4096}, id="too long a tail"),
        pytest.param({"reason": "r" * 300}, {"reason": "r" * 200}, id="too long a reason"),
        pytest.param({"exit_code": 2**40}, {"exit_code": None}, id="no exit status"),
        pytest.param({"exit_code": -9}, {"exit_code": -9}, id="a signal"),
        pytest.param(
            {"started_at": datetime.min.replace(tzinfo=UTC), "finished_at": datetime.min.replace(tzinfo=UTC)},
            {"started_at": datetime.fromtimestamp(0, UTC), "finished_at": datetime.fromtimestamp(0, UTC)},
            id="a clock that stands at the beginning",
        ),
        pytest.param(
            {"finished_at": datetime.max.replace(tzinfo=UTC)},
            {"finished_at": datetime.fromtimestamp(NOW, UTC) + timedelta(days=1)},
            id="a clock that stands at the end",
        ),
        pytest.param(
            {"started_at": datetime.fromtimestamp(NOW + 50, UTC)},
            {"started_at": datetime.fromtimestamp(NOW + 1, UTC)},
            id="began after its end",
        ),
    ],
)
def test_what_is_kept_of_an_end(told: Json, expected: Json) -> None:
    whole = {
        "kind": "ended", "seq": 1, "uid": "uid-1", "number": 1, "outcome": Outcome.SUCCEEDED, "reason": "",
        "started_at": datetime.fromtimestamp(NOW, UTC), "finished_at": datetime.fromtimestamp(NOW + 1, UTC),
        "log_tail": "", "exit_code": None, "error": None, "result": None, "index": None,
        "result_ref": None,
    } | told  # fmt: skip
    found = kept(EndedEntry.model_construct(**whole), "default", array=False, now=NOW)
    assert expected == {name: getattr(found, name) for name in expected}


def test_the_echo_of_a_write_during_a_take_over_does_not_begin_the_job_anew() -> None:
    desk = Desk()
    jobs = make_jobs(desk)
    jobs.seen(make_job(phase="Running", attempts=1, version=7))
    job = desk.jobs["uid-1"]
    job.version = 1  # an attempt was adopted and the status is on its way
    jobs.seen(make_job(phase="Pending", attempts=2, version=8))
    assert desk.jobs["uid-1"] is job

    job.version = 0  # on a standby it is the leader that wrote
    jobs.seen(make_job(phase="Pending", attempts=3, version=9))
    assert (desk.jobs["uid-1"] is job, desk.jobs["uid-1"].attempts) == (False, 3)
