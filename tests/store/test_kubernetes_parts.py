"""The parts of the Kubernetes store that decide without an API server."""

from typing import Any

import pytest

from longshore.store.kubernetes.access import NO_SECONDS, YES_SECONDS, Memory
from longshore.store.kubernetes.documents import ended, order
from longshore.store.kubernetes.history import KEPT, History
from longshore.store.kubernetes.refusals import pointer
from longshore.store.port import Key, NewJob


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("spec.handler", "/spec/handler"),
        ("spec.items[3].x", "/spec/items/3/x"),
        ("metadata.labels", "/metadata/labels"),
        ("metadata.annotations[example.com/a~b]", "/metadata/annotations/example.com~1a~0b"),
        ("spec.env[A.B].c", "/spec/env/A.B/c"),
        ("<nil>", ""),
        ("", ""),
    ],
)
def test_fields_become_pointers(field: str, expected: str) -> None:
    assert expected == pointer(field)


def job(phase: str = "Pending", *, rev: int = 1, name: str = "a", attempts: int = 0, uid: str = "u",
        redrives: int = 0, **spec: object) -> dict[str, Any]:  # fmt: skip
    return {
        "metadata": {"name": name, "namespace": "n", "uid": uid, "resourceVersion": str(rev),
                     "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec, "status": {"phase": phase, "attempts": attempts, "redrives": redrives},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "type_"),
    [
        (job(), job("Running", attempts=1), "started"),
        (job(), job("Succeeded", attempts=1), "succeeded"),
        (job("Running", attempts=1), job("Pending", attempts=1), "retrying"),
        (job(attempts=1), job(attempts=2), "retrying"),
        (job("Running", attempts=1), job("Running", attempts=2), "started"),
        (job("Failed"), job("Pending", redrives=1), "redriven"),
        (job(), job(cancel=True), "cancelling"),
        (job(), job(suspend=True), "suspended"),
        (job(suspend=True), job(), "resumed"),
        (job(), job("Cancelled", cancel=True), "cancelled"),
        (job(), job(redrives=0), None),
        (job(uid="old"), job("Running"), None),
    ],
)
def test_changes_become_events(before: dict[str, Any], after: dict[str, Any], type_: str | None) -> None:
    history = History()
    history.learn([before])
    history.change("MODIFIED", after, 7)

    assert ([type_] if type_ else []) == [event.type for event in history.after("n", None, 0, 10)]


def test_events_are_those_of_the_namespace_beyond_the_number() -> None:
    history = History()
    for seq, name in enumerate(["a", "b", "a"], start=1):
        history.change("ADDED", job(name=name), seq)

    assert [1, 3] == [event.seq for event in history.after("n", "a", 0, 10)]
    assert [2, 3] == [event.seq for event in history.after("n", None, 1, 10)]
    assert [1] == [event.seq for event in history.after("n", None, 0, 1)]
    assert [] == history.after("other", None, 0, 10)


def test_history_and_memory_of_jobs_are_bounded() -> None:
    history = History()
    for seq in range(KEPT + 5):
        history.change("ADDED", job(name=str(seq)), seq + 1)
        history.change("MODIFIED", job("Succeeded", name=str(seq)), seq + 1)

    assert KEPT == len(history.after("n", None, 0, 10**6))
    assert 0 == len(history._known), "a job that has succeeded never changes again"


def test_answers_are_remembered_for_a_while_and_few() -> None:
    now = [0.0]
    asked: list[object] = []
    memory: Memory[bool] = Memory(lambda: now[0], size=2)

    def ask(question: str, answer: bool) -> bool:
        def look() -> bool:
            asked.append(question)
            return answer

        return memory.ask(question, look)

    assert [True, True] == [ask("yes", True), ask("yes", False)]
    assert [False, False] == [ask("no", False), ask("no", True)]
    now[0] = NO_SECONDS
    assert [True, True] == [ask("no", True), ask("yes", False)]
    now[0] = YES_SECONDS
    assert not ask("yes", False)
    assert ["yes", "no", "no", "yes"] == asked
    ask("third", True)
    assert ask("no", True)
    assert ["third"] == asked[4:5]
    assert 2 == len(memory._answers)


def test_a_key_names_the_job_and_a_name_is_a_key() -> None:
    key = Key("alice/k", "print")
    plain, named = NewJob("01x", False, b"{}"), NewJob("mine", True, b"{}", "own")

    assert order(plain, key).name == order(NewJob("01y", False, b"{}"), key).name
    assert order(plain, key).name == order(plain, key, 0).name != order(plain, key, 1).name
    assert order(plain, key).name != order(plain, Key("bob/k", "print")).name
    assert ("mine", "own", False) == (order(named, key).name, order(named, key).fingerprint, order(named, key).keyed)
    assert ("01x", "") == (order(plain, None).name, order(plain, None).fingerprint)


def test_a_failed_job_on_its_way_round_again_has_not_ended() -> None:
    assert ended(job("Failed", redrive=1, redrives=1))
    assert not ended(job("Failed", redrive=2, redrives=1))
    assert ended(job("Succeeded", redrive=2))
