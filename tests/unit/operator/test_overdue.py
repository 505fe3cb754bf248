"""Jobs whose handler nobody knows: how long they are waited for."""

from typing import Any

from longshore_operator.desk import Desk, Worker
from longshore_operator.job import Job
from longshore_operator.overdue import Overdue
from longshore_operator.recover import Pod

NOW = 1_800_000_000.0


class Record:
    """Remembers what ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def end(self, job: Job, *_how: Any) -> None:
        self.ends.append(job.name)


def test_the_time_before_a_job_was_first_seen_does_not_count() -> None:
    """A look that came late, on a machine that had stood still, used up the grace of a job that had just come."""
    desk, record = Desk(), Record()
    pod = Pod(
        uid="uid", name="worker-0", namespace="here", pool="pool", address="127.0.0.1:1", ready=True, ending=False,
        ended="", last_end="", last_end_at=0.0, queues=frozenset(), namespaces=frozenset({"here"}),
    )  # fmt: skip
    desk.workers[pod.uid] = Worker(pod, boot="boot", slots=1, handlers=frozenset({"echo"}))
    meta = {"namespace": "here", "name": "job", "uid": "uid-of-job", "creationTimestamp": "2027-01-01T00:00:00Z"}
    job = Job({"metadata": meta, "spec": {"handler": "nobody.knows"}})
    desk.add(job)
    desk.queue(job, NOW)
    overdue = Overdue(desk, record, grace_seconds=1.5, now=lambda: NOW)  # type: ignore[arg-type]  # one of its methods

    overdue._look_at_handlers(5.0)
    assert [] == record.ends
    overdue._look_at_handlers(1.0)
    assert [] == record.ends
    desk.workers[pod.uid].handlers = None
    overdue._look_at_handlers(10.0)
    assert [] == record.ends, "its only worker is still importing"
    desk.workers[pod.uid].handlers = frozenset({"echo"})
    overdue._look_at_handlers(1.0)
    assert ["job"] == record.ends
