"""What becomes of jobs when operators and API servers go away: nothing lost, nothing run twice."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from kube.control_plane import ControlPlane
from kube.kubelet import Kubelet
from kube.marks import Marks, check, check_idle, lead, run_marks, running_on, runs, start_worker, two_workers
from kube.operators import Rig
from longshore_operator import rbac
from service import SAMPLES

APPS = f"{SAMPLES},rough_jobs,worker_jobs"
Json = dict[str, Any]


# -- operators ----------------------------------------------------------------------------------------------------


def test_a_waiting_job_is_taken_up_by_the_next_operator(rig: Rig) -> None:
    operator = lead(rig)
    rig.submit("job", args={"x": 1})
    operator.kill()
    operator.start()
    operator.wait_for("took_over", times=2)
    start_worker(rig)

    check(rig, "job", "succeeded")


@pytest.mark.parametrize("long", [False, True], ids=["before its Running status", "after its Running status"])
def test_a_running_job_is_adopted_by_the_next_operator(rig: Rig, marks: Marks, *, long: bool) -> None:
    two_workers(rig)
    operator = lead(rig)
    run_marks(rig, marks)
    if long:
        rig.phase("job", "Running")
    operator.kill()
    # A machine that was slow meanwhile has it on record in both cases.
    recorded = rig.status("job")["phase"] == "Running"
    assert recorded or not long
    operator.start()
    operator.wait_for("took_over", times=2)
    assert ["attempt_adopted"] * (not recorded) == [line["action"] for line in operator.lines("attempt_adopted")]
    marks.open()

    check(rig, "job", "succeeded")
    assert 1 == len(marks.lines())


def test_an_end_that_nobody_recorded_is_recorded_by_the_next_operator(rig: Rig, marks: Marks) -> None:
    worker = start_worker(rig)
    operator = lead(rig)
    run_marks(rig, marks)
    assert operator.process is not None
    os.kill(operator.process.pid, signal.SIGSTOP)
    marks.open()
    rig.until(lambda: worker.poll("").entries, "the outcome in the feed")
    operator.kill()
    assert rig.status("job")["phase"] in ("Pending", "Running")
    operator.start()

    check(rig, "job", "succeeded")
    assert 1 == len(marks.lines())


def test_running_items_are_adopted_and_ended_ones_stay_ended(rig: Rig, marks: Marks) -> None:
    two_workers(rig)
    operator = lead(rig)
    rig.submit("job", "marks", args=marks.args, count=4)
    rig.until(lambda: len(marks.lines()) == 4, "four items")
    marks.open(0)
    marks.open(3)
    rig.until(lambda: sum(map(runs, rig.workers.values())) == 2, "two ends")
    operator.kill()
    operator.start()
    operator.wait_for("took_over", times=2)
    marks.open(1)
    marks.open(2)
    status = rig.end_of("job")

    assert ("Succeeded", "0-3", 0) == (status["phase"], status["items"]["succeededIndexes"], status["disruptions"])
    assert [0, 1, 2, 3] == sorted(marks.lines()), "each has run once"
    check_idle(rig)


def test_a_limit_counts_what_was_adopted(rig: Rig, marks: Marks) -> None:
    start_worker(rig)
    rig.plane.must("POST", rig.path.replace("/jobs", "/queues"), {
        "apiVersion": "longshore.dev/v1alpha1", "kind": "Queue", "metadata": {"name": "narrow"},
        "spec": {"concurrency": 1},
    })  # fmt: skip
    operator = lead(rig)
    run_marks(rig, marks, queue="narrow")
    rig.phase("job", "Running")
    operator.kill()
    rig.submit("second", queue="narrow")
    operator.start()
    operator.wait_for("took_over", times=2)
    rig.submit("third", queue="default")
    rig.end_of("third")
    assert rig.status("second")["phase"] == "Pending", "one at a time"
    marks.open()

    check(rig, "job", "succeeded")
    check(rig, "second", "succeeded")


def test_a_standby_takes_over_when_the_leader_is_asked_to_end(rig: Rig, marks: Marks) -> None:
    start_worker(rig)
    leader = rig.leader(lease_seconds=30)
    standby = rig.operator(lease_seconds=30)
    run_marks(rig, marks)
    rig.phase("job", "Running")
    assert 0 == leader.terminate()
    standby.wait_for("took_over", seconds=15)
    rig.submit("later")
    marks.open()

    check(rig, "job", "succeeded")
    check(rig, "later", "succeeded")
    assert 1 == len(marks.lines())


def test_two_that_both_think_they_lead_do_no_harm(rig: Rig, marks: Marks) -> None:
    two_workers(rig)
    lead(rig)
    lead(rig)
    for number in range(30):
        rig.submit(f"job-{number}", "sleep", args={"seconds": 0.05, "steps": 1})
    rig.submit("held", "marks", args=marks.args)
    rig.until(marks.lines, "a start")
    for number in range(30):
        status = rig.end_of(f"job-{number}")
        assert "Succeeded" == status["phase"], status
        ends = [entry["outcome"] for entry in status["history"]]
        assert 1 == ends.count("succeeded"), status
        assert len(ends) == status["attempts"] == 1 + status["disruptions"], status
    marks.open()
    assert "Succeeded" == rig.end_of("held")["phase"]
    check_idle(rig)
    assert all(operator.process and operator.process.poll() is None for operator in rig.operators)


def test_a_pause_of_the_operator_is_not_a_silence_of_its_workers(rig: Rig, marks: Marks) -> None:
    start_worker(rig)
    operator = lead(rig)
    run_marks(rig, marks)
    assert operator.process is not None
    os.kill(operator.process.pid, signal.SIGSTOP)
    since = time.monotonic()
    rig.until(lambda: time.monotonic() - since > 18, "a long pause")
    os.kill(operator.process.pid, signal.SIGCONT)
    rig.submit("later")
    rig.end_of("later")
    marks.open()

    check(rig, "job", "succeeded")
    assert 1 == len(marks.lines())


# -- API server ---------------------------------------------------------------------------------------------------


def test_ends_are_written_when_the_api_server_is_back(own_rig: Rig, marks: Marks) -> None:
    worker = start_worker(own_rig)
    operator = own_rig.leader(lease_seconds=300)  # it leads on, however long the API server takes to come back
    run_marks(own_rig, marks)
    own_rig.plane.kill_apiserver()
    marks.open()
    own_rig.until(lambda: not runs(worker), "the end of the run")
    operator.wait_for("write_delayed")
    own_rig.plane.start_apiserver()

    check(own_rig, "job", "succeeded")
    assert 1 == len(marks.lines())
    own_rig.submit("later")
    check(own_rig, "later", "succeeded")
    own_rig.until(lambda: not worker.poll("").entries, "the acknowledgement")


def test_jobs_created_while_the_api_server_fails_all_run(own_rig: Rig) -> None:
    start_worker(own_rig)
    operator = own_rig.leader(lease_seconds=3)
    names = [f"job-{number}" for number in range(40)]

    def submit() -> None:
        for name in names:
            persist(own_rig, name)

    submitting = threading.Thread(target=submit)
    submitting.start()
    own_rig.until(lambda: own_rig.plane.request("GET", f"{own_rig.path}/job-5")[0] == 200, "some jobs")
    own_rig.plane.kill_apiserver()
    assert operator.process is not None
    assert 75 == operator.process.wait(20), "it cannot lead without its lease"
    # The next one keeps its lease, however slow the machine is: nobody would start it again.
    own_rig.operator(lease_seconds=300).wait_for("api_server_unreachable")
    own_rig.plane.start_apiserver()
    submitting.join()

    for name in names:
        check(own_rig, name, "succeeded")


def persist(rig: Rig, name: str) -> None:
    """Submit until the API server has it; what is there already came from a request whose answer got lost."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        try:
            rig.submit(name)
            return
        except OSError:
            time.sleep(0.1)
        except AssertionError as error:
            if "409" in str(error):
                return
            time.sleep(0.1)


