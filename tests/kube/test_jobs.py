"""What a Job promises, on a real API server with real workers: one test for each behaviour."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kube.control_plane import ControlPlane
from kube.operators import Rig, alive, status_patches, writes_of
from kube.shared_rig import APPS, shared_rig
from longshore.job.items import IndexSet

FAST = {"initialSeconds": 0, "maxSeconds": 0}
EXAMPLES = Path(__file__).parents[2] / "manifests/examples"


@pytest.fixture(scope="module")
def rig(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with shared_rig(control_plane, tmp_path_factory.mktemp("jobs")) as rig:
        rig.worker(apps=APPS, commands=True, slots=4)
        rig.leader(unknown_handler_seconds=1.5)
        yield rig


def times(entry: dict[str, Any]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(entry["startedAt"]), datetime.fromisoformat(entry["finishedAt"])


def running_pid(rig: Rig, path: Path) -> int:
    return int(rig.until(lambda: path.exists() and path.read_text(), "the process"))


def later(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


# -- retries -----------------------------------------------------------------------------------------------------------


def test_a_failed_attempt_is_repeated_after_its_back_off(rig: Rig) -> None:
    retry = {"initialSeconds": 0.3, "factor": 2, "jitter": 0}
    rig.submit("retries", "fail", args={"times": 2}, maxRetries=3, retry=retry)
    status = rig.end_of("retries")

    assert ("Succeeded", 3, 2, {"attempt": 3}) == tuple(status[n] for n in ("phase", "attempts", "retries", "result"))
    history = status["history"]
    assert [(1, "failed"), (2, "failed"), (3, "succeeded")] == [(e["number"], e["outcome"]) for e in history]
    assert {"worker-0"} == {entry["worker"] for entry in history}
    spans = [times(entry) for entry in history]
    assert timedelta(seconds=0.3) <= spans[1][0] - spans[0][1]
    assert timedelta(seconds=0.6) <= spans[2][0] - spans[1][1]
    assert "error" not in status


def test_a_waiting_retry_says_until_when_and_why(rig: Rig) -> None:
    rig.submit("backs-off", "fail", args={"times": 1}, maxRetries=1, retry={"initialSeconds": 60, "jitter": 0})
    status = rig.until(lambda: s if (s := rig.status("backs-off")).get("retries") else None, "the retry")

    assert ("Pending", 1, 1, "longshore_samples.fail.Unlucky") == (
        status["phase"], status["attempts"], status["retries"], status["error"]["type"])  # fmt: skip
    assert datetime.fromisoformat(status["notBefore"]) > datetime.now(UTC) + timedelta(seconds=30)
    rig.patch("backs-off", cancel=True)
    assert "Cancelled" == rig.end_of("backs-off")["phase"]


def test_a_job_that_spent_its_retries_fails_with_its_error_and_its_last_output(rig: Rig) -> None:
    rig.submit("spent", "fail", args={"times": 9, "message": "no luck"}, maxRetries=1, retry=FAST)
    status = rig.end_of("spent")

    assert ("Failed", "RetriesExhausted", 2) == (status["phase"], status["reason"], status["attempts"])
    assert "no luck" == status["error"]["message"]
    assert "attempt 2 of spent" in status["logTail"]
    assert ["Failed", "Finished"] == [condition["type"] for condition in status["conditions"]]


@pytest.mark.parametrize(
    ("name", "retry", "attempts"),
    [
        ("excepted", {"except": ["KeyError"]}, 1),
        ("not-listed", {"on": ["ValueError"]}, 1),
        ("listed", {"on": ["KeyError"]}, 3),
        ("except-wins", {"on": ["KeyError"], "except": ["KeyError"]}, 1),
    ],
)
def test_filters_say_what_is_repeated(rig: Rig, name: str, retry: dict[str, Any], attempts: int) -> None:
    rig.submit(name, "raises", maxRetries=2, retry=FAST | retry)

    assert ("Failed", attempts) == (rig.end_of(name)["phase"], rig.status(name)["attempts"])


def test_an_exit_code_can_be_what_is_repeated(rig: Rig) -> None:
    rig.submit("exits", "hard_exit", args={"code": 4}, maxRetries=1, retry=FAST | {"on": ["exit:4"]})
    status = rig.end_of("exits")

    assert [4, 4] == [entry["exitCode"] for entry in status["history"]]


def test_the_handlers_own_word_on_retries_holds_where_the_job_is_silent(rig: Rig) -> None:
    rig.submit("flaky", "flaky", retry=FAST)

    assert (3, 3) == (rig.end_of("flaky")["result"], rig.status("flaky")["attempts"])


def test_a_time_out_ends_the_attempt(rig: Rig) -> None:
    rig.submit("slow", "naps", timeoutSeconds=0.3, maxRetries=1, retry=FAST)
    status = rig.end_of("slow")

    assert ("Failed", "RetriesExhausted") == (status["phase"], status["reason"])
    assert [("timed_out", "TimedOut")] * 2 == [(entry["outcome"], entry["reason"]) for entry in status["history"]]


def test_the_memory_limit_ends_the_attempt(rig: Rig) -> None:
    rig.submit("greedy", "fills_memory", resources={"memory": "150Mi"})
    status = rig.end_of("greedy")

    assert ("Failed", "OutOfMemory", "oom") == (status["phase"], status["reason"], status["history"][0]["outcome"])


# -- cancel, suspend, delete -------------------------------------------------------------------------------------------


def test_a_waiting_job_is_cancelled_at_once(rig: Rig) -> None:
    rig.submit("waits", startAfter=later(3600))
    rig.patch("waits", cancel=True)
    status = rig.end_of("waits")

    assert ("Cancelled", "Cancelled", 0) == (status["phase"], status["reason"], status["attempts"])
    assert ["Finished"] == [condition["type"] for condition in status["conditions"]]


@pytest.mark.parametrize(
    ("name", "how"), [("listens", {"listens": True}), ("busy", {}), ("deaf", {"deaf": True})], ids=lambda v: str(v)
)
def test_a_running_job_is_cancelled_when_its_process_has_stopped(
    rig: Rig, tmp_path: Path, name: str, how: dict[str, bool]
) -> None:
    rig.submit(f"cancel-{name}", "stays", args={"path": str(tmp_path / "pid"), **how}, maxRetries=3)
    pid = running_pid(rig, tmp_path / "pid")
    rig.patch(f"cancel-{name}", cancel=True)
    status = rig.end_of(f"cancel-{name}")

    assert ("Cancelled", ["cancelled"]) == (status["phase"], [entry["outcome"] for entry in status["history"]])
    assert how.get("listens", False) or not alive(pid)  # who listens gives its slot back and stays warm
    assert "result" not in status


def test_a_cancel_may_say_how_long_a_process_that_does_not_listen_has(rig: Rig, tmp_path: Path) -> None:
    rig.submit("graced", "stays", args={"path": str(tmp_path / "pid"), "deaf": True})
    running_pid(rig, tmp_path / "pid")
    asked = datetime.now(UTC)
    annotations = {"longshore.dev/cancel-grace-seconds": "2"}
    rig.plane.must("PATCH", f"{rig.path}/graced", {"metadata": {"annotations": annotations}, "spec": {"cancel": True}})
    status = rig.end_of("graced")

    assert timedelta(seconds=2) <= times(status["history"][0])[1] - asked  # the worker's own grace is 0.3 s


def test_a_cancel_right_after_the_creation_is_never_forgotten(rig: Rig, tmp_path: Path) -> None:
    for number in range(20):
        rig.submit(f"hasty-{number}", "stays", args={"path": str(tmp_path / f"{number}"), "listens": True})
        rig.patch(f"hasty-{number}", cancel=True)

    assert {"Cancelled"} == {rig.end_of(f"hasty-{number}")["phase"] for number in range(20)}


def test_a_job_that_is_created_cancelled_never_runs(rig: Rig) -> None:
    rig.submit("stillborn", cancel=True)

    assert ("Cancelled", 0) == (rig.end_of("stillborn")["phase"], rig.status("stillborn")["attempts"])


def test_a_deleted_job_stops_running(rig: Rig, tmp_path: Path) -> None:
    rig.submit("deleted", "stays", args={"path": str(tmp_path / "pid")})
    pid = running_pid(rig, tmp_path / "pid")
    rig.plane.must("DELETE", f"{rig.path}/deleted")

    rig.until(lambda: not alive(pid), "the end of the process")


def test_a_suspended_job_waits_until_it_is_resumed(rig: Rig) -> None:
    rig.submit("suspended", suspend=True)
    rig.submit("beside-it")
    rig.end_of("beside-it")
    assert ("Pending", 0) == (rig.status("suspended")["phase"], rig.status("suspended")["attempts"])
    rig.patch("suspended", suspend=False)

    assert "Succeeded" == rig.end_of("suspended")["phase"]


def test_a_running_job_goes_on_when_it_is_suspended_but_is_not_repeated(rig: Rig, tmp_path: Path) -> None:
    script = 'while [ ! -e "$0" ]; do sleep 0.01; done; [ "$LONGSHORE_ATTEMPT" = 2 ]'
    rig.submit("held", command=["/bin/sh", "-c", script, str(tmp_path / "gate")], maxRetries=1, retry=FAST)
    rig.phase("held", "Running")
    rig.patch("held", suspend=True)
    rig.submit("after-the-word")
    rig.end_of("after-the-word")  # what comes later in the same watch has been seen
    (tmp_path / "gate").touch()
    rig.until(lambda: rig.status("held").get("retries") == 1, "the failure")
    rig.submit("after-held")
    rig.end_of("after-held")
    assert 1 == rig.status("held")["attempts"]
    rig.patch("held", suspend=False)

    assert ("Succeeded", 2) == (rig.end_of("held")["phase"], rig.status("held")["attempts"])


# -- redrive -----------------------------------------------------------------------------------------------------------


def test_a_redrive_gives_fresh_budgets_and_numbers_go_on(rig: Rig) -> None:
    rig.submit("again", "fail", args={"times": 3}, maxRetries=1, retry=FAST)
    assert ("Failed", 2) == (rig.end_of("again")["phase"], rig.status("again")["attempts"])
    rig.patch("again", redrive=1)
    status = rig.phase("again", "Succeeded")

    assert (4, 1, 1) == (status["attempts"], status["retries"], status["redrives"])
    assert [1, 2, 3, 4] == [entry["number"] for entry in status["history"]]
    assert {"Complete", "Finished"} == {condition["type"] for condition in status["conditions"]}


def test_a_redrive_counts_once_per_raise(rig: Rig) -> None:
    rig.submit("hopeless", "raises")
    rig.end_of("hopeless")
    rig.patch("hopeless", redrive=1)
    rig.until(lambda: rig.status("hopeless")["attempts"] == 2 and rig.end_of("hopeless"), "the redrive")
    rig.plane.must("PATCH", f"{rig.path}/hopeless", {"metadata": {"labels": {"touched": "yes"}}})
    rig.submit("after-hopeless")
    rig.end_of("after-hopeless")

    assert ("Failed", 2, 1) == tuple(rig.status("hopeless")[name] for name in ("phase", "attempts", "redrives"))


def test_a_redrive_that_was_asked_for_too_early_comes_after_the_failure(rig: Rig, tmp_path: Path) -> None:
    rig.submit("early", "stays", args={"path": str(tmp_path / "pid")}, timeoutSeconds=1)
    running_pid(rig, tmp_path / "pid")
    rig.patch("early", redrive=1)

    assert rig.until(lambda: (s := rig.status("early"))["attempts"] == 2 and s["phase"] == "Failed", "the second end")


# -- times -------------------------------------------------------------------------------------------------------------


def test_a_job_starts_not_before_its_time(rig: Rig) -> None:
    when = later(1.5)
    rig.submit("not-yet", startAfter=when)
    status = rig.end_of("not-yet")

    assert datetime.fromisoformat(when) <= times(status["history"][0])[0]


def test_a_job_that_starts_too_late_fails(rig: Rig) -> None:
    rig.submit("too-late", suspend=True, startDeadlineSeconds=0.2)
    status = rig.end_of("too-late")

    assert ("Failed", "StartDeadlineExceeded", 0) == (status["phase"], status["reason"], status["attempts"])
    assert "0.2 seconds" in status["message"]


def test_a_start_deadline_counts_from_the_start_time_and_not_once_it_has_started(rig: Rig, tmp_path: Path) -> None:
    path, gate = tmp_path / "pid", tmp_path / "gate"
    script = 'echo $$ > "$0"; while [ ! -e "$1" ]; do sleep 0.01; done'

    def started(number: int) -> bool:
        """Whether the machine was quick enough for that."""
        name = f"started-{number}"
        rig.submit(name, command=["/bin/sh", "-c", script, str(path), str(gate)], startDeadlineSeconds=1)
        return (
            bool(rig.until(lambda: path.exists() or rig.status(name)["phase"] == "Failed", "either")) and path.exists()
        )

    name = next(f"started-{number}" for number in range(4) if started(number))
    rig.submit("in-time", startAfter=later(3600), startDeadlineSeconds=0.2)
    rig.submit("later-than-both", suspend=True, startDeadlineSeconds=1)

    assert "StartDeadlineExceeded" == rig.end_of("later-than-both")["reason"]
    assert "Pending" == rig.status("in-time")["phase"]
    gate.touch()
    assert "Succeeded" == rig.end_of(name)["phase"]
    rig.patch("in-time", cancel=True)


def test_a_redrive_does_not_ask_how_late_it_is(rig: Rig) -> None:
    rig.submit("late-again", suspend=True, startDeadlineSeconds=0.2)
    rig.end_of("late-again")
    rig.patch("late-again", redrive=1, suspend=False)

    assert "Succeeded" == rig.phase("late-again", "Succeeded")["phase"]


def test_a_job_with_no_time_to_live_vanishes(rig: Rig) -> None:
    rig.submit("vanishes", ttlSecondsAfterFinished=0)

    rig.until(lambda: rig.plane.request("GET", f"{rig.path}/vanishes")[0] == 404, "its end")


# -- dependencies ------------------------------------------------------------------------------------------------------


def test_a_job_waits_for_those_before_it(rig: Rig, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    rig.submit("first", "held_until", args={"path": str(gate)})
    rig.submit("quick")
    rig.submit("second", after=["first", "quick"])
    rig.phase("first", "Running")
    assert "Pending" == rig.status("second")["phase"]
    gate.touch()
    status = rig.end_of("second")

    assert "Succeeded" == status["phase"]
    assert times(rig.status("first")["history"][0])[1] <= times(status["history"][0])[0]


def test_a_job_may_follow_one_that_has_left_the_operators_sight(rig: Rig) -> None:
    rig.submit("long-gone")
    rig.end_of("long-gone")
    rig.submit("follower", after=["long-gone"])

    assert "Succeeded" == rig.end_of("follower")["phase"]


def test_a_job_fails_when_there_is_none_before_it(rig: Rig) -> None:
    rig.submit("orphan", after=["nobody"])
    status = rig.end_of("orphan")

    assert ("Failed", "DependencyMissing") == (status["phase"], status["reason"])
    assert "nobody" in status["message"]


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_job_fails_when_the_one_before_it_does(rig: Rig, when: str) -> None:
    rig.submit(f"bad-{when}", "fail", args={"times": 9}, startAfter=later(1.5 if when == "while" else -1))
    if when == "before":
        rig.end_of(f"bad-{when}")
    rig.submit(f"child-{when}", after=[f"bad-{when}"])
    rig.submit(f"grandchild-{when}", after=[f"child-{when}"])

    for name in (f"child-{when}", f"grandchild-{when}"):
        assert ("Failed", "DependencyFailed") == (rig.end_of(name)["phase"], rig.status(name)["reason"])


def test_a_job_fails_when_the_one_before_it_is_deleted(rig: Rig) -> None:
    rig.submit("removed", startAfter=later(3600))
    rig.submit("left-alone", after=["removed"])
    rig.submit("between")
    rig.end_of("between")
    rig.plane.must("DELETE", f"{rig.path}/removed")

    assert "DependencyMissing" == rig.end_of("left-alone")["reason"]


def test_a_redrive_waits_again_for_what_was_to_come_before(rig: Rig, tmp_path: Path) -> None:
    """It ran and succeeded, with its input still failed."""
    gate = tmp_path / "gate"
    rig.submit("input", "held_until", args={"path": str(gate)}, timeoutSeconds=2)
    rig.submit("reduce", after=["input"])
    rig.submit("beyond", after=["reduce"])
    assert "DependencyFailed" == rig.end_of("beyond")["reason"]
    rig.patch("reduce", redrive=1)
    again = rig.until(lambda: rig.status("reduce").get("redrives") == 1 and rig.end_of("reduce"), "its second end")
    gate.touch()
    for name, count in (("input", 1), ("reduce", 2), ("beyond", 1)):
        rig.patch(name, redrive=count)
    ends = [rig.phase(name, "Succeeded") for name in ("input", "reduce", "beyond")]

    assert ("Failed", "DependencyFailed", 0) == (again["phase"], again["reason"], again["attempts"])
    for before, after in itertools.pairwise(ends):
        assert times(before["history"][-1])[1] <= times(after["history"][-1])[0]


# -- what cannot run ---------------------------------------------------------------------------------------------------


def test_a_handler_that_nobody_knows_fails_after_a_grace(rig: Rig) -> None:
    asked = datetime.now(UTC)
    rig.submit("unheard-of", "unheard.of")
    rig.submit("meanwhile")
    assert "Succeeded" == rig.end_of("meanwhile")["phase"]
    status = rig.end_of("unheard-of")

    assert datetime.fromisoformat(status["finishedAt"]) - asked >= timedelta(seconds=1.5)
    assert ("Failed", "UnknownHandler", 0) == (status["phase"], status["reason"], status["attempts"])
    assert "unheard.of" in status["message"]


def deep(levels: int) -> dict[str, Any]:
    return {"a": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("args", {"args": {"x": "y" * 70_000}}),
        ("args", {"args": deep(80)}),
        ("", {"args": deep(300)}),
        ("command", {"command": ["/bin/echo", "zero\0byte"]}),
        ("env", {"command": ["/bin/echo"], "env": {"A": "zero\0byte"}}),
    ],
    ids=["large", "deep", "deeper", "command", "env"],
)
def test_a_specification_that_only_the_model_refuses_fails_and_names_the_field(
    rig: Rig, request: pytest.FixtureRequest, field: str, spec: dict[str, Any]
) -> None:
    name = f"invalid-{request.node.callspec.id}"
    rig.submit(name, **spec)
    status = rig.end_of(name)

    assert ("Failed", "InvalidSpec", 0) == (status["phase"], status["reason"], status["attempts"])
    assert status["message"].startswith(f"spec.{field}" if field else "spec")


@pytest.mark.parametrize("levels", [1200, 9900])
def test_a_job_too_deep_for_most_parsers_harms_nobody_else(rig: Rig, levels: int) -> None:
    args = '{"a":' * levels + "{}" + "}" * levels
    meta = f'{{"name": "abyss-{levels}", "namespace": "{rig.namespace}"}}'
    text = f'{{"apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {meta}, "spec": {{"handler": "echo", "args": {args}}}}}'
    rig.plane.kubectl("create", "-f", "-", input=text, check=True)
    rig.submit(f"beside-{levels}")

    assert "Succeeded" == rig.end_of(f"beside-{levels}")["phase"]
    rig.plane.kubectl(
        "wait",
        "--for=jsonpath={.status.reason}=InvalidSpec",
        f"lsj/abyss-{levels}",
        "-n",
        rig.namespace,
        "--timeout=20s",
        check=True,
    )
    # A new leader reads it from a list.
    assert 0 == rig.operators[-1].terminate()
    rig.leader(unknown_handler_seconds=1.5)
    rig.submit(f"behind-{levels}")
    assert "Succeeded" == rig.end_of(f"behind-{levels}")["phase"]
    rig.plane.kubectl("delete", f"lsj/abyss-{levels}", "-n", rig.namespace, check=True)


def test_a_job_that_no_worker_would_take_as_it_stands_runs_all_the_same(rig: Rig) -> None:
    body = {
        "apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "spec": {"handler": "echo"},
        "metadata": {"name": "odd-trace", "annotations": {"longshore.dev/traceparent": "hello"}},
    }  # fmt: skip
    rig.plane.must("POST", rig.path, body)
    rig.submit("odd-memory", resources={"memory": "999999999999Ti"})
    rig.submit("after-the-odd")

    assert {"Succeeded"} == {rig.end_of(name)["phase"] for name in ("odd-trace", "odd-memory", "after-the-odd")}


def test_a_job_that_is_invalid_fails_those_behind_it_and_is_not_redriven(rig: Rig) -> None:
    rig.submit("too-large", args={"x": "y" * 70_000})
    rig.submit("behind-it", after=["too-large"])
    assert "DependencyFailed" == rig.end_of("behind-it")["reason"]
    rig.patch("too-large", redrive=1)
    rig.submit("then")
    rig.end_of("then")

    assert ("Failed", "InvalidSpec", 0) == tuple(rig.status("too-large")[n] for n in ("phase", "reason", "redrives"))


# -- commands and results ----------------------------------------------------------------------------------------------


def test_a_command_runs_with_its_environment(rig: Rig, tmp_path: Path) -> None:
    rig.submit(
        "command-runs", command=["/bin/sh", "-c", 'echo "$WORD" > "$0"', str(tmp_path / "out")], env={"WORD": "quay"}
    )
    status = rig.end_of("command-runs")

    assert ("Succeeded", "quay\n") == (status["phase"], (tmp_path / "out").read_text())


def test_a_failed_command_tells_its_exit_code_and_its_output(rig: Rig) -> None:
    rig.submit("command-fails", command=["/bin/sh", "-c", "echo oh no >&2; exit 7"])
    status = rig.end_of("command-fails")

    assert ("Failed", "Exited", 7) == (status["phase"], status["reason"], status["history"][0]["exitCode"])
    assert "oh no" in status["logTail"]


def test_a_command_that_is_not_there_is_not_repeated(rig: Rig) -> None:
    rig.submit("command-missing", command=["/no/such/program"], maxRetries=3, retry=FAST)
    status = rig.end_of("command-missing")

    assert ("Failed", "CommandNotFound", 1) == (status["phase"], status["reason"], status["attempts"])


@pytest.mark.parametrize(("size", "phase"), [(16 * 1024 - 2, "Succeeded"), (16 * 1024, "Failed")])
def test_a_result_has_a_largest_size_and_a_larger_one_is_not_repeated(rig: Rig, size: int, phase: str) -> None:
    rig.submit(f"sized-{size}", "sized", args={"size": size}, maxRetries=3, retry=FAST)
    status = rig.end_of(f"sized-{size}")

    assert (phase, 1) == (status["phase"], status["attempts"])
    assert size == len(status["result"]) if phase == "Succeeded" else status["reason"] == "ResultTooLarge"


# -- arrays ------------------------------------------------------------------------------------------------------------


def test_the_items_of_an_array_are_laid_over_its_arguments(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "items"
    args = {"path": str(file), "base": "b", "word": "x"}
    rig.submit("laid-over", "item", args=args, items=[{"word": "p"}, {}, {"base": "c", "word": "r"}])
    status = rig.end_of("laid-over")

    assert ["0:bp", "1:bx", "2:cr"] == sorted(file.read_text().split())
    assert ("Succeeded", 3, {"succeeded": 3, "succeededIndexes": "0-2", "unkeptIndexes": "0-2"}) == (
        status["phase"], status["attempts"], status["items"])  # fmt: skip


def test_an_array_writes_how_far_it_is(rig: Rig, tmp_path: Path) -> None:
    """Progress of an array was written nowhere, and the number of running items only when one had ended."""
    rig.submit("far", "stays", args={"path": str(tmp_path / "pid")}, count=4, parallelism=2)
    status = rig.until(lambda: status if (status := rig.status("far")).get("items") else None, "its first write")
    rig.patch("far", cancel=True)

    assert {"percent": 0.0, "message": "0 of 4 items have ended"} == status["progress"]
    assert rig.status("far")["phase"] in ("Running", "Cancelled")
    assert "progress" not in rig.end_of("far")


def test_an_array_says_that_its_results_were_not_kept(rig: Rig) -> None:
    """Its worker has no results directory."""
    rig.submit("unkept", "echo", items=[{"x": 1}, {"x": 2}])
    status = rig.end_of("unkept")

    text = "results of 2 of 2 items were not kept: the worker has no results directory"
    assert ("Succeeded", text, "0-1") == (status["phase"], status["message"], status["items"]["unkeptIndexes"])
    assert {text} == {condition["message"] for condition in status["conditions"]}


def test_an_array_runs_no_more_items_at_a_time_than_it_says(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "items"
    rig.submit("narrow", "spans", args={"path": str(file), "seconds": 0.2}, count=8, parallelism=2)
    status = rig.end_of("narrow")
    assert ("Succeeded", False) == (status["phase"], "unkeptIndexes" in status["items"]), "they return nothing"
    live, most = 0, 0
    for line in file.read_text().split():
        live += 1 if line == "+" else -1
        most = max(most, live)

    assert 2 == most


def test_an_array_with_failed_items_fails_when_all_have_ended(rig: Rig, tmp_path: Path) -> None:
    items = [{"bad": number in (1, 4)} for number in range(6)]
    rig.submit("items-fail", "item", args={"path": str(tmp_path / "items")}, items=items, maxRetries=1, retry=FAST)
    status = rig.end_of("items-fail")

    assert ("Failed", "ItemsFailed", "2 of 6 items failed") == (
        status["phase"], status["reason"], status["message"].partition(";")[0])  # fmt: skip
    found = status["items"]
    assert (4, 2, "0,2-3,5", "1,4") == tuple(
        found[name] for name in ("succeeded", "failed", "succeededIndexes", "failedIndexes")
    )
    assert {1, 4} == {error["index"] for error in found["errors"]}
    assert "item 1 is bad" in {error["error"]["message"] for error in found["errors"]}
    assert 8 == status["attempts"]  # the bad ones twice
    assert {1, 4} <= {entry["index"] for entry in status["history"]}


def test_a_redriven_array_runs_its_failed_items_alone(rig: Rig, tmp_path: Path) -> None:
    file, marker = tmp_path / "items", tmp_path / "marker"
    rig.submit("redriven", "bad_until", args={"path": str(file), "marker": str(marker)}, count=6)
    assert "1,3,5" == rig.end_of("redriven")["items"]["failedIndexes"]
    file.unlink()
    marker.touch()
    rig.patch("redriven", redrive=1)
    status = rig.phase("redriven", "Succeeded")

    assert ["1", "3", "5"] == sorted(file.read_text().split())
    assert ("0-5", 9) == (status["items"]["succeededIndexes"], status["attempts"])


def test_a_cancelled_array_ends_when_nothing_of_it_runs(rig: Rig, tmp_path: Path) -> None:
    rig.submit("array-cancel", "stays", args={"path": str(tmp_path / "pid")}, count=50, parallelism=3)
    pid = running_pid(rig, tmp_path / "pid")
    rig.patch("array-cancel", cancel=True)
    status = rig.end_of("array-cancel")

    assert "Cancelled" == status["phase"]
    assert not alive(pid)
    assert 0 == status.get("items", {}).get("running", 0)


def test_an_array_that_runs_for_long_says_so(rig: Rig, tmp_path: Path) -> None:
    rig.submit("array-long", "spans", args={"path": str(tmp_path / "items"), "seconds": 0.3}, count=500, parallelism=1)
    rig.phase("array-long", "Running")
    rig.patch("array-long", cancel=True)

    assert "Cancelled" == rig.end_of("array-long")["phase"]


def test_an_array_of_commands_tells_each_its_index(rig: Rig, tmp_path: Path) -> None:
    rig.submit(
        "array-command",
        command=["/bin/sh", "-c", 'echo "$LONGSHORE_ITEM_INDEX" >> "$0"', str(tmp_path / "out")],
        count=3,
    )

    assert "Succeeded" == rig.end_of("array-command")["phase"]
    assert ["0", "1", "2"] == sorted((tmp_path / "out").read_text().split())


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_a_short_success_costs_one_status_write(rig: Rig) -> None:
    def cheap(number: int) -> None:
        rig.submit(f"cheap-{number}")
        rig.end_of(f"cheap-{number}")

    assert 1 in writes_of(rig.plane, cheap)


def test_a_long_success_costs_two_status_writes(rig: Rig, tmp_path: Path) -> None:
    def long(number: int) -> None:
        gate = tmp_path / f"gate-{number}"
        rig.submit(f"long-{number}", "held_until", args={"path": str(gate)})
        assert "worker-0" == rig.phase(f"long-{number}", "Running")["worker"]
        gate.touch()
        rig.end_of(f"long-{number}")

    assert 2 in writes_of(rig.plane, long)


def test_an_array_costs_a_fraction_of_a_write_for_each_item(rig: Rig) -> None:
    before = status_patches(rig.plane)
    rig.submit("many-items", count=500)
    status = rig.end_of("many-items", 60)

    assert (500, "0-499") == (
        len(IndexSet.parse(status["items"]["succeededIndexes"])),
        status["items"]["succeededIndexes"],
    )
    assert 0.02 * 500 >= status_patches(rig.plane) - before


def test_a_label_on_a_running_job_changes_nothing(rig: Rig, tmp_path: Path) -> None:
    def labelled(number: int) -> None:
        gate, name = tmp_path / f"gate-{number}", f"labelled-{number}"
        rig.submit(name, "held_until", args={"path": str(gate)})
        rig.phase(name, "Running")
        rig.plane.must("PATCH", f"{rig.path}/{name}", {"metadata": {"labels": {"team": "quay"}}})
        gate.touch()
        status = rig.end_of(name)
        assert ("Succeeded", 1) == (status["phase"], status["attempts"])

    assert 2 in writes_of(rig.plane, labelled), "no more than without the label"


def test_the_examples_do_what_they_say(rig: Rig) -> None:
    rig.plane.kubectl("apply", "-n", rig.namespace, "-f", str(EXAMPLES), check=True)
    ends = {name: rig.end_of(name, 60) for name in
            ("array", "command", "hello", "priority-low", "priority-high", "retry", "webhook")}  # fmt: skip

    assert {"Succeeded"} == {status["phase"] for status in ends.values()}
    assert ("Hello, Kubernetes", {"attempt": 3}) == (ends["hello"]["result"], ends["retry"]["result"])
    assert "Pending" == rig.status("delayed")["phase"]
    rig.patch("delayed", cancel=True)
    assert "Cancelled" == rig.end_of("delayed")["phase"]


def test_a_thousand_jobs_at_once_all_succeed(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    spec = "spec: {queue: crowd, handler: sleep, args: {seconds: 0.01, steps: 1}}"
    text = "\n".join(
        f"---\napiVersion: longshore.dev/v1alpha1\nkind: Job\nmetadata: {{name: crowd-{number}, labels: {{crowd: the}}}}\n{spec}"
        for number in range(1000)
    )
    before = rig.operators[-1].cpu_seconds()
    rig.plane.kubectl("create", "-n", rig.namespace, "-f", "-", input=text, check=True)

    rest = f"{rig.path}?labelSelector=crowd%3Dthe&fieldSelector=status.phase!%3DSucceeded&limit=1"
    rig.until(lambda: not rig.plane.must("GET", rest)["items"], "the end of the crowd", 90)
    assert 1000 == len(rig.plane.must("GET", f"{rig.path}?labelSelector=crowd%3Dthe")["items"])
    with capsys.disabled():
        used = rig.operators[-1].cpu_seconds() - before
        print(f"\n1,000 jobs: {used:.2f} s of the operator's CPU, {rig.operators[-1].resident_mib():.0f} MiB resident")


def test_no_kubernetes_event_is_ever_written(rig: Rig) -> None:
    rig.submit("silent", "raises")
    rig.end_of("silent")
    events = rig.plane.must("GET", f"/api/v1/namespaces/{rig.namespace}/events")["items"]

    assert [] == [event for event in events if event["involvedObject"].get("kind") in ("Job", "Queue")]
