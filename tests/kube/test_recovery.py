"""What the operator makes of workers, pods, nodes and API servers that go away: nothing lost, nothing run twice."""

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kube.control_plane import ControlPlane
from kube.kubelet import Kubelet
from kube.liar import BOOT, Liar
from kube.operators import Operator, Rig
from longshore_operator import rbac
from service import SAMPLES, descendants
from worker_service import Worker

APPS = f"{SAMPLES},rough_jobs,worker_jobs"
Json = dict[str, Any]


class Marks:
    """Where runs of the handler ``marks`` leave a line, and the gate that lets them end."""

    def __init__(self, folder: Path, name: str = "marks") -> None:
        self._file, self._gate = folder / name, folder / f"{name}-gate"

    @property
    def args(self) -> Json:
        return {"path": str(self._file), "gate": str(self._gate)}

    def lines(self) -> list[int]:
        """One for each run: its pid, or its index in an array."""
        return [int(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []

    def open(self, index: int | None = None) -> None:
        """Let them end."""
        (self._gate if index is None else Path(f"{self._gate}-{index}")).touch()


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(tmp_path)


def start_worker(rig: Rig, name: str = "worker-0", **settings: Any) -> Worker:
    return rig.worker(name, apps=APPS, **settings)


def lead(rig: Rig, **settings: object) -> Operator:
    """An operator that leads at once."""
    return rig.leader(leader_election=False, **settings)


def run_marks(rig: Rig, marks: Marks, name: str = "job", **spec: object) -> None:
    """Submit a job and wait until it has begun."""
    before = len(marks.lines())
    rig.submit(name, "marks", args=marks.args, **spec)
    rig.until(lambda: len(marks.lines()) > before, f"the start of {name}")


def runs(worker: Worker) -> int:
    """How many attempts it says it runs."""
    return len(worker.poll("").running)


def check(rig: Rig, name: str = "job", *outcomes: str, phase: str = "Succeeded", disruptions: int = 0) -> Json:
    """Wait for the end of a job and for workers that run nothing; its status, which is as it should be."""
    status = rig.end_of(name)
    assert phase == status["phase"], status
    assert list(outcomes) == [entry["outcome"] for entry in status.get("history", [])], status
    assert list(range(1, len(outcomes) + 1)) == [entry["number"] for entry in status.get("history", [])], status
    assert (len(outcomes), disruptions, 0) == tuple(status[n] for n in ("attempts", "disruptions", "retries")), status
    check_idle(rig)
    return status


def check_idle(rig: Rig) -> None:
    """No worker that lives runs anything."""
    for worker in rig.workers.values():
        if worker.running():
            rig.until(lambda worker=worker: not runs(worker), "an idle worker")  # type: ignore[misc]


def holder(rig: Rig, name: str = "job") -> str:
    """Name of the worker that runs the job, by the job's status."""
    rig.phase(name, "Running")
    return str(rig.status(name)["worker"])


def signal_all(worker: Worker, number: signal.Signals) -> None:
    """To all processes of a worker."""
    for pid in [worker.pid, *descendants(worker.pid)]:
        os.kill(pid, number)


def two_workers(rig: Rig) -> None:
    start_worker(rig, "worker-0")
    start_worker(rig, "worker-1")


def running_on(rig: Rig) -> str:
    """Name of the worker whose feed says that it runs something."""
    return next(name for name, worker in rig.workers.items() if worker.running() and runs(worker))


# -- workers and pods ---------------------------------------------------------------------------------------------


def test_a_killed_workers_job_runs_on_another_worker(rig: Rig, marks: Marks) -> None:
    two_workers(rig)
    lead(rig)
    run_marks(rig, marks)
    rig.workers[running_on(rig)].kill()
    rig.until(lambda: len(marks.lines()) == 2, "the second run", 10)
    marks.open()

    status = check(rig, "job", "lost", "succeeded", disruptions=1)
    assert status["history"][0]["reason"] == "WorkerLost"


def test_a_worker_started_again_in_its_pod_has_lost_what_it_ran(rig: Rig, marks: Marks) -> None:
    worker = start_worker(rig)
    lead(rig)
    run_marks(rig, marks)
    worker.kill()
    rig.kubelet.oom_killed("worker-0")
    worker.start()
    rig.kubelet.ready("worker-0")
    rig.until(lambda: len(marks.lines()) == 2, "the second run")
    marks.open()

    check(rig, "job", "lost", "succeeded", disruptions=1)


def test_a_deleted_pods_job_runs_on_another_worker(rig: Rig, marks: Marks) -> None:
    two_workers(rig)
    lead(rig)
    run_marks(rig, marks)
    name = running_on(rig)
    rig.workers[name].kill()
    rig.kubelet.delete(name)
    rig.until(lambda: len(marks.lines()) == 2, "the second run")
    marks.open()

    check(rig, "job", "lost", "succeeded", disruptions=1)


def test_an_evicted_pods_job_runs_on_another_worker(rig: Rig, marks: Marks) -> None:
    two_workers(rig)
    lead(rig)
    run_marks(rig, marks)
    name = running_on(rig)
    # Its process hangs, so that only the pod's phase tells.
    signal_all(rig.workers[name], signal.SIGSTOP)
    rig.kubelet.evict(name)
    rig.until(lambda: len(marks.lines()) == 2, "the second run", 8)
    rig.workers[name].end()
    marks.open()

    check(rig, "job", "lost", "succeeded", disruptions=1)


def test_a_pod_that_is_not_ready_gets_nothing_and_what_it_runs_goes_on(rig: Rig, marks: Marks) -> None:
    worker = start_worker(rig)
    lead(rig)
    run_marks(rig, marks)
    rig.kubelet.not_ready("worker-0")
    later = rig.submit("later")
    since = time.monotonic()
    # Longer than a worker may be silent that is not ready: this one only has nothing to say.
    rig.until(lambda: time.monotonic() - since > 18, "a long while")
    assert rig.status("later")["phase"] == "Pending"
    assert later["metadata"]["uid"] not in {run.uid for run in worker.poll("").running}
    marks.open()
    check(rig, "job", "succeeded")
    rig.kubelet.ready("worker-0")

    check(rig, "later", "succeeded")
    assert 1 == len(marks.lines())


def test_a_node_that_is_gone_loses_its_jobs(rig: Rig, marks: Marks) -> None:
    worker = start_worker(rig)
    lead(rig)
    run_marks(rig, marks)
    signal_all(worker, signal.SIGSTOP)
    rig.kubelet.node_gone()
    start_worker(rig, "worker-1")
    rig.until(lambda: len(marks.lines()) == 2, "the second run", 25)
    worker.end()
    marks.open()

    check(rig, "job", "lost", "succeeded", disruptions=1)


def test_a_worker_that_was_silent_comes_back_too_late(rig: Rig, marks: Marks) -> None:
    two_workers(rig)
    lead(rig)
    run_marks(rig, marks)
    silent = rig.workers[running_on(rig)]
    signal_all(silent, signal.SIGSTOP)
    rig.until(lambda: len(marks.lines()) == 2, "the second run", 30)
    signal_all(silent, signal.SIGCONT)
    rig.until(lambda: not runs(silent), "the end of the first run")
    assert rig.status("job")["phase"] in ("Pending", "Running")
    marks.open()

    check(rig, "job", "lost", "succeeded", disruptions=1)


def test_a_late_result_is_refused(rig: Rig, marks: Marks) -> None:
    two_workers(rig)
    lead(rig)
    run_marks(rig, marks)
    silent = rig.workers[running_on(rig)]
    slots = [pid for pid in descendants(silent.pid) if pid in marks.lines()]
    engine = [pid for pid in [silent.pid, *descendants(silent.pid)] if pid not in slots]
    for pid in engine:  # the handler itself goes on
        os.kill(pid, signal.SIGSTOP)
    rig.until(lambda: len(marks.lines()) == 2, "the second run", 30)
    os.kill(slots[0], signal.SIGSTOP)  # so that its end and the other's do not race
    marks.open()
    first = rig.end_of("job")
    for pid in [*engine, *slots]:
        os.kill(pid, signal.SIGCONT)
    check_idle(rig)

    assert first == rig.status("job")
    check(rig, "job", "lost", "succeeded", disruptions=1)


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
    operator.start()
    operator.wait_for("took_over", times=2)
    assert ["attempt_adopted"] * (not long) == [line["action"] for line in operator.lines("attempt_adopted")]
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
    operator = own_rig.leader()
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
    operator.start()
    operator.wait_for("api_server_unreachable")
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
    operator = own_rig.leader(lease_seconds=60)
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


# -- jobs ---------------------------------------------------------------------------------------------------------


def test_a_deleted_jobs_attempt_is_stopped(rig: Rig, marks: Marks) -> None:
    start_worker(rig)
    lead(rig)
    run_marks(rig, marks)
    pid = marks.lines()[0]
    rig.plane.must("DELETE", f"{rig.path}/job")

    check_idle(rig)
    rig.until(lambda: not Path(f"/proc/{pid}").exists(), "the end of its process")


def test_a_job_of_the_same_name_is_another_job(rig: Rig, marks: Marks, tmp_path: Path) -> None:
    start_worker(rig)
    lead(rig)
    run_marks(rig, marks)
    rig.phase("job", "Running")
    second = Marks(tmp_path, "second")
    rig.plane.must("DELETE", f"{rig.path}/job")
    run_marks(rig, second)
    marks.open()
    rig.until(lambda: sum(map(runs, rig.workers.values())) == 1, "the end of the old one")
    assert rig.status("job")["phase"] in ("Pending", "Running")
    second.open()

    check(rig, "job", "succeeded")
    assert (1, 1) == (len(marks.lines()), len(second.lines()))


def test_cancel_is_not_lost_with_the_operator(rig: Rig, marks: Marks) -> None:
    start_worker(rig)
    operator = lead(rig)
    run_marks(rig, marks)
    operator.kill()
    rig.patch("job", cancel=True)
    operator.start()

    check(rig, "job", "cancelled", phase="Cancelled")


def test_a_namespace_goes_with_its_jobs(rig: Rig, marks: Marks) -> None:
    rig.kubeconfig = rig.plane.kubeconfig("operator-of-a-test", ["system:masters"])
    start_worker(rig)
    operator = lead(rig)
    run_marks(rig, marks)
    rig.plane.must("DELETE", f"/api/v1/namespaces/{rig.namespace}")
    # The namespace's controller does this, but it learns of new kinds of resources every 30 seconds only.
    rig.plane.must("DELETE", rig.path)

    check_idle(rig)
    rig.kubelet.delete("worker-0")
    assert operator.lines("job_overtaken") == []
    assert operator.process is not None
    assert operator.process.poll() is None


def test_large_outcomes_are_read_whole(rig: Rig, marks: Marks) -> None:
    start_worker(rig, slots=8)
    lead(rig)
    for number in range(40):
        rig.submit(f"job-{number}", "sized", args={"size": 16_000})

    for number in range(40):
        check(rig, f"job-{number}", "succeeded")


@pytest.mark.parametrize(("depth", "phase"), [(90, "Succeeded"), (198, "Failed"), (250, "Failed")])
def test_a_deep_result_does_not_stop_its_worker(rig: Rig, depth: int, phase: str) -> None:
    start_worker(rig)
    operator = lead(rig)
    rig.submit("deep", "nests", args={"depth": depth})
    status = rig.end_of("deep")
    rig.submit("later")

    assert (phase, "" if phase == "Succeeded" else "ResultNotSerializable") == (phase, status.get("reason", ""))
    check(rig, "later", "succeeded")
    assert not operator.lines("worker_unreachable")


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
    assert len(rules) < len(role["rules"]) == len(rbac.RULES + rbac.LEASE_RULES)
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


# -- workers that lie ---------------------------------------------------------------------------------------------


@pytest.fixture
def liar(rig: Rig) -> Iterator[Liar]:
    """A pod whose worker says what the test wants."""
    with Liar(rig.kubelet.next_address()).serving() as liar:
        rig.kubelet.add_pod(rig.namespace, "liar", "default", liar.port, ip=liar.host)
        yield liar


def has_asked(rig: Rig, liar: Liar, times: int = 2) -> None:
    """Wait until it has been asked so often again: then what it said before is worked in."""
    before = liar.polls
    rig.until(lambda: liar.polls >= before + times, "polls")


def test_lies_about_others_attempts_change_nothing(rig: Rig, marks: Marks, liar: Liar) -> None:
    two_workers(rig)
    lead(rig)
    run_marks(rig, marks)
    uid = rig.job("job")["metadata"]["uid"]
    for told in (("no-such-job", 1), (uid, 1), (uid, 2), (uid, 999)):
        liar.ends(*told)
        has_asked(rig, liar)
    liar.say(running=[{"uid": uid, "number": 1}, {"uid": uid, "number": 7}, {"uid": "no-such-job", "number": 1}])
    has_asked(rig, liar)
    rig.workers[running_on(rig)].kill()
    rig.until(lambda: len(marks.lines()) == 2, "the second run")
    liar.ends(uid, 1)
    has_asked(rig, liar)
    marks.open()

    status = check(rig, "job", "lost", "succeeded", disruptions=1)
    assert "liar" not in {entry["worker"] for entry in status["history"]}


def test_a_worker_of_another_namespace_is_not_believed(rig: Rig, liar: Liar) -> None:
    other = rig.plane.make_namespace()
    rig.kubeconfig = rig.plane.kubeconfig("operator-of-a-test", ["system:masters"])
    lead(rig, namespaces=f"{rig.namespace},{other}")
    path = f"/apis/longshore.dev/v1alpha1/namespaces/{other}/jobs"
    job = rig.plane.must("POST", path, {
        "apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"handler": "echo"},
    })  # fmt: skip
    has_asked(rig, liar)
    liar.ends(job["metadata"]["uid"], 1)
    has_asked(rig, liar)
    liar.say(entries=[], running=[{"uid": job["metadata"]["uid"], "number": 1}], cursor=f"{BOOT}:9")
    rig.until(lambda: liar.stops, "the wish to stop it")

    assert {"phase": "Pending", "attempts": 0, "redrives": 0} == rig.plane.must("GET", f"{path}/job")["status"]
    rig.plane.request("DELETE", f"/api/v1/namespaces/{other}")


def test_a_worker_with_another_token_gets_nothing(rig: Rig) -> None:
    stranger = start_worker(rig, "worker-0")
    stranger.tokens.write_text("another-token-of-another-operator\n")
    start_worker(rig, "worker-1")
    operator = lead(rig)
    operator.wait_for("worker_unreachable")
    for number in range(4):
        rig.submit(f"job-{number}")
    ends = [rig.end_of(f"job-{number}") for number in range(4)]

    assert [("Succeeded", 1, "worker-1")] * 4 == [(end["phase"], end["attempts"], end["worker"]) for end in ends]
    assert "401" in operator.lines("worker_unreachable")[0]["detail"]


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"version": 2}', b"[" * 100_000, b'{"a":' * 100_000,
        b'{"version": 1, "boot": 5, "cursor": "x", "entries": "none"}',
    ],
    ids=lambda answer: repr(answer[:12]),
)  # fmt: skip
def test_garbage_is_no_answer(rig: Rig, liar: Liar, answer: bytes) -> None:
    start_worker(rig)
    liar.answer = lambda: answer
    operator = lead(rig)
    rig.until(lambda: liar.polls >= 3, "polls")
    rig.submit("job")

    check(rig, "job", "succeeded")
    assert operator.lines("worker_unreachable")
    assert operator.process is not None
    assert operator.process.poll() is None


