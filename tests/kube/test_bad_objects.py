"""A leader that is killed over objects that no rule of today would let in, and one that starts over them: all others' jobs run.

The definitions of the resources are those of a release without any rule, so what is stored is anything that JSON can say.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kube.control_plane import ControlPlane
from kube.kubelet import Kubelet
from kube.marks import start_worker
from kube.operators import Operator, Rig
from longshore.job.spec import API_VERSION
from longshore_operator.crds import STATUS_DEFAULT, job_crd, queue_crd, schedule_crd

Json = dict[str, Any]
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
GOOD = {"cron": "0 0 1 1 *", "jobTemplate": {"spec": {"handler": "echo"}}}
ZERO, LAST = "0000-00-00T00:00:00Z", "9999-12-31T23:59:59-23:59"

JOBS: dict[str, Json] = {
    "time": {"spec": {"handler": "echo", "startAfter": "2026-01-01T08:00:00x5Z"}},
    "last-time": {"spec": {"handler": "echo", "startAfter": LAST}},
    "url": {"spec": {"handler": "echo", "webhook": {"url": "http://[]@/"}}},
    "webhook-is-a-number": {"spec": {"handler": "echo", "webhook": 7}},
    "items-are-a-map": {"spec": {"handler": "echo", "items": {"a": 1}}},
    "count-is-huge": {"spec": {"handler": "echo", "count": 10**18}},
    "priority": {"spec": {"handler": "echo", "priority": 10**300}},
    "deep": {"spec": {"handler": "echo", "args": json.loads('{"a":' * 400 + "1" + "}" * 400)}},
    "after-is-a-text": {"spec": {"handler": "echo", "after": "base"}},
    "after-itself": {"spec": {"handler": "echo", "after": ["after-itself"]}},
    "queue": {"spec": {"handler": "echo", "queue": "A b\u00e9\u0000".replace("\u0000", "")}},
    "no-handler": {"spec": {}},
    "retries": {"spec": {"handler": "echo", "maxRetries": -5, "retry": {"factor": "NaN"}}},
    "redrive": {"spec": {"handler": "echo", "redrive": -1}},
    "command": {"spec": {"command": [["a"]]}},
    "annotations": {"spec": {"handler": "echo"}, "annotations": {"longshore.dev/traceparent": "\u2003", "traceparent": "00-" + "x" * 5000}},
    "status-times": {"spec": {"handler": "echo"}, "status": {"phase": "Pending", "notBefore": ZERO, "attempts": 2, "redrives": 0}},
    "status-counts": {"spec": {"handler": "echo"}, "status": {"phase": "Pending", "attempts": "many", "redrives": None}},
    "status-phase": {"spec": {"handler": "echo"}, "status": {"phase": "Paused", "attempts": 0, "redrives": 0}},
    "status-history": {"spec": {"handler": "echo"}, "status": {"phase": "Running", "attempts": 1, "redrives": 0, "history": {"a": []}}},
    "status-items": {"spec": {"handler": "echo", "count": 3}, "status": {
        "phase": "Running", "attempts": 1, "redrives": 0, "items": {"succeeded": -1, "indexes": {"succeeded": "9-1,,x"}}}},
    "ended-oddly": {"spec": {"handler": "echo", "ttlSecondsAfterFinished": "soon"}, "status": {"phase": "Succeeded", "finishedAt": "never", "attempts": 1}},
    "failed-oddly": {"spec": {"handler": "echo", "redrive": "x"}, "status": {"phase": "Failed", "finishedAt": 7, "attempts": [1]}},
    "conditions": {"spec": {"handler": "echo"}, "status": {"phase": "Failed", "conditions": [{"type": 7}, "x"], "attempts": 1}},
}  # fmt: skip
SCHEDULES: dict[str, Json] = {
    "no-zone": {"spec": GOOD | {"timeZone": "Mars/Olympus"}},
    "zone-is-a-folder": {"spec": GOOD | {"timeZone": "Europe"}},
    "zone-is-no-zone": {"spec": GOOD | {"timeZone": "../../etc/passwd"}},
    "zone-is-a-number": {"spec": GOOD | {"timeZone": 7}},
    "cron": {"spec": GOOD | {"cron": "99 * * * *"}},
    "cron-never": {"spec": GOOD | {"cron": "0 0 30 2 *"}},
    "cron-is-a-list": {"spec": GOOD | {"cron": ["@daily"]}},
    "labels": {"spec": GOOD | {"jobTemplate": {"labels": {"a b": "c d"}, "spec": {"handler": "echo"}}}},
    "template": {"spec": GOOD | {"cron": "* * * * *", "jobTemplate": {"spec": {"handler": "echo", "args": 7}}}},
    "last-time": {"spec": GOOD, "status": {"lastScheduleTime": LAST}},
    "first-time": {"spec": GOOD | {"cron": "* * * * *", "suspend": False}, "status": {"lastScheduleTime": ZERO}},
    "active": {"spec": GOOD, "status": {"active": {"a": 1}, "conditions": 7}},
    "history-limit": {"spec": GOOD | {"successfulJobsHistoryLimit": -1, "startingDeadlineSeconds": "x"}},
    "no-spec": {"spec": {}},
}  # fmt: skip
QUEUES: dict[str, Json] = {
    "default": {"spec": {"concurrency": -1, "rateLimit": {"jobs": "many"}}},
    "rate": {"spec": {"rateLimit": {"jobs": 1, "perSeconds": 0}}},
    "weights": {"spec": {"fairnessWeights": {"a": "heavy", "b": -1}}},
    "weights-list": {"spec": {"fairnessWeights": [1]}},
    "defaults": {"spec": {"defaults": {"maxRetries": "x", "timeoutSeconds": -1}}},
    "paused": {"spec": {"paused": "perhaps"}},
    "ageing": {"spec": {"priorityAgeing": {"seconds": 1e308}}},
    "status": {"spec": {}, "status": {"depth": "deep", "conditions": {"a": 1}}},
}
# Kubernetes itself checks the rest of them.
POD_ANNOTATIONS: dict[str, Json] = {
    "queues": {"longshore.dev/queues": ",,\u2003,A b," + "x" * 300},
    "namespaces": {"longshore.dev/serves-namespaces": "*,\u00e9,../..,"},
}
DEPLOYMENT_ANNOTATIONS: dict[str, Json] = {
    "words": {"longshore.dev/min-workers": "one", "longshore.dev/max-workers": "two"},
    "digits": {"longshore.dev/min-workers": "\u0663", "longshore.dev/max-workers": "\u00b2"},
    "large": {"longshore.dev/min-workers": "9" * 5000, "longshore.dev/max-workers": "1e999"},
    "nan": {"longshore.dev/max-workers": "3", "longshore.dev/target-wait-seconds": "nan", "longshore.dev/idle-seconds": "-inf"},
    "state": {"longshore.dev/max-workers": "3", "longshore.dev/scaling": '{"a":' * 300, "longshore.dev/handlers": "[[["},
    "state-of-others": {"longshore.dev/max-workers": "3", "longshore.dev/scaling": '{"down":[1],"up":{"x":"y"}}', "longshore.dev/handlers": '{"a":{"b":1}}'},
}  # fmt: skip


def without_rules(crd: Json) -> Json:
    """The definition of a release that checks nothing; what can be selected by needs a type."""
    version = crd["spec"]["versions"][0]
    spec = OPEN | {"properties": {"queue": {"type": "string"}, "handler": {"type": "string"}}}
    status = OPEN | {"properties": {"phase": {"type": "string"}}, "default": dict(STATUS_DEFAULT)}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    version["schema"] = {"openAPIV3Schema": schema}
    return crd


@pytest.fixture
def lax(own_control_plane: ControlPlane, tmp_path: Path) -> Iterator[Rig]:
    """A rig over definitions without rules."""
    folder = tmp_path / "crds"
    folder.mkdir()
    for crd in (job_crd(), queue_crd(), schedule_crd()):
        (folder / f"{crd['metadata']['name']}.json").write_text(json.dumps(without_rules(crd)))
    own_control_plane.install_crds(folder)
    rig = Rig(own_control_plane, Kubelet(own_control_plane), own_control_plane.make_namespace(), tmp_path)
    yield rig
    rig.close()


def make(rig: Rig, kind: str, name: str, made: Json) -> None:
    """A resource of ours and, where one is said, its status."""
    path = f"/apis/{API_VERSION}/namespaces/{rig.namespace}/{kind.lower()}s"
    metadata = {"name": name, "annotations": made.get("annotations", {})}
    body = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": made["spec"]}
    rig.plane.must("POST", path, body)
    if "status" in made:
        rig.plane.must("PATCH", f"{path}/{name}/status", {"status": made["status"]})


def make_pod(rig: Rig, name: str, annotations: Json, ports: list[Json]) -> None:
    metadata = {"name": name, "labels": {"longshore.dev/pool": "default"}, "annotations": annotations}
    spec = {"containers": [{"name": "w", "image": "x", "ports": ports}], "automountServiceAccountToken": False}
    rig.plane.must("POST", f"/api/v1/namespaces/{rig.namespace}/pods", {"metadata": metadata, "spec": spec})
    rig.kubelet.run(rig.namespace, name)


def make_deployment(rig: Rig, name: str, annotations: Json, variables: list[Json]) -> None:
    labels = {"longshore.dev/pool": name}
    spec = {
        "replicas": 0, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "w", "image": "x", "env": variables}]}},
    }  # fmt: skip
    body = {"metadata": {"name": name, "labels": labels, "annotations": annotations}, "spec": spec}
    rig.plane.must("POST", f"/apis/apps/v1/namespaces/{rig.namespace}/deployments", body)


def make_all(rig: Rig) -> None:
    for kind, objects in (("Queue", QUEUES), ("Schedule", SCHEDULES), ("Job", JOBS)):
        for name, made in objects.items():
            make(rig, kind, name, made)
    for name, annotations in POD_ANNOTATIONS.items():
        make_pod(rig, f"pod-{name}", annotations, [{"name": "http", "containerPort": 1}])
    make_pod(rig, "pod-without-a-port", {}, [])
    for number, (name, annotations) in enumerate(DEPLOYMENT_ANNOTATIONS.items()):
        variables = [{"name": "LONGSHORE_SLOTS", "value": ("x", "-1", "9" * 5000)[number % 3]}]
        make_deployment(rig, f"pool-{name}", annotations, variables)


def check(rig: Rig, leader: Operator, name: str) -> None:
    """Jobs of somebody else run, and so does the operator."""
    for queue in ("good", "default"):
        rig.submit(f"{name}-{queue}", queue=queue)
        assert "Succeeded" == rig.end_of(f"{name}-{queue}")["phase"]
    assert leader.process is not None
    assert leader.process.poll() is None
    assert not leader.lines("lead_lost")


def test_bad_objects_of_every_kind_end_no_leader_and_hold_up_nobody(lax: Rig) -> None:
    start_worker(lax)
    first = lax.leader(lease_seconds=2)
    make_all(lax)
    check(lax, first, "under-the-first")
    first.kill()
    second = lax.leader(lease_seconds=2)
    check(lax, second, "under-the-second")

    for name in ("time", "webhook-is-a-number", "items-are-a-map", "no-handler", "command"):
        status = lax.end_of(name)
        assert ("Failed", "InvalidSpec") == (status["phase"], status.get("reason")), (name, status)
    for name in ("no-zone", "zone-is-a-folder", "cron", "labels", "template"):
        wait_for_refusal(lax, name)


def wait_for_refusal(rig: Rig, name: str) -> None:
    """Until the schedule says that it cannot be read."""

    def ready() -> str:
        path = f"/apis/{API_VERSION}/namespaces/{rig.namespace}/schedules/{name}"
        conditions = rig.plane.must("GET", path).get("status", {}).get("conditions", [])
        return next((one["status"] for one in conditions if one["type"] == "Ready"), "")

    rig.until(lambda: ready() == "False", f"the condition of {name}")
