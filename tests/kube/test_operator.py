"""The operator on a real API server, with real workers: what users see of it."""

from kube.operators import Rig


def test_a_job_runs_on_a_worker_and_its_result_is_on_record(rig: Rig) -> None:
    rig.worker()
    rig.leader()
    rig.submit("hello", args={"x": 1})
    status = rig.end_of("hello")

    assert ("Succeeded", 1, {"x": 1}, "worker-0") == tuple(
        status[name] for name in ("phase", "attempts", "result", "worker")
    )
    assert ["Complete", "Finished"] == [condition["type"] for condition in status["conditions"]]
    rig.plane.kubectl("wait", "--for=condition=Finished", "lsj/hello", "-n", rig.namespace, "--timeout=5s")