def test_a_failing_etcd_loses_nothing(own_rig: Rig, marks: Marks) -> None:
    worker = start_worker(own_rig)
    operator = own_rig.leader(lease_seconds=300)
    run_marks(own_rig, marks)
    own_rig.plane.kill_etcd()
    marks.open()
    own_rig.until(lambda: not runs(worker), "the end of the run")
    operator.wait_for("write_delayed", seconds=40)
    own_rig.plane.start_etcd()

    check(own_rig, "job", "succeeded")
    own_rig.submit("later")
    check(own_rig, "later", "succeeded")
    assert 1 == len(marks.lines())


def test_what_was_started_and_not_written_down_is_adopted(own_rig: Rig, marks: Marks) -> None:
    two_workers(own_rig)
    operator = lead(own_rig)
    run_marks(own_rig, marks)
    own_rig.phase("job", "Running")
    name = running_on(own_rig)
    own_rig.plane.kill_apiserver()
    own_rig.workers[name].kill()
    own_rig.until(lambda: len(marks.lines()) == 2, "the second run")
    operator.kill()
    own_rig.plane.start_apiserver()
    operator.start()
    operator.wait_for("took_over", times=2)
    marks.open()

    check(own_rig, "job", "lost", "succeeded", disruptions=1)
    assert 2 == len(marks.lines())