def test_an_end_that_is_nonsense_is_recorded_as_far_as_it_makes_sense(rig: Rig, liar: Liar) -> None:
    operator = lead(rig)
    liar.say(handlers=["echo"], cursor=f"{BOOT}:2")
    nonsense: list[tuple[Json, str]] = [
        ({"result": 2**80}, "Succeeded"),  # as near as a double comes
        ({"result": "x" * 50_000}, "Failed"),
        ({"startedAt": "0001-01-01T00:00:00+14:00"}, "Succeeded"),
        ({"finishedAt": "9999-12-31T23:59:59-14:00"}, "Succeeded"),
        ({"logTail": "x" * 2_000_000, "outcome": "failed"}, "Failed"),
        ({"reason": "r" * 100_000, "outcome": "failed"}, "Failed"),
        ({"exitCode": 2**62, "outcome": "failed"}, "Failed"),
    ]
    for number, (said, phase) in enumerate(nonsense):
        uid = rig.submit(f"job-{number}")["metadata"]["uid"]
        rig.until(lambda uid=uid: any(offer["uid"] == uid for offer in liar.offers), "the offer")  # type: ignore[misc]
        liar.ends(uid, 1, **said)
        assert phase == rig.end_of(f"job-{number}", 10)["phase"], str(said)[:200]

    assert not operator.lines("status_refused")
    assert len(nonsense) == len(liar.offers), "none is run again"


