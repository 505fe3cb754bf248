"""Why a job waits, told by a real service: every reason there is, and queues changed while it runs."""

import itertools
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from service import Service

FAR = "2999-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Queues for each kind of obstacle; one of the two slots is taken for the whole module."""
    folder = tmp_path_factory.mktemp("explain")
    file = folder / "longshore.toml"
    file.write_text(
        "[queues.paused]\npaused = true\n[queues.one]\nconcurrency = 1\n[queues.keyed]\nkey_concurrency = 1\n"
        "[queues.slow]\nrate_limit = { jobs = 1, per_seconds = 3600 }\n[queues.free]\n[queues.busy]\n"
    )
    service = Service(folder / "data", {"config": file, "slots": 4})
    service.start()
    yield service
    service.end()


def submit(service: Service, handler: str = "echo", **fields: object) -> str:
    answer = service.request("POST", "/v1/jobs", {"handler": handler, **fields})
    assert answer.status == 202, answer.body
    return str(answer.json()["id"])


def explain(service: Service, id: str) -> Any:
    return service.request("GET", f"/v1/jobs/{id}/explain").json()


def until_running(service: Service, *ids: str) -> None:
    limit = time.monotonic() + 20
    while any(service.client().get(id)["status"]["phase"] != "Running" for id in ids):
        assert time.monotonic() < limit
        time.sleep(0.02)


def items(service: Service, id: str) -> list[int]:
    """Items of the array that run now."""
    return sorted(found["index"] for found in service.client().workers()[0]["running"] if found["job"] == id)


def cancel(service: Service, *ids: str) -> None:
    for id in ids:
        service.request("POST", f"/v1/jobs/{id}:cancel", {"graceSeconds": 0})
        service.client().wait(id, 20)


@pytest.mark.parametrize(
    ("reason", "fields", "says", "waits_until"),
    [
        ("Paused", {"queue": "paused"}, "its queue is paused", False),
        ("Suspended", {"suspend": True}, "it is suspended; resume it", False),
        ("NotBefore", {"startAfter": FAR}, "it does not start before 2999-01-01T00:00:00", True),
        ("Dependencies", {"after": ["base"]}, "it waits for base to succeed", False),
        ("RateLimited", {"queue": "slow"}, "the rate of its queue lets the next job start at ", True),
    ],
)
def test_what_a_job_waits_for_by_itself(
    service: Service, reason: str, fields: dict[str, object], says: str, waits_until: bool
) -> None:
    service.request("POST", "/v1/jobs", {"handler": "echo", "name": "base", "startAfter": FAR})
    id = submit(service, **fields)
    found = explain(service, id)

    assert ("Pending", reason, waits_until) == (found["phase"], found["reason"], "waitsUntil" in found)
    assert found["message"].startswith(says)
    cancel(service, id)


def test_a_job_in_back_off_waits_until_its_next_attempt(service: Service, eventually: Callable[..., Any]) -> None:
    id = submit(service, "raises", maxRetries=1, retry={"initialSeconds": 500, "jitter": 0})
    eventually(lambda: service.client().get(id)["status"].get("retries"))
    found = explain(service, id)

    assert ("Pending", "NotBefore") == (found["phase"], found["reason"])
    assert service.client().get(id)["status"]["notBefore"] == found["waitsUntil"]
    cancel(service, id)


@pytest.mark.parametrize(
    ("reason", "fields", "says"),
    [
        ("ConcurrencyReached", {"queue": "one"}, "its queue runs 1 of 1 at a time"),
        (
            "KeyConcurrencyReached", {"queue": "keyed", "concurrencyKey": "k"}, "1 of 1 jobs of its concurrencyKey run",
        ),
    ],
)  # fmt: skip
def test_what_a_job_waits_for_because_another_runs(
    service: Service, reason: str, fields: dict[str, object], says: str
) -> None:
    running = submit(service, "naps", **fields)
    until_running(service, running)
    waiting = submit(service, **fields)
    found, other = explain(service, waiting), explain(service, running)

    assert (reason, says) == (found["reason"], found["message"])
    assert ("Running", "Running") == (other["phase"], other["reason"])
    cancel(service, running)
    assert "Succeeded" == service.client().wait(waiting, 20)["status"]["phase"]
    assert ("Ended", "it has ended: Succeeded") == (lambda e: (e["reason"], e["message"]))(explain(service, waiting))


def test_places_in_the_line_when_all_slots_are_busy(service: Service) -> None:
    busy = [submit(service, "naps", queue="busy") for _ in range(4)]
    until_running(service, *busy)
    waiting = [submit(service, queue="free", priority=priority) for priority in (0, 0, 5)]
    found = [explain(service, id) for id in waiting]

    assert ["InLine", "InLine", "NoFreeSlot"] == [one["reason"] for one in found]
    assert [2, 3, 1] == [one["position"] for one in found]
    assert ["1 job is before it", "2 jobs are before it", "it is next; all slots are busy"] == [
        one["message"] for one in found
    ]
    cancel(service, *waiting, *busy)


