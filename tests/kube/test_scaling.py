"""Pools on a real API server with the real Deployment and ReplicaSet controllers; every pod is a real worker process."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from kube.api_service import ApiService
from kube.operators import Operator
from kube.pool import Pool
from longshore.cli.explain import story
from longshore_operator import rbac
from service import SAMPLES, descendants

QUICK = {"min-workers": "0", "max-workers": "3", "scale-down-window-seconds": "2", "idle-seconds": "1"}
APPS = f"{SAMPLES},rough_jobs,worker_jobs"


def lead(pool: Pool, **settings: object) -> Operator:
    return pool.leader(leader_election=False, **settings)


TOKEN = "of-the-operator"


def token_file(folder: Path) -> Path:
    path = folder / "tokens-of-the-operator"
    path.write_text(f"{TOKEN}\n")
    return path


def limited(pool: Pool, reason: str) -> str:
    return f'longshore_pool_limited{{namespace="{pool.namespace}",pool="default",reason="{reason}"}}'


def hold(pool: Pool, folder: Path, *names: str) -> Path:
    """Jobs that stay until the file is there."""
    gate = folder / f"gate-{names[0]}"
    for name in names:
        pool.submit(name, "held", args={"path": str(gate)})
    return gate


def test_a_burst_wakes_a_pool_at_zero_and_no_job_is_disturbed_by_the_way_back(pool: Pool) -> None:
    lead(pool)
    pool.node.deployment("default", QUICK)
    names = [f"job-{number}" for number in range(24)]
    for name in names:
        pool.submit(name, "naps", args={"seconds": 0.5})
    pool.until(lambda: pool.replicas() == 3, "three workers")
    pool.undisturbed(*names)
    pool.until(lambda: pool.replicas() == 0 and not pool.node.pods(), "a pool at zero", 60)
    assert 3 == len(pool.node.workers), "more pods than were wanted, or fewer"
    pool.until(lambda: pool.said() == ("0", "Active", "nothing to do, so no worker"), "its word on the pool")
    assert 0 == pool.metric("longshore_operator_disruptions_total")
    assert 0 == pool.metric("longshore_operator_scale_in_busy_workers_total")
    pool.until(lambda: 0 == pool.metric("longshore_pool_desired_replicas"), "the wish for none")


def test_the_busy_worker_of_three_stays(pool: Pool, tmp_path: Path) -> None:
    lead(pool)
    pool.node.deployment("default", QUICK | {"min-workers": "3"}, replicas=3)  # none goes before all have come
    pool.until(lambda: len(pool.ready()) == 3, "three workers")
    long = hold(pool, tmp_path, "long")
    holder = pool.until(lambda: pool.status("long").get("worker"), "its start")
    pool.annotate(min_workers="0")
    pool.until(
        lambda: [holder] == [pod["metadata"]["name"] for pod in pool.node.pods()], "the end of the idle ones", 60
    )
    assert 1 == pool.replicas()
    long.touch()
    pool.undisturbed("long")
    pool.until(lambda: not pool.node.pods(), "a pool at zero", 60)
    assert 0 == pool.metric("longshore_operator_disruptions_total")


def test_a_worker_on_its_way_out_is_taken_back_when_there_is_work(pool: Pool, tmp_path: Path) -> None:
    lead(pool)
    pool.node.deployment("default", QUICK | {"min-workers": "1"}, replicas=1)
    name = pool.first()
    pool.node.probing = False  # the pod stays ready, so the drained worker may not go yet
    pool.annotate(min_workers="0")
    worker = pool.node.workers[name]
    pool.until(lambda: worker.poll("").draining, "a drain")
    assert 1 == pool.replicas(), "it was not seen not ready"
    gate = hold(pool, tmp_path, "job")
    gate.touch()
    pool.undisturbed("job")
    assert pool.status("job")["worker"] == name
    assert 1 == len(pool.node.workers)


def test_a_worker_is_drained_by_hand_and_another_one_takes_its_place(pool: Pool, tmp_path: Path) -> None:
    lead(pool)
    pool.node.deployment("default", QUICK | {"min-workers": "1", "max-workers": "1"}, replicas=1)
    old = pool.first()
    long = hold(pool, tmp_path, "long")
    pool.until(lambda: pool.status("long").get("worker"), "its start")
    path = f"/api/v1/namespaces/{pool.namespace}/pods/{old}"

    pool.plane.must("PATCH", path, {"metadata": {"annotations": {"longshore.dev/drain": "true"}}})

    pool.until(lambda: pool.replicas() == 2 and len(pool.ready()) == 2, "another worker")
    gate = hold(pool, tmp_path, "next")
    gate.touch()
    pool.undisturbed("next")
    assert old != pool.status("next")["worker"]
    assert "Running" == pool.status("long")["phase"], "what runs may finish"
    long.touch()
    pool.undisturbed("long")
    pool.plane.must("DELETE", path)
    pool.until(lambda: pool.replicas() == 1 and old not in pool.ready(), "one worker", 60)
    assert 0 == pool.metric("longshore_operator_disruptions_total")


def test_a_worker_that_cannot_be_asked_is_not_removed(pool: Pool) -> None:
    operator = lead(pool)
    pool.node.deployment("default", QUICK | {"min-workers": "1", "max-workers": "1"}, replicas=1)
    name = pool.first()
    pool.submit("first")
    assert "Succeeded" == pool.end_of("first")["phase"], "it has been heard"
    processes = [pool.node.workers[name].pid, *descendants(pool.node.workers[name].pid)]
    pool.node.probing = False
    before = len(operator.lines("worker_unreachable"))
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        pool.annotate(min_workers="0")
        pool.until(lambda: pool.said()[0] == "0", "the wish for none")
        operator.wait_for("worker_unreachable", before + 1)
        assert 1 == pool.replicas()
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
    pool.node.probing = True
    pool.until(lambda: pool.replicas() == 0, "its end, now that it answers", 60)


def test_annotations_that_cannot_be_used_leave_the_last_good_ones_in_force(pool: Pool) -> None:
    lead(pool)
    pool.node.deployment("default", QUICK | {"min-workers": "1"})
    pool.until(lambda: pool.replicas() == 1, "the minimum")
    pool.annotate(min_workers="5")
    said = pool.until_said("Invalid")
    assert (
        "longshore.dev/min-workers (5) is greater than longshore.dev/max-workers (3); the last good values hold"
        == said[2]
    )
    assert 1 == pool.replicas()
    pool.annotate(min_workers="2")
    pool.until(lambda: pool.replicas() == 2, "two workers")
    pool.until_said("Active")


@pytest.mark.parametrize("word", ["Invalid", "Paused", "Autoscaled", "Duplicate", "NoSlots"])
def test_what_is_refused_is_left_alone_and_told(pool: Pool, word: str) -> None:
    lead(pool)
    annotations = QUICK | ({"max-workers": "many"} if word == "Invalid" else {})
    if word == "Autoscaled":
        pool.plane.must("POST", f"/apis/autoscaling/v2/namespaces/{pool.namespace}/horizontalpodautoscalers", {
            "metadata": {"name": "mine"}, "spec": {"minReplicas": 1, "maxReplicas": 2, "metrics": [],
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "pool-default"}},
        })  # fmt: skip
    pool.node.deployment("default", annotations, paused=word == "Paused")
    if word == "Duplicate":
        body = pool.deployment()
        body["metadata"] = {
            "name": "twin",
            "labels": body["metadata"]["labels"],
            "annotations": body["metadata"]["annotations"],
        }
        pool.plane.must("POST", pool.deployments, {"metadata": body["metadata"], "spec": body["spec"]})
    if word == "NoSlots":
        pod = pool.deployment()["spec"]["template"]["spec"]
        pod["containers"][0]["env"] = [{"name": "LONGSHORE_SLOTS", "value": "0"}]
        pool.plane.must("PATCH", f"{pool.deployments}/pool-default", {"spec": {"template": {"spec": pod}}})
    reason = pool.until_said(word)[2]
    assert reason
    pool.submit("job")
    pool.until(lambda: pool.metric("longshore_queue_depth"), "the job in its queue")
    assert 0 == pool.replicas(), reason
    assert "Pending" == pool.status("job")["phase"]
    if word == "Paused":
        pool.plane.must("PATCH", f"{pool.deployments}/pool-default", {"spec": {"paused": False}})
        pool.undisturbed("job")


def test_a_deployment_that_is_deleted_takes_its_pool_along_until_it_is_made_again(pool: Pool) -> None:
    operator = lead(pool)
    pool.node.deployment("default", QUICK)
    pool.until(lambda: "longshore_pool_replicas{" in pool.metrics(), "the pool")
    pool.plane.must("DELETE", f"{pool.deployments}/pool-default", {})
    pool.until(lambda: "longshore_pool_replicas{" not in pool.metrics(), "its end")
    pool.submit("job")
    pool.until(lambda: pool.metric("longshore_queue_depth"), "the job in its queue")
    assert "Pending" == pool.status("job")["phase"]
    pool.node.deployment("default", QUICK)
    pool.undisturbed("job")
    assert [] == operator.lines("scaling_failed")


def keep_rights(pool: Pool, keep: Callable[[rbac.Rule], bool]) -> None:
    """Take the others away from the operator's account."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{pool.namespace}/roles/longshore-operator"
    rules = tuple(rule for rule in rbac.RULES + rbac.OWN_RULES if keep(rule))
    pool.plane.must("PATCH", path, {"rules": rbac.role("Role", "longshore-operator", rules)["rules"]})


