"""What the operator makes of workers, pods, nodes and jobs that go away: nothing lost, nothing run twice."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from kube.marks import (
    Marks,
    check,
    check_idle,
    lead,
    run_marks,
    running_on,
    runs,
    signal_all,
    start_worker,
    two_workers,
)
from kube.operators import Rig
from service import SAMPLES, descendants

APPS = f"{SAMPLES},rough_jobs,worker_jobs"
Json = dict[str, Any]


# -- workers and pods ---------------------------------------------------------------------------------------------


def test_a_killed_workers_job_runs_on_another_worker(rig: Rig, marks: Marks) -> None:
    two_workers(rig)
    lead(rig)
    run_marks(rig, marks)
    rig.workers[running_on(rig)].kill()
    rig.until(lambda: len(marks.lines()) == 2, "the second run")
    marks.open()

    status = check(rig, "job", "lost", "succeeded", disruptions=1)
    assert status["history"][0]["reason"] == "WorkerLost"


def test_a_worker_started_again_in_its_pod_has_lost_what_it_ran(rig: Rig, marks: Marks) -> None:
    worker = start_worker(rig)
    lead(rig)
    run_marks(rig, marks)
    worker.kill()
    worker.start(ready=False)  # as soon as it can, it has the job again
    rig.kubelet.ready("worker-0")
    rig.until(lambda: len(marks.lines()) == 2, "the second run")
    marks.open()

    check(rig, "job", "lost", "succeeded", disruptions=1)


def test_what_a_container_out_of_memory_ran_has_the_outcome_oom(rig: Rig, marks: Marks) -> None:
    worker = start_worker(rig)
    lead(rig)
    run_marks(rig, marks, maxRetries=0)
    # The kubelet's word first: it takes as many requests to the API server, and the operator waits a second for it.
    rig.kubelet.oom_killed("worker-0")
    worker.kill()
    worker.start(ready=False)
    rig.kubelet.ready("worker-0")
    rig.until(lambda: len(marks.lines()) == 2, "the second run")
    marks.open()

    status = check(rig, "job", "oom", "succeeded", disruptions=1)
    assert status["history"][0]["reason"] == "ContainerOutOfMemory"


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
    operator = lead(rig)
    run_marks(rig, marks)
    name = running_on(rig)
    # Its process hangs, so that only the pod's phase tells.
    signal_all(rig.workers[name], signal.SIGSTOP)
    rig.kubelet.evict(name)
    rig.until(lambda: len(marks.lines()) == 2, "the second run")
    operator.wait_for("worker_lost")
    assert "its pod has ended: Evicted" == operator.lines("worker_lost")[0]["detail"]
    rig.workers[name].end()
    marks.open()

    check(rig, "job", "lost", "succeeded", disruptions=1)


def test_a_worker_that_says_it_can_runs_jobs_before_its_pod_is_ready(rig: Rig) -> None:
    lead(rig)
    rig.submit("first")
    start_worker(rig, ready=False)

    check(rig, "first", "succeeded")


def test_a_pod_that_is_not_ready_any_more_gets_nothing_and_what_it_runs_goes_on(rig: Rig, marks: Marks) -> None:
    worker = start_worker(rig)
    token = rig.folder / "tokens-of-the-operator"
    token.write_text("word\n")
    operator = lead(rig, token_file=token)
    run_marks(rig, marks)
    rig.kubelet.not_ready("worker-0")
    # Pods and jobs are two watches: the job may come first unless the operator has heard of the other.
    rig.until(lambda: not operator.ask("/v1/workers")[1]["items"][0]["ready"], "the pod that is not ready")
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
    rig.until(lambda: len(marks.lines()) == 2, "the second run")
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