def test_what_is_deleted_while_nobody_watches_is_noticed(own_rig: Rig, marks: Marks) -> None:
    worker = start_worker(own_rig)
    operator = lead(own_rig)
    run_marks(own_rig, marks)
    own_rig.phase("job", "Running")
    own_rig.submit("other", "no-such-handler")
    assert operator.process is not None
    os.kill(operator.process.pid, signal.SIGSTOP)
    own_rig.plane.kill_apiserver()
    own_rig.plane.start_apiserver()
    own_rig.plane.must("DELETE", f"{own_rig.path}/job")
    # So much happens meanwhile that the watch cannot go on where it was.
    os.kill(operator.process.pid, signal.SIGCONT)

    own_rig.until(lambda: not runs(worker), "the end of its run")


# -- what is not installed, not allowed ---------------------------------------------------------------------------


def test_resources_that_come_later_are_waited_for(own_control_plane: ControlPlane, tmp_path: Path) -> None:
    rig = Rig(own_control_plane, Kubelet(own_control_plane), own_control_plane.make_namespace(), tmp_path)
    try:
        start_worker(rig)
        operator = rig.operator(leader_election=False)
        operator.wait_for("resources_missing", times=2)
        assert "manifests/crds" in operator.lines("resources_missing")[0]["hint"]
        own_control_plane.install_crds()
        operator.wait_for("took_over")
        rig.submit("job")

        check(rig, "job", "succeeded")
    finally:
        rig.close()


def test_a_missing_right_is_named_and_nothing_is_lost(rig: Rig, marks: Marks) -> None:
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{rig.namespace}/roles/longshore-operator"
    role = rig.plane.must("GET", path)
    rules = [rule for rule in role["rules"] if "jobs/status" not in rule["resources"]]
    assert len(rules) < len(role["rules"]) == len(rbac.RULES + rbac.OWN_RULES)
    rig.plane.must("PATCH", path, {"rules": rules})
    start_worker(rig)
    operator = lead(rig)
    run_marks(rig, marks)
    marks.open()
    operator.wait_for("write_forbidden")
    assert 'cannot patch resource "jobs/status"' in operator.lines("write_forbidden")[0]["detail"]
    rig.submit("other")
    since = time.monotonic()
    rig.until(lambda: time.monotonic() - since > 18, "a long while")
    rig.plane.must("PATCH", path, {"rules": role["rules"]})

    check(rig, "job", "succeeded")
    check(rig, "other", "succeeded")
    assert 1 == len(marks.lines())
    assert operator.process is not None
    assert operator.process.poll() is None


def test_watches_go_on_with_the_next_token_when_theirs_is_taken_back(own_rig: Rig) -> None:
    """As with the projected token of a pod: its file changes, and the old one ends in the middle of a stream."""
    plane, spaced = own_rig.plane, f"/api/v1/namespaces/{own_rig.namespace}"

    def bound(name: str) -> str:
        """A token that is valid for as long as the Secret is there."""
        secret = plane.must("POST", f"{spaced}/secrets", {"metadata": {"name": name}})
        to = {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": secret["metadata"]["uid"]}
        path = f"{spaced}/serviceaccounts/longshore-operator/token"
        found = plane.must("POST", path, {"spec": {"expirationSeconds": 3600, "boundObjectRef": to}})
        return str(found["status"]["token"])

    config = json.loads(own_rig.kubeconfig.read_text())
    file = own_rig.kubeconfig.with_name("token")
    file.write_text(first := bound("first"))
    old = own_rig.kubeconfig.with_name("old.kubeconfig")
    old.write_text(json.dumps(config | {"users": [{"name": "test", "user": {"token": first}}]}))
    own_rig.kubeconfig.write_text(json.dumps(config | {"users": [{"name": "test", "user": {"tokenFile": file.name}}]}))
    start_worker(own_rig)
    operator = own_rig.leader(lease_seconds=300)
    own_rig.submit("before")
    check(own_rig, "before", "succeeded")

    file.write_text(bound("next"))
    plane.must("DELETE", f"{spaced}/secrets/first")
    own_rig.until(lambda: "Unauthorized" in plane.kubectl("get", "lsj", kubeconfig=old).stderr, "its end")
    own_rig.submit("with-old-streams")
    check(own_rig, "with-old-streams", "succeeded")
    plane.kill_apiserver()  # that ends the streams
    plane.start_apiserver()
    own_rig.submit("with-new-streams")

    check(own_rig, "with-new-streams", "succeeded")
    assert 1 == len(operator.lines("took_over")), operator.log.read_text()[-3000:]
