"""``after`` over redrives and in batches, on a real service."""

from typing import Any

import pytest

from service import Service


def submit(service: Service, name: str, handler: str = "echo", **fields: object) -> None:
    answer = service.request("POST", "/v1/jobs", {"name": name, "handler": handler, **fields})
    assert answer.status == 202, answer.body


def status(service: Service, name: str) -> dict[str, Any]:
    found: dict[str, Any] = service.client().wait(name, 20)["status"]
    return found


def broken_chain(service: Service, prefix: str, first: dict[str, object]) -> list[str]:
    """``first`` fails, and with it a diamond of jobs that wait for it."""
    a, b, c, d = names = [f"{prefix}-{letter}" for letter in "abcd"]
    service.request("POST", "/v1/jobs:batch", {"jobs": [
        {"name": d, "handler": "echo", "after": [b, c]}, {"name": b, "handler": "echo", "after": [a]},
        {"name": c, "handler": "echo", "after": [a]}, {"name": a, **first}]})  # fmt: skip
    for name in names:
        assert "Failed" == status(service, name)["phase"], name
    assert "DependencyFailed" == status(service, d)["reason"]
    return names


def test_a_redriven_job_does_not_run_while_what_it_waits_for_has_failed(shared_service: Service) -> None:
    """It ran and succeeded, with its input still failed."""
    submit(shared_service, "input", "raises")
    submit(shared_service, "reduce", after=["input"])
    assert "DependencyFailed" == status(shared_service, "reduce")["reason"]
    answer = shared_service.request("POST", "/v1/jobs/reduce:redrive")

    assert (409, "conflict") == (answer.status, answer.json()["type"].rpartition("/")[2])
    assert "reduce waits for job input, which is Failed" in answer.json()["detail"]
    assert ("Failed", 0) == (status(shared_service, "reduce")["phase"], status(shared_service, "reduce")["attempts"])


def test_a_redriven_job_waits_for_one_that_is_redriven_too(shared_service: Service) -> None:
    (a, b, c, d) = broken_chain(shared_service, "one-by-one", {"handler": "fail", "args": {"times": 1}})
    shared_service.request("POST", "/v1/queues/default:pause")
    redrive = [shared_service.request("POST", f"/v1/jobs/{name}:redrive").status for name in (a, b, c, d)]
    explained = shared_service.request("GET", f"/v1/jobs/{d}/explain").json()
    shared_service.request("POST", "/v1/queues/default:resume")

    assert [202] * 4 == redrive
    assert ("Dependencies", [b, c]) == (explained["reason"], explained["waitsFor"])
    ends = [status(shared_service, name) for name in (a, b, c, d)]
    assert ["Succeeded"] * 4 == [end["phase"] for end in ends]
    assert ends[0]["finishedAt"] <= ends[1]["startedAt"]
    assert max(ends[1]["finishedAt"], ends[2]["finishedAt"]) <= ends[3]["startedAt"]


def test_a_whole_chain_is_redriven_in_one_request_and_in_order(start_service: Any) -> None:
    service = start_service()
    (a, b, c, d) = broken_chain(service, "whole", {"handler": "fail", "args": {"times": 1}})
    submit(service, "elsewhere", "raises")
    submit(service, "both", after=[a, "elsewhere"])
    assert "DependencyFailed" == status(service, "both")["reason"]
    key = {"Idempotency-Key": "again"}
    answer = service.request("POST", f"/v1/jobs/{a}:redrive", {"dependents": True}, headers=key)
    # A kill in the middle: they wait for each other after it too.
    service.kill()
    service.start()
    replay = service.request("POST", f"/v1/jobs/{a}:redrive", {"dependents": True}, headers=key)

    assert (202, [a, b, c, d]) == (answer.status, sorted(answer.json()["redriven"]))
    assert [a, d] == [answer.json()["redriven"][place] for place in (0, -1)]
    assert answer.json()["redriven"] == replay.json()["redriven"]
    ends = [status(service, name) for name in (a, b, c, d)]
    assert ["Succeeded"] * 4 == [end["phase"] for end in ends]
    assert max(ends[1]["finishedAt"], ends[2]["finishedAt"]) <= ends[3]["startedAt"]
    assert ("Failed", 0) == (status(service, "both")["phase"], status(service, "both").get("redrives", 0))


def test_a_job_that_ran_is_redriven_without_a_dependency_that_was_removed(
    shared_service: Service, eventually: Any
) -> None:
    submit(shared_service, "removed-before", ttlSecondsAfterFinished=1)
    submit(shared_service, "ran-once", "fail", args={"times": 1}, after=["removed-before"])
    assert "Failed" == status(shared_service, "ran-once")["phase"]
    eventually(lambda: shared_service.request("GET", "/v1/jobs/removed-before").status == 410)

    assert 202 == shared_service.request("POST", "/v1/jobs/ran-once:redrive").status
    assert "Succeeded" == status(shared_service, "ran-once")["phase"]


def test_a_job_that_never_ran_is_not_redriven_without_its_dependency(shared_service: Service) -> None:
    submit(shared_service, "lonely", after=["never-was"])
    assert "DependencyMissing" == status(shared_service, "lonely")["reason"]
    answer = shared_service.request("POST", "/v1/jobs/lonely:redrive")

    assert 409 == answer.status
    assert "never-was, which is not there" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("jobs", "pointer", "word"),
    [
        ([{"name": "x", "after": ["y"]}, {"name": "y", "after": ["x"]}], "/jobs/1/after/0", "x waits for y, directly"),
        ([{"name": "x", "after": ["x"]}], "/jobs/0/after/0", "wait for itself"),
        ([{}, {"after": ["p"]}, {"name": "p", "after": ["q"]}, {"name": "q", "after": ["p"]}],
         "/jobs/3/after/0", "neither could ever start"),
        ([{"name": "x"}, {"after": ["x", "nobody-has-it"]}], "/jobs/1/after/1", "there is no job nobody-has-it"),
        ([{"after": ["nobody-has-it"]}], "/jobs/0/after/0", "there is no job nobody-has-it"),
    ],
)  # fmt: skip
def test_a_batch_that_could_never_run_is_refused_by_its_field(
    shared_service: Service, jobs: list[dict[str, object]], pointer: str, word: str
) -> None:
    answer = shared_service.request("POST", "/v1/jobs:batch", {"jobs": [{"handler": "echo", **job} for job in jobs]})
    (error,) = answer.json()["errors"]

    assert (422, pointer) == (answer.status, error["pointer"])
    assert word in error["detail"]
    assert 404 == shared_service.request("GET", "/v1/jobs/x").status, "nothing is half accepted"


def test_a_job_cannot_wait_for_itself(shared_service: Service) -> None:
    """It was accepted, and waited for ever."""
    answer = shared_service.request("POST", "/v1/jobs", {"name": "self", "handler": "echo", "after": ["self"]})

    assert (422, "/after/0") == (answer.status, answer.json()["errors"][0]["pointer"])


def test_the_dependents_of_a_redrive_are_a_yes_or_a_no(shared_service: Service) -> None:
    answer = shared_service.request("POST", "/v1/jobs/any:redrive", {"dependents": "yes"})

    assert (422, "/dependents") == (answer.status, answer.json()["errors"][0]["pointer"])
