"""What the operator believes of workers that lie, and what it costs."""

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from kube.liar import BOOT, Liar
from kube.marks import (
    Marks,
    check,
    lead,
    run_marks,
    running_on,
    start_worker,
    two_workers,
)
from kube.operators import Rig
from service import SAMPLES

APPS = f"{SAMPLES},rough_jobs,worker_jobs"
Json = dict[str, Any]


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


GARBAGE = [
    b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"version": 2}', b"[" * 100_000, b'{"a":' * 100_000,
    b'{"version": 1, "boot": 5, "cursor": "x", "entries": "none"}',
]  # fmt: skip


def test_garbage_is_no_answer(rig: Rig) -> None:
    start_worker(rig)
    with ExitStack() as stack:
        liars = [stack.enter_context(Liar(rig.kubelet.next_address()).serving()) for _ in GARBAGE]
        for number, (liar, answer) in enumerate(zip(liars, GARBAGE, strict=True)):
            liar.answer = lambda answer=answer: answer  # type: ignore[misc]  # a default binds now
            rig.kubelet.add_pod(rig.namespace, f"liar-{number}", "default", liar.port, ip=liar.host)
        operator = lead(rig)
        for liar in liars:
            rig.until(lambda liar=liar: liar.polls >= 3, "polls")  # type: ignore[misc]
        rig.submit("job")

        check(rig, "job", "succeeded")
        unreachable = {line["worker"] for line in operator.lines("worker_unreachable")}
        assert {f"liar-{number}" for number in range(len(GARBAGE))} == unreachable
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
        assert phase == rig.end_of(f"job-{number}")["phase"], str(said)[:200]

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

    assert liar.polls - before < 10 * (time.monotonic() - since)


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


def test_an_attempt_whose_offer_is_answered_late_is_not_lost(rig: Rig, liar: Liar) -> None:
    """A worker that gets little processor says what it runs, again and again, before it takes what it was offered."""
    lead(rig)
    liar.takes.clear()
    liar.say(handlers=["echo"], cursor=f"{BOOT}:2")
    uid = rig.submit("job")["metadata"]["uid"]
    rig.until(lambda: liar.offers, "the offer")
    polls, since = liar.polls, time.monotonic()
    rig.until(lambda: time.monotonic() - since > 2 and liar.polls > polls + 2, "words that do not name it")
    liar.takes.set()
    liar.ends(uid, 1)

    check(rig, "job", "succeeded")


def test_a_status_that_somebody_else_wrote_stands(rig: Rig) -> None:
    lead(rig)
    rig.submit("job")
    rig.plane.must(
        "PATCH", f"{rig.path}/job/status", {"status": {"phase": "Running", "attempts": 1, "worker": "ghost"}}
    )
    rig.submit("behind", cancel=True)
    rig.end_of("behind")  # what came before it in the same watch has been seen; pods come in another one
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
