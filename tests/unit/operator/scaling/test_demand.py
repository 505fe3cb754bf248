"""What there is to do for each pool, from a desk laid by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from longshore.job.limits import QueuePolicy
from longshore_operator.desk import Desk
from longshore_operator.job import Attempt, Job
from longshore_operator.scaling.decide import Demand, Knobs
from longshore_operator.scaling.demand import Offer, demands
from longshore_operator.scaling.pool import BadAnnotation, Pool, pool, read
from longshore_operator.scaling.runtimes import Busy, RunTimes
from trusted import TRUST

NOW = 1_800_000_000.0


def later(seconds: float) -> str:
    return (datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds)).isoformat()


def make_pool(name: str = "default", *, queues: str = "", namespaces: str = "", **annotations: str) -> Pool:
    of_pods = {"longshore.dev/queues": queues} if queues else {}
    of_pods |= {"longshore.dev/serves-namespaces": namespaces} if namespaces else {}
    container = {"name": "worker", "env": [{"name": "LONGSHORE_SLOTS", "value": "4"}]}
    own = {f"longshore.dev/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return pool({
        "metadata": {"namespace": "here", "name": f"pool-{name}", "uid": name, "labels": {"longshore.dev/pool": name}, "annotations": own},
        "spec": {"replicas": 0, "template": {"metadata": {"annotations": of_pods}, "spec": {"containers": [container]}}},
    }, TRUST)  # fmt: skip


def offer(
    name: str = "default", *, handlers: set[str] | None = None, free: int = 0, room: int = 40, queues: str = ""
) -> Offer:
    known = frozenset(handlers) if handlers is not None else None
    return Offer(make_pool(name, queues=queues, max_workers="10"), known, free, room)


def submit(desk: Desk, name: str, queue: str = "default", policy: QueuePolicy | None = None, **spec: Any) -> Job:
    if policy is not None:
        desk.set_policy(("here", queue), policy, NOW)
    job = Job({
        "metadata": {"namespace": "here", "name": name, "uid": f"uid-of-{name}", "creationTimestamp": "2027-01-01T00:00:00Z"},
        "spec": {"handler": "echo", "queue": queue, **spec},
    })  # fmt: skip
    desk.add(job)
    desk.queue(job, NOW)
    return job


def found(desk: Desk, *offers: Offer, times: RunTimes | None = None) -> list[Demand]:
    return list(demands(desk, offers or [offer()], times or RunTimes(), NOW).values())


WAITING: list[tuple[str, dict[str, Any], dict[str, Any], float, float]] = [
    ("a job without any worker, as of a pool at zero", {}, {}, 1, 0),
    ("a suspended one", {"suspend": True}, {}, 0, 0),
    ("one of a paused queue", {}, {"paused": True}, 0, 0),
    ("one that waits for another", {"after": ["other"]}, {}, 1, 0),  # its names are given to the desk apart: see below
    ("one whose time comes soon", {"startAfter": later(20)}, {}, 0, 1),
    ("one whose time comes late", {"startAfter": later(40)}, {}, 0, 0),
    ("an array", {"count": 50}, {}, 50, 0),
    ("an array that runs three at a time", {"count": 50, "parallelism": 3}, {}, 3, 0),
    ("an array of a queue that runs five at a time", {"count": 50}, {"concurrency": 5}, 5, 0),
    ("an array of a queue with a rate", {"count": 50}, {"rateLimit": {"jobs": 2, "perSeconds": 1}}, 10, 0),
    ("one of a rate that lets none start for long", {}, {"rateLimit": {"jobs": 1, "perSeconds": 3600}}, 0, 0),
    ("one whose key is shared", {"concurrencyKey": "k"}, {"keyConcurrency": 1}, 1, 0),
]


@pytest.mark.parametrize(("name", "spec", "policy", "waiting", "due"), WAITING, ids=[row[0] for row in WAITING])
def test_what_counts(name: str, spec: dict[str, Any], policy: dict[str, Any], waiting: float, due: float) -> None:
    desk = Desk()
    submit(desk, "job", policy=QueuePolicy.model_validate(policy, by_alias=True), **spec)
    (demand,) = found(desk)
    assert (waiting, due) == pytest.approx((demand.waiting_jobs, demand.due_jobs))


def test_a_job_that_waits_for_another_is_no_demand() -> None:
    desk = Desk()
    job = submit(desk, "job")
    desk.wait_for(job, ["other"])
    desk.queue(job, NOW)
    assert [Demand()] == found(desk)


@pytest.mark.parametrize(("jump", "due"), [(-86_400.0, 0), (-50.0, 0), (0.0, 1), (10.0, 1)])
def test_a_clock_that_is_set_changes_what_is_due_and_nothing_else(jump: float, due: int) -> None:
    desk = Desk()
    submit(desk, "waits")
    submit(desk, "later", startAfter=later(20))

    (demand,) = demands(desk, [offer()], RunTimes(), NOW + jump).values()

    assert (1, due) == (demand.waiting_jobs, demand.due_jobs)


def test_jobs_of_one_key_count_as_far_as_the_key_lets_them() -> None:
    desk = Desk()
    policy = QueuePolicy.model_validate({"keyConcurrency": 2}, by_alias=True)
    jobs = [submit(desk, f"job-{number}", policy=policy, concurrencyKey="k") for number in range(9)]
    assert [2] == [demand.waiting_jobs for demand in found(desk)]
    desk.begin(jobs[0], Attempt(1, None, NOW), None, NOW)
    assert [1] == [demand.waiting_jobs for demand in found(desk)]


def test_short_jobs_want_a_part_of_a_slot() -> None:
    desk, times = Desk(), RunTimes()
    for number in range(10):
        submit(desk, f"job-{number}")
    times.ran("echo", 1.0)
    assert [(10, 2.0)] == [(demand.waiting_jobs, demand.waiting_slots) for demand in found(desk, times=times)]


def test_work_goes_to_pools_that_serve_its_queue_and_know_its_handler() -> None:
    desk = Desk()
    submit(desk, "a", "fast")
    submit(desk, "b", "slow")
    first, second, third = found(
        desk,
        offer("one", queues="fast"),
        offer("two", queues="slow", handlers={"other"}),
        offer("three", queues="slow"),
    )
    assert (1, 0, 1) == (first.waiting_jobs, second.waiting_jobs, third.waiting_jobs)


def test_free_slots_come_before_room_and_nothing_is_lost_between_pools() -> None:
    desk = Desk()
    submit(desk, "job", count=100)
    warm, cold = found(desk, offer("warm", free=8, room=0), offer("cold", room=40))
    assert (8, 92) == pytest.approx((warm.waiting_jobs, cold.waiting_jobs))
    left, right = found(desk, offer("left", room=10), offer("right", room=30))
    assert (25, 75) == pytest.approx((left.waiting_jobs, right.waiting_jobs))


def test_a_pool_without_room_is_told_what_waits() -> None:
    desk = Desk()
    submit(desk, "job", count=100)
    assert [100] == [demand.waiting_jobs for demand in found(desk, offer(room=0))]


def test_pools_that_others_scale_are_told_equal_parts() -> None:
    desk = Desk()
    submit(desk, "job", count=100)
    assert [54, 46] == [
        demand.waiting_jobs for demand in found(desk, offer("one", free=8, room=0), offer("two", room=0))
    ]


def test_a_handler_that_nobody_knows_keeps_one_worker_to_say_so() -> None:
    desk = Desk()
    submit(desk, "job", count=100)
    assert [Demand(curious=True)] == found(desk, offer(handlers={"other"}))


@pytest.mark.parametrize(("seconds", "paused", "due"), [(20, False, 3), (40, False, 0), (-1, False, 0), (20, True, 0)])
def test_the_job_of_a_coming_tick_is_due_soon(seconds: float, paused: bool, due: int) -> None:
    desk = Desk()
    if paused:
        desk.set_policy(("here", "nightly"), QueuePolicy(paused=True), NOW)
    coming = [(NOW + seconds, "here", {"handler": "echo", "queue": "nightly", "count": 9, "parallelism": 3})]
    (demand,) = demands(desk, [offer()], RunTimes(), NOW, coming).values()
    assert due == demand.due_jobs


def test_run_times_follow_what_is_seen() -> None:
    times = RunTimes()
    assert 1.0 == times.share("echo", 5.0)
    times.ran("echo", 1.0)
    assert 0.2 == times.share("echo", 5.0)
    for _ in range(40):
        times.ran("echo", 60.0)
    assert 1.0 == times.share("echo", 5.0)


def test_short_jobs_are_seen_though_they_run_between_two_looks() -> None:
    busy = Busy()
    for tenth in range(200):
        busy.ran(tenth / 10, 0.05)
    assert 0.5 == pytest.approx(busy.slots(19.9), abs=0.06)
    assert 0.0 == busy.slots(31.0)


# -- annotations -----------------------------------------------------------------------------------------------

BAD = [
    ({"max-workers": "many"}, "longshore.dev/max-workers is no whole number: 'many'"),
    ({"max-workers": "-1"}, "longshore.dev/max-workers is -1, not from 0 to 10000"),
    ({"max-workers": "1e9"}, "longshore.dev/max-workers is no whole number: '1e9'"),
    (
        {"max-workers": "3", "min-workers": "5"},
        "longshore.dev/min-workers (5) is greater than longshore.dev/max-workers (3)",
    ),
    ({"min-workers": "5"}, "longshore.dev/min-workers is set without longshore.dev/max-workers"),
    ({"max-workers": "3", "idle-seconds": "nan"}, "longshore.dev/idle-seconds is nan, not from 0 to 86400"),
    ({"max-workers": "3", "target-wait-seconds": "0"}, "longshore.dev/target-wait-seconds is 0, not from 0.1 to 86400"),
]


@pytest.mark.parametrize(("annotations", "message"), BAD, ids=[row[1] for row in BAD])
def test_an_annotation_that_cannot_be_used_is_named(annotations: dict[str, str], message: str) -> None:
    with pytest.raises(BadAnnotation) as raised:
        read({f"longshore.dev/{key}": text for key, text in annotations.items()})
    assert message == str(raised.value)


def test_a_pool_reads_its_deployment() -> None:
    plain, scaled = make_pool(), make_pool(max_workers="5", idle_seconds="2.5")
    assert (None, "") == (plain.knobs, plain.bad)
    assert Knobs(0, 5, idle_seconds=2.5) == scaled.knobs
    assert 4 == scaled.slots
    assert scaled.serves("here", "any")
    assert not scaled.serves("elsewhere", "any")
    assert make_pool(namespaces="*").serves("elsewhere", "any")


def test_a_pool_that_serves_no_queue_is_refused() -> None:
    assert "longshore.dev/queues names no queue" == make_pool(queues=" , ", max_workers="5").bad