def test_without_the_right_to_annotate_a_pool_is_scaled_in_silence(pool: Pool) -> None:
    keep_rights(pool, lambda rule: (rule.resources, rule.verbs) != (("deployments",), ("patch",)))
    operator = lead(pool)
    pool.node.deployment("default", QUICK)
    pool.submit("job", "naps", args={"seconds": 0.5})
    pool.until(lambda: pool.replicas() == 1, "a worker")
    pool.undisturbed("job")
    pool.until(lambda: pool.replicas() == 0 and not pool.node.pods(), "a pool at zero", 60)
    operator.wait_for("pool_untold")
    assert ("", "", "") == pool.said()


def test_an_operator_that_does_not_scale_needs_none_of_its_rights(pool: Pool) -> None:
    keep_rights(pool, lambda rule: rule.group not in ("apps", "autoscaling"))
    operator = pool.leader(leader_election=False, scaling=False)
    pool.node.deployment("default", QUICK, replicas=1)
    pool.submit("job")
    pool.undisturbed("job")
    assert 1 == pool.replicas()
    refused = [line for line in operator.log.read_text().splitlines() if "forbidden" in line.lower()]
    assert [] == refused


def test_pods_without_a_node_stop_growth_and_are_the_first_to_go(pool: Pool, tmp_path: Path) -> None:
    lead(pool)
    pool.node.capacity = 1
    pool.node.deployment("default", QUICK | {"max-workers": "6", "scale-up-workers": "1", "scale-up-percent": "0",
                                             "unschedulable-seconds": "1"})  # fmt: skip
    gate = hold(pool, tmp_path, *(f"job-{number}" for number in range(12)))
    pool.until(lambda: pool.metric(limited(pool, "Unschedulable")), "the limit")
    pool.until_said("Limited")
    there = pool.replicas()
    pool.until(lambda: pool.metric("longshore_operator_scale_decisions_total") >= 2, "decisions")
    assert there == pool.replicas() == 2
    gate.touch()
    pool.undisturbed(*(f"job-{number}" for number in range(12)))
    pool.until(lambda: pool.replicas() == 0, "a pool at zero", 60)


