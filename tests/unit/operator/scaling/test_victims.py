"""Who may go, and who may not: workers laid by hand, and a client that answers or does not."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from longshore_operator.attempts_client import AttemptsClient
from longshore_operator.desk import Desk, Worker
from longshore_operator.errors import WorkerUnreachable
from longshore_operator.job import Attempt, Job
from longshore_operator.kube.client import KubeClient
from longshore_operator.kube.config import KubeConfig
from longshore_operator.recover import Pod
from longshore_operator.scaling.decide import Why
from longshore_operator.scaling.pool import HANDLERS, handlers_text
from longshore_operator.scaling.pool import pool as read_pool
from longshore_operator.scaling.pools import Pools
from longshore_operator.scaling.report import hindrance
from longshore_operator.scaling.state import State
from longshore_operator.scaling.victims import TAKEN_SECONDS, Victims, vacant
from trusted import NO_TOKENS, TRUST


class Line(AttemptsClient):
    """Remembers what it was asked; some addresses do not answer."""

    def __init__(self, *silent: str) -> None:
        super().__init__(NO_TOKENS)
        self.silent, self.asked = set(silent), list[tuple[str, bool]]()

    async def drain(self, pod: Pod, *, on: bool) -> None:
        self.asked.append((pod.address, on))
        if pod.address in self.silent:
            raise WorkerUnreachable("no answer")


class Slow(Line):
    """One address answers when it is told to; ``reached``: it has been asked."""

    def __init__(self, slow: str) -> None:
        super().__init__()
        self.slow, self.reached, self.answers = slow, asyncio.Event(), asyncio.Event()

    async def drain(self, pod: Pod, *, on: bool) -> None:
        if pod.address == self.slow:
            self.reached.set()
            await self.answers.wait()
        await super().drain(pod, on=on)


def log(*_: Any, **__: Any) -> None:
    pass


def make_worker(name: str, *, jobs: int = 0, **pod: Any) -> Worker:
    given: dict[str, Any] = {
        "uid": name, "name": name, "namespace": "here", "pool": "default", "address": name, "ready": True, "ending": False,
        "ended": "", "last_end": "", "last_end_at": 0.0, "queues": frozenset(), "namespaces": frozenset({"here"}), **pod,
    }  # fmt: skip
    worker = Worker(Pod(**given), boot="boot", slots=4)
    for number in range(jobs):
        job = Job({
            "metadata": {"namespace": "here", "name": f"job-{number}", "uid": f"{name}-{number}", "creationTimestamp": "2027-01-01T00:00:00Z"},
            "spec": {"handler": "echo"},
        })  # fmt: skip
        worker.held[job.uid, None, 1] = (job, Attempt(1, None, 0.0))
    return worker


def by_uid(*workers: Worker) -> dict[str, Worker]:
    return {worker.pod.uid: worker for worker in workers}


def choose(victims: Victims, workers: dict[str, Worker], count: int, *, busy_too: bool = False) -> list[str]:
    asyncio.run(victims.choose(workers, count, 100.0, busy_too=busy_too))
    return sorted(victims.draining)


def test_only_workers_that_run_nothing_are_drained() -> None:
    workers = by_uid(
        make_worker("a", jobs=1), make_worker("b"), make_worker("c", ready=False), make_worker("d", ending=True)
    )
    victims = Victims(Line(), log)
    assert ["b"] == choose(victims, workers, 4)
    assert workers["b"].draining
    assert 0 == workers["b"].free(0.0), "something would be offered to it"


def test_a_starting_worker_gets_nothing_while_a_replica_set_chooses_who_goes() -> None:
    workers = by_uid(make_worker("a", ready=False, starting=True), make_worker("b"))
    victims = Victims(Line(), log)
    victims.warn(workers)
    assert [4, 4] == [worker.free(0.0) for worker in workers.values()]
    victims.warn(workers, shrinks=True)
    assert [0, 4] == [worker.free(0.0) for worker in workers.values()]
    victims.taken["c"] = 0.0
    victims.warn(workers)
    assert [0, 4] == [worker.free(0.0) for worker in workers.values()], "it has not chosen yet"
    victims.taken.clear()
    victims.warn(workers)
    assert [4, 4] == [worker.free(0.0) for worker in workers.values()]


def test_a_worker_that_somebody_drained_by_hand_is_left_to_them() -> None:
    workers, line = by_uid(make_worker("a", drained=True), make_worker("b", jobs=1, drained=True)), Line()
    victims = Victims(line, log)

    assert [] == choose(victims, workers, 2, busy_too=True)
    assert [] == line.asked
    assert [0, 0] == [worker.free(0.0) for worker in workers.values()]


def test_above_the_maximum_the_least_busy_ones_are_drained_and_may_finish() -> None:
    workers = by_uid(make_worker("a", jobs=3), make_worker("b", jobs=1), make_worker("c", jobs=2))
    victims = Victims(Line(), log)
    assert ["b"] == choose(victims, workers, 1, busy_too=True)
    workers["b"].pod = replace(workers["b"].pod, ready=False)
    assert [] == victims.gone(workers), "it runs a job"
    workers["b"].held.clear()
    assert ["b"] == victims.gone(workers)


def test_a_worker_that_does_not_answer_is_no_victim() -> None:
    workers, line = by_uid(make_worker("a"), make_worker("b")), Line("a")
    victims = Victims(line, log)
    assert ["b"] == choose(victims, workers, 2)
    assert not workers["a"].draining
    assert ("a", False) in line.asked, "it may have heard the drain, and nobody would take it back"


def test_a_worker_that_answered_neither_drain_nor_undrain_is_told_again_when_it_can_be_asked() -> None:
    """It works off what it was told in any order, so it may drain without anybody's wish."""
    workers, line = by_uid(make_worker("a")), Line("a")
    victims = Victims(line, log)
    choose(victims, workers, 1)
    workers["a"].boot = ""
    assert [] == victims.tidy(workers, 101.0), "it is away"
    workers["a"].boot, workers["a"].draining = "boot", True
    line.silent.clear()
    assert [] == choose(victims, workers, 1), "its last drain may not have come through yet"

    asyncio.run(victims.take_back(victims.tidy(workers, 102.0)))

    assert ("a", False) == line.asked[-1]
    assert [] == victims.tidy(workers, 103.0)
    assert ["a"] == choose(victims, workers, 1)


