"""Arrays, dependencies and deadlines over cancels and kills of a real service: regressions, each with its defect."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service import Service

Eventually = Callable[..., Any]
Starter = Callable[..., Service]


def submit(service: Service, handler: str = "echo", **fields: object) -> str:
    answer = service.request("POST", "/v1/jobs", {"handler": handler, **fields})
    assert answer.status == 202, answer.body
    return str(answer.json()["id"])


def phase(service: Service, id: str) -> str:
    return str(service.client().get(id)["status"]["phase"])


def ended(service: Service, id: str) -> tuple[str, str]:
    status = service.client().wait(id, 20)["status"]
    return status["phase"], status.get("reason", "")


def events(service: Service, id: str, kind: str) -> int:
    found = service.request("GET", f"/v1/jobs/{id}/events?limit=1000").json()["items"]
    return sum(event["type"] == kind for event in found)


def items(service: Service, id: str) -> list[int]:
    """Items of the array that run now."""
    return sorted(found["index"] for found in service.client().workers()[0]["running"] if found["job"] == id)


def kill_and_start(service: Service) -> None:
    service.kill()
    service.start()


# -- arrays ------------------------------------------------------------------------------------------------------------


def test_a_cancelled_array_starts_no_further_item(start_service: Starter, eventually: Eventually) -> None:
    """An item that ended put the array back in line, and the next item started."""
    service = start_service(slots=3)
    id = submit(service, "sometimes_stubborn", count=6, parallelism=2)
    eventually(lambda: items(service, id) == [0, 1])
    eventually(lambda: b"deaf" in b"".join(service.client().logs(id, index=1)))
    service.request("POST", f"/v1/jobs/{id}:cancel", {"graceSeconds": 600})
    eventually(lambda: items(service, id) == [1], what="the end of the first item")
    other = submit(service)

    assert ("Succeeded", "") == ended(service, other), "a turn in which the array could have started one"
    service.request("POST", f"/v1/jobs/{id}:cancel", {"graceSeconds": 0})
    assert ("Cancelled", "Cancelled") == ended(service, id)
    assert (2, 1) == (events(service, id, "started"), events(service, id, "cancelled"))


@pytest.mark.parametrize("array", [{}, {"count": 4, "parallelism": 2}])
def test_a_cancel_outlives_the_engine(start_service: Starter, eventually: Eventually, array: dict[str, int]) -> None:
    service = start_service()
    id, at_once = submit(service, "ignores_sigterm", **array), array.get("parallelism", 1)
    eventually(lambda: events(service, id, "started") == at_once)
    service.request("POST", f"/v1/jobs/{id}:cancel", {"graceSeconds": 600})
    kill_and_start(service)

    assert ("Cancelled", "Cancelled") == ended(service, id)
    assert at_once == events(service, id, "started")


# -- dependencies ------------------------------------------------------------------------------------------------------


def test_a_dependency_that_succeeded_and_was_removed_counts_after_a_kill(
    start_service: Starter, eventually: Eventually
) -> None:
    """It was taken for one that never was: the job that waited failed with DependencyMissing."""
    service = start_service()
    submit(service, name="a", suspend=True, ttlSecondsAfterFinished=0)
    submit(service, name="c", suspend=True)
    submit(service, name="b", after=["a", "c"])
    service.request("POST", "/v1/jobs/a:resume")
    eventually(lambda: service.request("GET", "/v1/jobs/a").status == 410)
    kill_and_start(service)

    assert ["c"] == service.request("GET", "/v1/jobs/b/explain").json()["waitsFor"]
    service.request("POST", "/v1/jobs/c:resume")
    assert ("Succeeded", "") == ended(service, "b")


def test_a_dependency_that_failed_fails_after_a_kill_too(start_service: Starter, eventually: Eventually) -> None:
    service = start_service()
    submit(service, "raises", name="a", suspend=True)
    submit(service, name="b", after=["a"])
    kill_and_start(service)
    service.request("POST", "/v1/jobs/a:resume")

    assert ("Failed", "DependencyFailed") == ended(service, "b")


def test_a_redriven_job_stays_in_line_over_a_kill(start_service: Starter, eventually: Eventually) -> None:
    """The restart asked for a dependency that had succeeded and was removed since, and failed the job again."""
    service = start_service()
    submit(service, name="a", suspend=True, ttlSecondsAfterFinished=1)
    submit(service, "fail", name="b", after=["a"], args={"times": 1})
    service.request("POST", "/v1/jobs/a:resume")
    assert ("Failed", "HandlerError") == ended(service, "b")
    eventually(lambda: service.request("GET", "/v1/jobs/a").status == 410)
    service.request("POST", "/v1/queues/default:pause")
    service.request("POST", "/v1/jobs/b:redrive")
    kill_and_start(service)

    assert "Pending" == phase(service, "b")
    service.request("POST", "/v1/queues/default:resume")
    assert ("Succeeded", "") == ended(service, "b")


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_a_start_deadline_counts_from_start_after_over_a_kill_too(start_service: Starter) -> None:
    """After the restart it counted from the submit."""
    service = start_service()
    later = (datetime.now(UTC) + timedelta(seconds=600)).isoformat()
    id = submit(service, startAfter=later, startDeadlineSeconds=0.2)
    kill_and_start(service)
    other = submit(service, suspend=True, startDeadlineSeconds=0.2)

    assert ("Failed", "StartDeadlineExceeded") == ended(service, other), "one of a later deadline"
    assert "Pending" == phase(service, id)


@pytest.mark.parametrize("killed", [False, True])
def test_a_start_deadline_counts_from_the_end_of_what_it_waited_for(start_service: Starter, killed: bool) -> None:
    """It counted from the submit, when the job could not have started."""
    service = start_service()
    submit(service, name="a", suspend=True)
    submit(service, name="b", after=["a"], startDeadlineSeconds=0.2)
    assert ("Failed", "StartDeadlineExceeded") == ended(
        service, submit(service, suspend=True, startDeadlineSeconds=0.2)
    ), "one of a later deadline"
    assert "Pending" == phase(service, "b")
    service.request("POST", "/v1/jobs/a:resume")
    assert ("Succeeded", "") == ended(service, "a")

    service.request("POST", "/v1/queues/default:pause")
    submit(service, name="c", after=["a"], startDeadlineSeconds=1)
    if killed:
        kill_and_start(service)
    assert ("Failed", "StartDeadlineExceeded") == ended(service, "c")
