"""The operator on a real API server, with real workers: what users see of it."""

import time
from pathlib import Path

from kube.operators import Rig
from worker_service import write_slow_app


def test_a_job_runs_on_a_worker_and_its_result_is_on_record(rig: Rig) -> None:
    rig.worker()
    rig.leader()
    rig.submit("hello", args={"x": 1})
    status = rig.end_of("hello")

    assert ("Succeeded", 1, {"x": 1}, "worker-0") == tuple(
        status[name] for name in ("phase", "attempts", "result", "worker")
    )
    assert ["Complete", "Finished"] == [condition["type"] for condition in status["conditions"]]
    rig.plane.kubectl("wait", "--for=condition=Finished", "lsj/hello", "-n", rig.namespace, "--timeout=5s")


def test_a_standby_says_who_leads_until_it_does(rig: Rig, tmp_path: Path) -> None:
    token = tmp_path / "word"
    token.write_text("word\n")
    rig.worker()
    leader = rig.leader(token_file=token)
    address = f"operator-0-{leader.process.pid}_127.0.0.1:{leader.lines('listening')[0]['port']}"  # type: ignore[union-attr]
    standby = rig.operator(token_file=token)
    rig.until(lambda: standby.lines("listening") and address in standby.ask("/v1/workers")[1]["detail"], "its word")
    rig.submit("waits", "no_such_handler")
    rig.until(lambda: leader.ask(f"/v1/explain/{rig.namespace}/waits")[0] == 200, "the leader's answer")

    assert (503, "/problems/not-leading") == (
        (answer := standby.ask(f"/v1/explain/{rig.namespace}/waits"))[0], answer[1]["type"])  # fmt: skip
    assert 0 == leader.terminate()
    standby.wait_for("took_over")
    rig.until(lambda: standby.ask(f"/v1/explain/{rig.namespace}/waits")[0] == 200, "the new leader's answer")


def test_a_worker_that_cannot_be_asked_is_logged_once_until_it_can(rig: Rig) -> None:
    worker = rig.worker()
    leader = rig.leader()
    worker.kill()
    leader.wait_for("worker_unreachable")
    leader.wait_for("worker_lost")
    worker.start()  # takes longer than the next tries
    leader.wait_for("worker_reachable")
    rig.submit("after")

    assert "Succeeded" == rig.end_of("after")["phase"]
    assert [1, 1] == [len(leader.lines(word)) for word in ("worker_unreachable", "worker_reachable")]


def test_jobs_of_a_handler_without_room_do_not_hold_up_the_others_of_their_queue(rig: Rig) -> None:
    rig.worker("slow", apps="longshore_samples.sleep", slots=1)
    rig.worker("quick", apps="longshore_samples.echo", slots=1)
    rig.leader()
    rig.submit("runs", "sleep", args={"seconds": 60})
    rig.phase("runs", "Running")
    for name in ("waits", "waits-too"):
        rig.submit(name, "sleep", args={"seconds": 0.01})
    rig.submit("passes", "echo")

    assert "Succeeded" == rig.end_of("passes")["phase"]
    assert ["Pending"] * 2 == [rig.status(name)["phase"] for name in ("waits", "waits-too")]
    rig.patch("runs", cancel=True)
    ends = [rig.end_of(name) for name in ("waits", "waits-too")]
    assert ["Succeeded"] * 2 == [end["phase"] for end in ends]


def test_jobs_that_wait_for_room_are_held_when_nobody_knows_their_handler_any_more(rig: Rig) -> None:
    slow = rig.worker("slow", apps="longshore_samples.sleep", slots=1)
    rig.worker("quick", apps="longshore_samples.echo", slots=1)
    rig.leader(unknown_handler_seconds=2)
    rig.submit("runs", "sleep", args={"seconds": 60}, maxDisruptions=0)
    rig.phase("runs", "Running")
    rig.submit("waits", "sleep")
    slow.kill()
    rig.plane.must("DELETE", f"/api/v1/namespaces/{rig.namespace}/pods/slow?gracePeriodSeconds=0")

    assert ("Failed", "UnknownHandler") == ((end := rig.end_of("waits"))["phase"], end["reason"])


def test_jobs_wait_for_a_worker_that_still_imports_their_handlers(rig: Rig, tmp_path: Path) -> None:
    token = tmp_path / "word"
    token.write_text("word\n")
    gate = write_slow_app(
        tmp_path, "heavy", "from longshore import handler\n@handler\ndef weigh() -> int:\n    return 7\n"
    )
    leader = rig.leader(token_file=token, unknown_handler_seconds=0.5)
    worker = rig.worker(apps="heavy", path=tmp_path, ready=False)
    rig.until(lambda: any(one["boot"] for one in leader.ask("/v1/workers")[1]["items"]), "its feed")
    rig.submit("job", "weigh")
    said = rig.until(lambda: leader.ask(f"/v1/explain/{rig.namespace}/job")[1].get("message"), "why it waits")
    assert "no worker that serves queue default has told what it runs" == said
    since = time.monotonic()
    rig.until(lambda: time.monotonic() - since > 3, "more than the grace of an unknown handler")
    assert "Pending" == rig.status("job")["phase"]
    gate.touch()
    worker.wait_ready()
    rig.kubelet.ready("worker-0")

    assert 7 == rig.end_of("job")["result"]