def test_a_drained_worker_goes_when_it_is_seen_not_ready() -> None:
    workers = by_uid(make_worker("a"))
    victims = Victims(Line(), log)
    choose(victims, workers, 1)
    assert [] == victims.gone(workers)
    workers["a"].pod = replace(workers["a"].pod, ready=False)
    assert ["a"] == victims.gone(workers)


def test_a_busy_worker_that_is_not_ready_stops_every_shrink() -> None:
    victims = Victims(Line(), log)
    assert ["a"] == victims.exposed(by_uid(make_worker("a", jobs=1, ready=False), make_worker("b", jobs=1)))
    assert [] == victims.exposed(by_uid(make_worker("a", jobs=1, ready=False, ending=True)))


def test_what_a_replica_set_did_not_take_is_taken_back() -> None:
    workers = by_uid(make_worker("a"))
    victims = Victims(Line(), log)
    choose(victims, workers, 1)
    victims.taken["a"] = victims.draining.pop("a")
    assert [] == victims.tidy(workers, 100.0 + TAKEN_SECONDS)
    left = victims.tidy(workers, 100.1 + TAKEN_SECONDS)
    assert [workers["a"]] == left
    asyncio.run(victims.take_back(left))
    assert ({}, {}, False) == (victims.taken, victims.draining, workers["a"].draining)


def test_a_worker_that_is_slow_to_answer_does_not_hold_up_another_that_is_taken_back() -> None:
    slow, other = make_worker("slow"), make_worker("other")
    slow.draining = other.draining = True

    async def take_back() -> None:
        line = Slow("slow")
        going = asyncio.create_task(Victims(line, log).take_back([slow, other]))
        await asyncio.wait_for(line.reached.wait(), 10)
        await asyncio.sleep(0)  # what does not wait for it goes on
        assert (slow.draining, other.draining) == (True, False)
        line.answers.set()
        await going
        assert not slow.draining

    asyncio.run(take_back())


def test_a_victim_whose_process_was_started_again_is_none_any_more() -> None:
    workers = by_uid(make_worker("a"))
    victims = Victims(Line(), log)
    choose(victims, workers, 1)
    workers["a"].draining = False  # its feed says so
    victims.tidy(workers, 104.0)
    assert {} == victims.draining


@pytest.mark.parametrize(
    ("goes", "worker", "pod"),
    [
        pytest.param(True, {"boot": ""}, {"stage": "Unschedulable"}, id="no node"),
        pytest.param(True, {"boot": ""}, {"stage": "ImagePullBackOff", "running": False}, id="no container"),
        pytest.param(True, {"boot": "", "refusals": 4}, {"stage": "Starting"}, id="nobody listens on its port"),
        pytest.param(True, {"boot": "", "unborn": True}, {"stage": "Starting"}, id="never heard since its birth"),
        pytest.param(False, {"boot": ""}, {"stage": "Starting"}, id="silent to a leader that has not seen its birth"),
        pytest.param(False, {"boot": "", "refusals": 1}, {}, id="one refusal"),
        pytest.param(False, {"boot": "", "jobs": 1}, {"running": False}, id="it holds a job"),
        pytest.param(False, {}, {"running": False, "stage": "CrashLoopBackOff"}, id="heard after the kubelet's word"),
        pytest.param(False, {"boot": ""}, {"stage": "Unschedulable", "ending": True}, id="it goes already"),
    ],
)
def test_a_pod_in_which_no_job_can_run_goes_without_a_drain(
    goes: bool, worker: dict[str, Any], pod: dict[str, Any]
) -> None:
    found = make_worker("a", jobs=worker.pop("jobs", 0), ready=False, **pod)
    for name, value in worker.items():
        setattr(found, name, value)
    assert (["a"] if goes else []) == vacant(by_uid(found, make_worker("b")))