FAILURES = [
    ("ImagePullBackOff", 'Back-off pulling image "x"'),
    ("CrashLoopBackOff", "back-off 20s restarting failed container"),
]


@pytest.mark.parametrize(("reason", "message"), FAILURES, ids=[reason for reason, _ in FAILURES])
def test_a_pool_whose_pods_do_not_start_says_why_and_shrinks_to_zero(
    pool: Pool, tmp_path: Path, reason: str, message: str
) -> None:
    operator = lead(pool, token_file=token_file(tmp_path))
    pool.node.fails = (reason, message)
    pool.node.deployment("default", QUICK | {"unschedulable-seconds": "1"})
    pool.submit("job")
    said = pool.until_said("Limited")
    assert said[2].endswith(f"want 1 worker, but pods do not start: {reason}: {message}"), said
    assert 1 == pool.metric(limited(pool, "NotStarting"))
    explained = operator.ask(f"/v1/explain/{pool.namespace}/job", TOKEN)[1]
    assert ("NoWorker", True) == (explained["reason"], f"{reason}: {message}" in explained["message"]), explained
    pool.patch("job", cancel=True)
    pool.until(lambda: pool.replicas() == 0 and not pool.node.pods(), "a pool at zero")
    pool.until(lambda: pool.said() == ("0", "Active", "nothing to do, so no worker"), "its word on the pool")
    pool.node.fails = None
    pool.submit("next")
    pool.undisturbed("next")