def test_an_array_that_runs_as_many_items_as_it_may_is_running(service: Service) -> None:
    id = submit(service, "naps", count=3, parallelism=1)
    until_running(service, id)

    assert "Running" == explain(service, id)["reason"]
    cancel(service, id)


def test_an_array_that_is_being_cancelled_is_explained(service: Service, eventually: Callable[..., Any]) -> None:
    """Held as ending while the last item runs: the word was unknown and ended the engine."""
    id = submit(service, "sometimes_stubborn", count=2)
    eventually(lambda: items(service, id) == [0, 1])
    eventually(lambda: b"deaf" in b"".join(service.client().logs(id, index=1)))
    service.request("POST", f"/v1/jobs/{id}:cancel", {"graceSeconds": 600})
    eventually(lambda: items(service, id) == [1])

    assert "Running" == explain(service, id)["reason"]
    service.request("POST", f"/v1/jobs/{id}:cancel", {"graceSeconds": 0})
    assert "Cancelled" == service.client().wait(id, 20)["status"]["phase"]
    assert "Ended" == explain(service, id)["reason"]


def test_a_drained_service_says_so(start_service: Callable[..., Service]) -> None:
    service = start_service()
    service.request("POST", "/v1/queues/default:pause")
    id = submit(service)
    service.request("POST", "/v1/admin:drain")

    assert "Draining" == explain(service, id)["reason"]


def test_a_job_whose_handler_is_gone_after_a_restart_waits_and_says_so(start_service: Callable[..., Service]) -> None:
    service = start_service()
    id = submit(service, suspend=True)
    service.stop()
    service.change(apps="rough_jobs")
    service.start()
    service.request("POST", f"/v1/jobs/{id}:resume")
    found = explain(service, id)

    assert ("UnknownHandler", "no worker knows its handler") == (found["reason"], found["message"])
    service.stop()
    service.change(apps="longshore_samples.echo")
    service.start()
    assert "Succeeded" == service.client().wait(id, 20)["status"]["phase"]


def test_a_job_that_nothing_holds_up_is_next() -> None:
    """The one reason that no request can catch: the turn that would tell it starts the job."""
    from longshore.job.explain import explain as explained
    from longshore.job.lane import Entry
    from longshore.job.limits import QueuePolicy
    from longshore.job.line import Line

    line = Line(QueuePolicy(), 0.0)
    line.push(Entry("a", since=0.0))
    found = explained(line, "a", now=1.0, free_slots=1)

    assert found is not None
    assert ("Next", 1) == (found.reason, found.position)


# -- queues ------------------------------------------------------------------------------------------------------------


def test_a_changed_queue_survives_a_restart_and_is_given_back(start_service: Callable[..., Service]) -> None:
    service = start_service()
    changes = {"concurrency": 1, "maxPending": 7, "rateLimit": {"jobs": 50, "perSeconds": 1, "burst": 5}}
    service.request("PATCH", "/v1/queues/default", changes)
    before = service.request("GET", "/v1/queues/default").json()
    for end in (service.stop, service.kill):
        end()
        service.start()
        assert before == service.request("GET", "/v1/queues/default").json()

    running, waiting = submit(service, "naps"), submit(service)
    until_running(service, running)
    assert "ConcurrencyReached" == explain(service, waiting)["reason"]
    given_back = service.request("PATCH", "/v1/queues/default", dict.fromkeys(changes)).json()
    assert [] == given_back["overridden"]
    assert "Succeeded" == service.client().wait(waiting, 20)["status"]["phase"]


def test_a_full_queue_is_429_and_takes_jobs_again_when_there_is_room(start_service: Callable[..., Service]) -> None:
    service = start_service()
    service.request("PATCH", "/v1/queues/default", {"maxPending": 2, "paused": True})
    ids = [submit(service) for _ in range(2)]
    refused = service.request("POST", "/v1/jobs", {"handler": "echo"})
    batch = service.request("POST", "/v1/jobs:batch", {"jobs": [{"handler": "echo"}] * 2})
    cancel(service, ids[0])

    assert (429, "/problems/quota-exceeded") == (refused.status, refused.json()["type"])
    assert int(refused.headers["Retry-After"]) > 0
    assert 429 == batch.status
    assert 202 == service.request("POST", "/v1/jobs", {"handler": "echo"}).status


def test_a_rate_spaces_the_starts(start_service: Callable[..., Service]) -> None:
    service = start_service(slots=4)
    service.request("PATCH", "/v1/queues/default", {"rateLimit": {"jobs": 5, "perSeconds": 1, "burst": 1}})
    jobs = service.client().submit_many([{"handler": "echo"}] * 10)
    for id in jobs:
        service.client().wait(id, 30)
    events = service.request("GET", "/v1/events?limit=1000").json()["items"]
    starts = sorted(datetime.fromisoformat(event["at"]).timestamp() for event in events if event["type"] == "started")

    assert 10 == len(starts)
    # Five a second: ten starts take 1.8 s at the least; a late one is followed by a full step, never by a burst of two.
    assert 1.7 < starts[-1] - starts[0] < 20
    assert min(after - before for before, after in itertools.pairwise(starts)) > 0.1