def test_a_boot_id_that_changes_all_the_time_costs_no_more_than_its_jobs(rig: Rig, liar: Liar) -> None:
    boots = iter(range(10**6))

    def feed() -> bytes:
        liar.feed["boot"] = f"{next(boots):08x}"
        liar.feed["cursor"] = f"{liar.feed['boot']}:1"
        return json.dumps(liar.feed).encode()

    liar.say(handlers=["echo"])
    liar.answer = feed
    operator = lead(rig)
    rig.submit("job", maxDisruptions=2)
    status = rig.end_of("job")

    assert ("Failed", "DisruptionsExhausted", 3, 3) == tuple(
        status[name] for name in ("phase", "reason", "attempts", "disruptions")
    )
    start_worker(rig)
    rig.submit("other", "sleep", args={"seconds": 0.1, "steps": 1})
    check(rig, "other", "succeeded")
    assert operator.process is not None
    assert operator.process.poll() is None


@pytest.mark.parametrize("boots", [itertools.repeat(1), itertools.count()], ids=["the same", "another"])
def test_a_worker_that_answers_at_once_is_not_asked_in_a_circle(rig: Rig, liar: Liar, boots: Iterator[int]) -> None:

    def feed() -> bytes:
        boot = f"{next(boots):08x}"
        return json.dumps({**liar.feed, "boot": boot, "cursor": f"{boot}:1"}).encode()

    liar.answer, liar.patience = feed, 0.0
    lead(rig)
    has_asked(rig, liar)
    before, since = liar.polls, time.monotonic()
    rig.until(lambda: time.monotonic() - since > 2, "two seconds")

    assert liar.polls - before < 20