def refuse_pods(pool: Pool, how: str) -> str:
    """Let admission refuse the pool's pods; what the API server says then. Of a quota one pod is let in."""
    core = f"/api/v1/namespaces/{pool.namespace}"
    if how == "Pod Security":
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        pool.plane.must("PATCH", core, {"metadata": {"labels": labels}})
        return 'violates PodSecurity "restricted:latest"'
    pool.plane.must("POST", f"{core}/resourcequotas", {"metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}})
    pool.until(
        lambda: (pool.plane.must("GET", f"{core}/resourcequotas/one").get("status") or {}).get("hard"), "the quota"
    )
    return "exceeded quota: one, requested: pods=1, used: pods=1, limited: pods=1"


@pytest.mark.parametrize("how", ["ResourceQuota", "Pod Security"])
def test_pods_that_admission_refuses_are_told_and_not_counted(pool: Pool, tmp_path: Path, how: str) -> None:
    operator = lead(pool, token_file=token_file(tmp_path))
    words = refuse_pods(pool, how)
    there = 1 if how == "ResourceQuota" else 0
    pool.node.deployment("default", QUICK)
    gate = hold(pool, tmp_path, *(f"job-{number}" for number in range(6)))
    pool.until(lambda: pool.metric(limited(pool, "PodsRefused")), "the limit")
    said = pool.until(lambda: found if words in (found := pool.said())[2] else None, "the API server's words")
    assert "Limited" == said[1]
    story_of_pool = operator.ask(f"/v1/pools/{pool.namespace}/default", TOKEN)[1]
    assert ("PodsRefused", True) == (story_of_pool["reason"], words in story_of_pool["message"])
    waits = next(name for name in ("job-5", "job-4", "job-3") if pool.status(name)["phase"] == "Pending")
    explained = operator.ask(f"/v1/explain/{pool.namespace}/{waits}", TOKEN)[1]
    assert words in explained["message"], explained
    assert there == len(pool.node.pods())
    gate.touch()
    for number in range(6):
        if there:
            pool.undisturbed(f"job-{number}")
        else:
            pool.patch(f"job-{number}", cancel=True)
    pool.until(lambda: pool.replicas() == 0 and not pool.node.pods(), "a pool at zero", 60)


def test_the_api_and_the_command_line_tell_the_story_of_a_pool(pool: Pool, tmp_path: Path) -> None:
    tokens = token_file(tmp_path)
    pool.leader(token_file=tokens)
    pool.node.deployment("default", QUICK | {"min-workers": "1"})
    service = ApiService(tmp_path / "api", pool.plane, pool.namespace)
    service.change(operator_token_file=tokens)
    try:
        service.start()
        pool.until(pool.ready, "a worker")
        said = pool.until(
            lambda: (
                found
                if (found := service.ask("GET", "/v1/pools/default").json()).get("workers") == {"ready": 1}
                else None
            ),
            "the worker's state",
        )
        nobody = service.ask("GET", "/v1/pools/nobody")
    finally:
        service.end()
    assert ("Minimum", "1 worker, the minimum", 1, 1) == tuple(
        said[name] for name in ("reason", "message", "replicas", "desired")
    )
    assert (0, 3) == (said["settings"]["prewarmSeconds"] - 30, said["settings"]["maxWorkers"])
    assert [
        "default: 1 worker, the minimum (Minimum).", "Workers: 1, 1 wanted, from 1 to 3; 2 slot(s) each.", "They are: 1 ready.",
        "Jobs: 0 running, 0 waiting, 0 due soon.",
    ] == story(said)  # fmt: skip
    assert (404, True) == (nobody.status, "longshore.dev/pool=nobody" in nobody.json()["detail"])


def test_what_workers_run_is_written_for_the_next_leader(pool: Pool) -> None:
    lead(pool)
    pool.node.deployment("default", QUICK)
    pool.submit("job")
    pool.end_of("job")

    text = pool.until(lambda: pool.deployment()["metadata"]["annotations"].get("longshore.dev/handlers"), "handlers")
    assert "echo" in json.loads(str(text))["handlers"]
