"""What a Queue promises, on a real API server with real workers: one test for each behaviour."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kube.control_plane import ControlPlane
from kube.operators import Rig, status_patches
from kube.shared_rig import APPS, shared_rig

WITHOUT_PRIMES = APPS.replace("longshore_samples.primes,", "")


@pytest.fixture(scope="module")
def rig(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A worker with one slot for queues whose name begins so, and one with four for the others."""
    with shared_rig(control_plane, tmp_path_factory.mktemp("queues")) as rig:
        pods = f"/api/v1/namespaces/{rig.namespace}/pods"
        for name, slots, queues in (("single", 1, "line,fair,aged"), ("wide", 4, "wide,keyed,rated,narrow,gone,still")):
            rig.worker(name, apps=WITHOUT_PRIMES, slots=slots)
            rig.plane.must("PATCH", f"{pods}/{name}", {"metadata": {"annotations": {"longshore.dev/queues": queues}}})
        rig.leader()
        yield rig


def queue(rig: Rig, name: str, **spec: object) -> None:
    """Make or change it, and wait until it is in force."""
    body = {
        "apiVersion": "longshore.dev/v1alpha1", "kind": "Queue", "metadata": {"name": name}, "spec": spec,
    }  # fmt: skip
    path = rig.path.replace("/jobs", "/queues")
    status, _ = rig.plane.request("GET", f"{path}/{name}")
    if status == 404:
        made = rig.plane.must("POST", path, body)
    else:
        made = rig.plane.must("PATCH", f"{path}/{name}", {"spec": spec})

    def observed() -> bool:
        return any(
            c["observedGeneration"] >= made["metadata"]["generation"] for c in standing(rig, name).get("conditions", ())
        )

    rig.until(observed, f"queue {name} in force")


def standing(rig: Rig, name: str) -> dict[str, Any]:
    found: dict[str, Any] = rig.plane.must("GET", f"{rig.path.replace('/jobs', '/queues')}/{name}").get("status", {})
    return found


def order(rig: Rig, queue_name: str, file: Path, jobs: dict[str, dict[str, object]]) -> list[str]:
    """Let these wait together, then run; the order in which they began."""
    queue(rig, queue_name, paused=True)
    for name, spec in jobs.items():
        rig.submit(name, "spans", queue=queue_name, args={"path": str(file), "word": name}, **spec)
    # All of them are known when this one, which came last, has been seen to wait for its turn.
    rig.until(lambda: standing(rig, queue_name).get("depth") == len(jobs), "the depth of the queue")
    queue(rig, queue_name, paused=False)
    for name in jobs:
        rig.end_of(name)
    return [line[1:] for line in file.read_text().split() if line.startswith("+")]


def most_at_a_time(file: Path) -> int:
    live = most = 0
    for line in file.read_text().split():
        live += 1 if line.startswith("+") else -1
        most = max(most, live)
    return most


def starts(rig: Rig, names: list[str]) -> list[float]:
    found = [rig.end_of(name)["history"][0]["startedAt"] for name in names]
    return sorted(datetime.fromisoformat(text).timestamp() for text in found)


def test_higher_priorities_go_first_and_equals_by_age(rig: Rig, tmp_path: Path) -> None:
    jobs: dict[str, dict[str, object]] = {"low": {"priority": -5}, "early": {}, "late": {}, "high": {"priority": 5}}
    found = order(rig, "line", tmp_path / "order", jobs)

    assert ["high", "early", "late", "low"] == found or [
        "high",
        "late",
        "early",
        "low",
    ] == found  # one second is one age


def test_fairness_keys_take_turns_by_weight(rig: Rig, tmp_path: Path) -> None:
    queue(rig, "fair", fairnessWeights={"b": 2})
    jobs: dict[str, dict[str, object]] = {f"a-{number}": {"fairnessKey": "a"} for number in range(4)}
    jobs |= {f"b-{number}": {"fairnessKey": "b"} for number in range(4)}
    found = [name[0] for name in order(rig, "fair", tmp_path / "order", jobs)]

    assert 4 == found[:6].count("b")  # two turns for each of the others, though all of a's had come first