def measured(*workers: Worker, now: float, state: State | None = None, **pool: Any) -> State:
    found = read_pool(
        {
            "metadata": {"namespace": "here", "name": "d", "uid": "u", "labels": {"longshore.dev/pool": "default"},
                         "annotations": {"longshore.dev/max-workers": "9"}},
            "spec": {"replicas": len(workers), "template": {"spec": {}}},
        }, TRUST,
    )  # fmt: skip
    state = state or State(replace(found, **pool), Victims(Line(), log))
    state.measure(by_uid(*workers), now)
    return state


def test_the_trouble_of_pods_is_measured_from_when_it_began_and_told_in_the_clusters_words() -> None:
    broken = make_worker("a", ready=False, stage="ErrImagePull", running=False, trouble="ErrImagePull: no such image")
    waits = make_worker("b", ready=False, stage="Unschedulable", running=False, trouble="Unschedulable: 0/3 nodes")
    broken.boot = waits.boot = ""
    state = measured(broken, waits, make_worker("c"), now=100.0)
    measured(broken, waits, make_worker("c"), now=161.0, state=state)
    found = state.capacity
    assert (3, 2, 61.0, Why.NOT_STARTING) == (found.workers, found.stuck, found.stuck_seconds, found.why_stuck)
    assert "ErrImagePull: no such image" == found.words
    assert 4 == state.offer().free, "only the one that works has slots"
    assert 0 == state.offer().room
    assert "a: ErrImagePull: no such image" == hindrance(state, by_uid(broken, waits))
    broken.boot = waits.boot = "boot"
    measured(broken, waits, now=162.0, state=state)
    assert (0, 0.0) == (state.capacity.stuck, state.capacity.stuck_seconds)


def test_pods_that_the_api_server_refuses_are_no_workers() -> None:
    found = measured(make_worker("a"), make_worker("b"), now=1.0, refused=2, refusal="exceeded quota: one")
    assert (0, Why.PODS_REFUSED, "exceeded quota: one") == (
        found.capacity.workers,
        found.capacity.why_stuck,
        found.capacity.words,
    )


def test_a_busy_worker_that_goes_right_after_a_shrink_is_counted_once() -> None:
    desk, registry = Desk(), CollectorRegistry()
    pools = Pools(
        desk,
        KubeClient(KubeConfig(server="http://127.0.0.1:1")),
        Line(),
        registry,
        trust=TRUST,
        on=True,
        log=log,
        clock=lambda: 105.0,
    )
    pools.seen({
        "metadata": {"namespace": "here", "name": "pool-default", "uid": "d", "labels": {"longshore.dev/pool": "default"}},
        "spec": {"replicas": 1, "template": {"spec": {"containers": []}}},
    })  # fmt: skip
    workers = desk.workers = by_uid(make_worker("a", jobs=2, ending=True), make_worker("b", ending=True))
    state = pools.states["d"]

    def counted() -> float | None:
        return registry.get_sample_value("longshore_operator_scale_in_busy_workers_total")

    pools._verify(state, workers, 105.0)
    assert 0 == counted(), "nothing was shrunk"
    state.shrunk_at = 100.0
    pools._verify(state, workers, 105.0)
    pools._verify(state, workers, 106.0)
    assert 1 == counted()


def test_a_new_leader_knows_what_the_workers_of_a_pool_at_zero_run() -> None:
    deployment: dict[str, Any] = {
        "metadata": {"namespace": "here", "name": "pool-default", "uid": "d", "labels": {"longshore.dev/pool": "default"}},
        "spec": {"replicas": 0, "template": {"spec": {"containers": []}}},
    }  # fmt: skip
    text = handlers_text(read_pool(deployment, TRUST), frozenset({"echo"}))
    deployment["metadata"]["annotations"] = {HANDLERS: text}
    pools = Pools(
        Desk(),
        KubeClient(KubeConfig(server="http://127.0.0.1:1")),
        Line(),
        CollectorRegistry(),
        trust=TRUST,
        on=True,
        log=log,
    )
    pools.seen(deployment)
    offer = pools.states["d"].offer()
    assert (offer.may_run("echo"), offer.may_run("resize")) == (True, False)
