"""A Schedule from the resource to the result, through a whole operator and a real worker."""

from datetime import UTC, datetime, timedelta
from typing import Any

from kube.operators import Rig


def test_a_schedule_makes_a_job_that_runs(rig: Rig) -> None:
    """Within the minute: a cron field that names the next full minute, or the one after when that is too near."""
    rig.worker()
    operator = rig.leader()
    path = rig.path.replace("/jobs", "/schedules")
    tick = (datetime.now(UTC) + timedelta(seconds=65)).replace(second=0, microsecond=0)
    body = {
        "apiVersion": "longshore.dev/v1alpha1", "kind": "Schedule", "metadata": {"name": "soon"},
        "spec": {"cron": f"{tick.minute} {tick.hour} * * *",
                 "jobTemplate": {"labels": {"by": "clock"}, "spec": {"handler": "echo", "args": {"x": 1}}}},
    }  # fmt: skip
    rig.plane.must("POST", path, body)

    def jobs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = rig.plane.must("GET", f"{rig.path}?labelSelector=by%3Dclock")["items"]
        return found

    (job,) = rig.until(jobs, "the job of the tick", 75)
    made = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
    status = rig.end_of(job["metadata"]["name"])
    record = rig.until(
        lambda: found if "lastSuccessfulTime" in (found := rig.plane.must("GET", f"{path}/soon")["status"]) else None,
        "the schedule's record",
    )

    assert ("Succeeded", {"x": 1}, "worker-0") == (status["phase"], status["result"], status["worker"])
    assert tick <= made
    assert ["soon"] == [owner["name"] for owner in job["metadata"]["ownerReferences"]]
    assert (tick, "True") == (datetime.fromisoformat(record["lastScheduleTime"]), record["conditions"][0]["status"])
    assert "active" not in record
    assert 1 == len(jobs())
    assert operator.process is not None
    assert operator.process.poll() is None