def test_an_old_job_overtakes_a_young_one_of_a_higher_priority(rig: Rig, tmp_path: Path) -> None:
    queue(rig, "aged", ageingSeconds=0.001)  # a step for each millisecond
    queue(rig, "aged", paused=True)
    file = tmp_path / "order"
    rig.submit("old-and-low", "spans", queue="aged", args={"path": str(file), "word": "old"})
    time.sleep(1.1)  # ages are of whole seconds
    rig.submit("young-and-high", "spans", queue="aged", priority=5, args={"path": str(file), "word": "young"})
    rig.until(lambda: standing(rig, "aged").get("depth") == 2, "the depth of the queue")
    queue(rig, "aged", paused=False)
    rig.end_of("young-and-high")
    rig.end_of("old-and-low")

    assert ["+old", "-old", "+young", "-young"] == file.read_text().split()


def test_a_paused_queue_starts_nothing_until_it_is_resumed(rig: Rig) -> None:
    queue(rig, "wide", paused=True)
    rig.submit("paused", queue="wide")
    rig.submit("elsewhere", queue="keyed")
    rig.end_of("elsewhere")
    rig.until(lambda: standing(rig, "wide").get("depth") == 1, "the depth")
    assert ("Pending", 0) == (rig.status("paused")["phase"], rig.status("paused")["attempts"])
    queue(rig, "wide", paused=False)

    assert "Succeeded" == rig.end_of("paused")["phase"]


def test_a_queue_runs_no_more_at_a_time_than_its_concurrency(rig: Rig, tmp_path: Path) -> None:
    queue(rig, "narrow", concurrency=2)
    file = tmp_path / "spans"
    for number in range(8):
        rig.submit(f"narrow-{number}", "spans", queue="narrow", args={"path": str(file), "seconds": 0.2})
    for number in range(8):
        rig.end_of(f"narrow-{number}")

    assert 2 == most_at_a_time(file)


def test_a_concurrency_key_shares_a_limit_of_its_own(rig: Rig, tmp_path: Path) -> None:
    queue(rig, "keyed", keyConcurrency=1)
    names = [f"{key}-{number}" for number in range(3) for key in ("left", "right")]
    for name in names:
        key = name.partition("-")[0]
        args = {"path": str(tmp_path / key), "seconds": 0.15}
        rig.submit(name, "spans", queue="keyed", concurrencyKey=key, args=args)
    for name in names:
        rig.end_of(name)

    assert (1, 1) == (most_at_a_time(tmp_path / "left"), most_at_a_time(tmp_path / "right"))


def test_a_queue_that_cannot_be_read_says_so_and_keeps_its_policy(rig: Rig, tmp_path: Path) -> None:
    queue(rig, "rated", concurrency=1)
    queue(rig, "rated", concurrency=4, fairnessWeights={"x" * 300: 1})
    condition = standing(rig, "rated")["conditions"][0]
    for number in range(4):
        rig.submit(f"kept-{number}", "spans", queue="rated", args={"path": str(tmp_path / "spans"), "seconds": 0.1})
    for number in range(4):
        rig.end_of(f"kept-{number}")

    assert ("False", "Invalid") == (condition["status"], condition["reason"])
    assert "fairnessWeights" in condition["message"]
    assert 1 == most_at_a_time(tmp_path / "spans")
    queue(rig, "rated", fairnessWeights=None, concurrency=None)
    assert "True" == standing(rig, "rated")["conditions"][0]["status"]


def test_a_rate_spaces_the_starts(rig: Rig) -> None:
    queue(rig, "rated", rateLimit={"jobs": 4, "perSeconds": 1, "burst": 1})
    names = [f"rated-{number}" for number in range(5)]
    for name in names:
        rig.submit(name, queue="rated")
    times = starts(rig, names)

    assert 1.0 - 0.1 <= times[-1] - times[0]  # four gaps of a quarter, but for what the hand-over may take


def test_an_operator_that_waits_for_a_slot_sleeps(rig: Rig, tmp_path: Path) -> None:
    queue(rig, "line", rateLimit={"jobs": 100, "burst": 10})
    gate = tmp_path / "gate"
    for number in range(3):  # of one slot, and with tokens to spare
        rig.submit(f"slot-{number}", "held_until", queue="line", args={"path": str(gate)})
        rig.phase("slot-0", "Running")  # two that come at once are of one age
    before = rig.operators[0].cpu_seconds()
    time.sleep(2)
    used = rig.operators[0].cpu_seconds() - before
    gate.touch()
    for number in range(3):
        rig.end_of(f"slot-{number}")

    assert used < 0.3  # looking without end took all that the machine gave