def test_an_attempt_that_nobody_here_stopped_is_a_disruption(rig: Rig, liar: Liar) -> None:
    lead(rig)
    liar.say(handlers=["echo"], cursor=f"{BOOT}:2")
    uid = rig.submit("job")["metadata"]["uid"]
    rig.until(lambda: liar.offers, "the offer")
    liar.ends(uid, 1, outcome="cancelled", reason="Cancelled")
    rig.until(lambda: len(liar.offers) == 2, "the second offer")
    liar.ends(uid, 2)

    check(rig, "job", "lost", "succeeded", disruptions=1)


@pytest.mark.parametrize("deleted", [False, True], ids=["cancelled", "deleted"])
def test_what_is_given_up_before_it_arrived_is_stopped_then(rig: Rig, liar: Liar, *, deleted: bool) -> None:
    lead(rig)
    liar.takes.clear()
    liar.say(handlers=["echo"], cursor=f"{BOOT}:2")
    rig.submit("job")
    rig.until(lambda: liar.offers, "the offer")
    if deleted:
        rig.plane.must("DELETE", f"{rig.path}/job")
    else:
        rig.patch("job", cancel=True)
    rig.until(lambda: liar.stops, "the wish to stop it")
    before = len(liar.stops)
    liar.takes.set()

    rig.until(lambda: len(liar.stops) > before, "the second wish to stop it", 5)


def test_a_status_that_somebody_else_wrote_stands(rig: Rig) -> None:
    lead(rig)
    rig.submit("job")
    rig.plane.must(
        "PATCH", f"{rig.path}/job/status", {"status": {"phase": "Running", "attempts": 1, "worker": "ghost"}}
    )
    start_worker(rig)

    status = check(rig, "job", "lost", "succeeded", disruptions=1)
    assert "ghost" == status["history"][0]["worker"]


def test_an_attempt_that_never_ends_ends_with_its_pod(rig: Rig, liar: Liar) -> None:
    lead(rig)
    liar.say(handlers=["echo"], cursor=f"{BOOT}:2")
    uid = rig.submit("job")["metadata"]["uid"]
    rig.until(lambda: liar.offers, "the offer")
    liar.say(running=[{"uid": uid, "number": 1}], cursor=f"{BOOT}:3")
    rig.patch("job", cancel=True)
    rig.until(lambda: liar.stops, "the wish to stop it")
    assert f"/v1/attempts/{uid}/1" == liar.stops[0]
    has_asked(rig, liar, 5)
    assert "Cancelled" != rig.status("job")["phase"], "it still runs"
    rig.kubelet.delete("liar")

    check(rig, "job", "cancelled", phase="Cancelled")
