"""What the operator's leader tells of jobs, workers and queues, from a desk laid by hand."""

from typing import Any

import orjson
import pytest

from longshore.job.limits import QueuePolicy
from longshore_operator import overview
from longshore_operator.desk import Desk, Worker
from longshore_operator.explain import Explainer
from longshore_operator.job import Attempt, Job
from longshore_operator.recover import Pod

NOW, CLOCK = 1_800_000_000.0, 50.0


def make_worker(desk: Desk, name: str = "worker-0", *, slots: int = 1, queues: str = "", **more: Any) -> Worker:
    pod = Pod(
        uid=f"uid-of-{name}", name=name, namespace="here", pool="pool", address="127.0.0.1:1", ready=True, ending=False,
        ended="", last_end="", last_end_at=0.0, queues=frozenset(filter(None, queues.split(","))), namespaces=frozenset({"here"}),
    )  # fmt: skip
    worker = Worker(pod, boot="boot", slots=slots, handlers=frozenset({"echo"}), due_at=CLOCK - 1, **more)
    desk.workers[pod.uid] = worker
    return worker


def make_job(desk: Desk, name: str = "job", **spec: object) -> Job:
    given = {"handler": "echo", **spec} if "command" not in spec else spec
    job = Job({
        "metadata": {"namespace": "here", "name": name, "uid": f"uid-of-{name}", "creationTimestamp": "2027-01-01T00:00:00Z"},
        "spec": given,
    })  # fmt: skip
    desk.add(job)
    return job


def explained(desk: Desk, name: str = "job") -> dict[str, Any]:
    found = Explainer(desk, now=lambda: NOW, clock=lambda: CLOCK).explain("here", name)
    assert found is not None
    orjson.dumps(found)
    return found


@pytest.mark.parametrize(
    ("spec", "policy", "reason"),
    [
        ({}, {}, "Next"),
        ({"suspend": True}, {}, "Suspended"),
        ({"startAfter": "2099-01-01T00:00:00Z"}, {}, "NotBefore"),
        ({"startAfter": "9999-12-31T23:59:59-14:00"}, {}, "NotBefore"),
        ({"handler": "nobody.knows"}, {}, "UnknownHandler"),
        ({"command": ["/bin/true"]}, {}, "UnknownHandler"),
        ({"queue": "elsewhere"}, {}, "NoWorker"),
        ({}, {"paused": True}, "Paused"),
        ({}, {"rateLimit": {"jobs": 1, "perSeconds": 60}}, "RateLimited"),
    ],
)
def test_a_waiting_job_says_why(spec: dict[str, object], policy: dict[str, object], reason: str) -> None:
    desk = Desk()
    make_worker(desk, queues="default")
    desk.set_policy(("here", "default"), QueuePolicy.model_validate_json(orjson.dumps(policy)), NOW)
    desk.queue(make_job(desk, **spec), NOW)

    assert reason == explained(desk)["reason"]


def test_a_job_waits_for_those_before_it() -> None:
    desk = Desk()
    make_worker(desk)
    job = make_job(desk, after=["first"])
    desk.wait_for(job, ("first",))
    desk.queue(job, NOW)

    assert ("Dependencies", ["first"]) == (explained(desk)["reason"], explained(desk)["waitsFor"])


def test_a_job_waits_for_a_slot_of_a_worker_that_knows_it() -> None:
    desk = Desk()
    worker = make_worker(desk)
    other = make_job(desk, "other")
    attempt = Attempt(1, None, NOW)
    desk.begin(other, attempt, worker, NOW)
    desk.queue(make_job(desk), NOW)
    desk.queue(make_job(desk, "behind"), NOW + 1)

    assert ("NoFreeSlot", "InLine") == (explained(desk)["reason"], explained(desk, "behind")["reason"])
    running = explained(desk, "other")
    assert ("Running", "it runs on worker-0") == (running["reason"], running["message"])
    assert [(1, "worker-0")] == [(one["number"], one["worker"]) for one in running["attempts"]]


def test_a_job_that_is_not_there_is_not_explained() -> None:
    assert Explainer(Desk(), now=lambda: NOW).explain("here", "nobody") is None


def test_workers_and_queues_are_listed_with_what_they_do() -> None:
    desk = Desk()
    worker = make_worker(desk, slots=2)
    job = make_job(desk)
    desk.begin(job, Attempt(3, None, NOW), worker, NOW)
    desk.queue(make_job(desk, "waiting"), NOW)
    workers, queues = overview.workers(desk, now=NOW, clock=CLOCK), overview.queues(desk, now=NOW)
    orjson.dumps([workers, queues])

    assert [("worker-0", 2, 1, [("job", 3)])] == [
        (one["name"], one["slots"], one["free"], [(run["job"], run["attempt"]) for run in one["running"]])
        for one in workers
    ]
    assert [("default", 1, 1, 1)] == [(one["name"], one["waiting"], one["ready"], one["running"]) for one in queues]


@pytest.mark.parametrize(("free", "told"), [(0, True), (1, False)])
def test_a_job_that_waits_for_a_worker_says_what_its_pools_know(free: int, told: bool) -> None:
    desk = Desk()
    make_worker(desk, slots=free)
    desk.queue(make_job(desk), NOW)
    asked: list[tuple[str, ...]] = []

    def hindrances(*key: str) -> list[str]:
        asked.append(key)
        return ["pool a: ImagePullBackOff", "pool b: exceeded quota"]

    found = Explainer(desk, now=lambda: NOW, clock=lambda: CLOCK, hindrances=hindrances).explain("here", "job")
    assert found is not None
    assert told == found["message"].endswith("; pool a: ImagePullBackOff; pool b: exceeded quota"), found
    assert ([("here", "default", "echo")] if told else []) == asked