def test_a_queue_that_is_deleted_has_the_default_policy(rig: Rig) -> None:
    queue(rig, "gone", paused=True)
    rig.submit("freed", queue="gone")
    rig.until(lambda: standing(rig, "gone").get("depth") == 1, "the depth")
    rig.plane.must("DELETE", f"{rig.path.replace('/jobs', '/queues')}/gone")

    assert "Succeeded" == rig.end_of("freed")["phase"]


def test_a_queues_defaults_hold_where_job_and_handler_are_silent(rig: Rig) -> None:
    queue(rig, "still", timeoutSeconds=0.4, maxRetries=1, retry={"initialSeconds": 0, "maxSeconds": 0})
    rig.submit("silent-job", "naps", queue="still")
    rig.submit("own-word", "sleep", queue="still", args={"seconds": 0.6}, timeoutSeconds=30)
    status = rig.end_of("silent-job")

    assert ("RetriesExhausted", 2, "timed_out") == (
        status["reason"],
        status["attempts"],
        status["history"][0]["outcome"],
    )
    assert "Succeeded" == rig.end_of("own-word")["phase"]
    queue(rig, "still", timeoutSeconds=300)
    rig.submit("handlers-word", "hasty", queue="still", maxRetries=0)
    assert "TimedOut" == rig.end_of("handlers-word")["reason"]  # after the handler's own 0.2 s


def test_the_status_of_a_queue_is_written_when_it_changes_alone(rig: Rig) -> None:
    queue(rig, "still", timeoutSeconds=5)

    def quiet() -> bool:
        found = rig.plane.must("GET", rig.path.replace("/jobs", "/queues"))["items"]
        return not any(one.get("status", {}).get(word) for one in found for word in ("depth", "running"))

    rig.until(quiet, "a word that nothing waits and nothing runs")
    before = status_patches(rig.plane, "queues")
    queue(rig, "wide", paused=True)
    rig.submit("stands-still", queue="wide")
    rig.until(lambda: standing(rig, "wide").get("depth") == 1, "the depth")
    between = status_patches(rig.plane, "queues")
    rig.until(lambda: standing(rig, "wide").get("oldestAgeSeconds", 0) >= 5, "a line that has grown older")

    # One line moved and is written; the others stand still, and a line that only grows older is written ever more seldom.
    assert 1 <= between - before <= 2
    assert 2 >= status_patches(rig.plane, "queues") - between
    queue(rig, "wide", paused=False)
    rig.end_of("stands-still")


def test_a_job_whose_workers_have_gone_does_not_hold_up_those_behind_it(rig: Rig) -> None:
    rig.worker("special", apps="longshore_samples.primes")
    rig.submit("special-0", "primes", queue="wide")
    assert "special" == rig.end_of("special-0")["worker"]
    queue(rig, "wide", paused=True)
    rig.submit("special-1", "primes", queue="wide", priority=9)
    rig.submit("plain", queue="wide")
    rig.until(lambda: standing(rig, "wide").get("depth") == 2, "the depth")
    rig.workers["special"].end()
    rig.kubelet.delete("special")
    rig.operators[0].wait_for("worker_lost")
    queue(rig, "wide", paused=False)

    assert "Succeeded" == rig.end_of("plain")["phase"]
    assert "Pending" == rig.status("special-1")["phase"]
    rig.patch("special-1", cancel=True)
    rig.end_of("special-1")


def test_a_job_that_no_worker_can_run_is_part_of_the_depth(rig: Rig) -> None:
    """It was none, so that neither an alert nor an autoscaler knew of a queue whose last worker had gone."""
    queue(rig, "unserved")
    rig.submit("nobody-runs-it", queue="unserved")
    rig.submit("nobody-runs-it-yet", queue="unserved", startAfter="2100-01-01T00:00:00Z")
    rig.until(lambda: standing(rig, "unserved").get("depth") == 1, "the depth")
    rig.until(lambda: standing(rig, "unserved").get("oldestAgeSeconds", 0) >= 1, "the age of the oldest")

    for name in ("nobody-runs-it", "nobody-runs-it-yet"):
        rig.patch(name, cancel=True)
        rig.end_of(name)
