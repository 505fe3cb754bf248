"""Attempts on a real worker: taken once, run, told, stopped."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from longshore.job.attempts import EndedEntry, ProgressEntry
from longshore.job.status import Outcome
from worker_service import LONG, Worker


def test_an_attempt_runs_and_its_outcome_comes_through_the_feed(worker: Worker) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    attempt = worker.attempt("context", number=3, index=5, idempotencyKey="abc", traceparent=trace,
                             tracestate="vendor=1", timeoutSeconds=60)  # fmt: skip
    answer = worker.ask("POST", "/v1/attempts", {"version": 1, "attempts": [attempt]}).json()
    ended = worker.outcome(attempt)

    assert answer["results"] == [{"uid": attempt["uid"], "index": 5, "number": 3, "result": "accepted"}]
    assert answer["boot"] == worker.cursor.partition(":")[0]
    assert (ended.index, ended.number, ended.outcome) == (5, 3, Outcome.SUCCEEDED)
    assert ended.started_at <= ended.finished_at
    assert isinstance(ended.result, dict)
    assert ended.result["remaining"] <= 60
    told = {name: ended.result[name] for name in ("attempt", "index", "job", "key", "traceparent", "tracestate")}
    assert told == {
        "attempt": 3,
        "index": 5,
        "job": "a-job",
        "key": "abc",
        "traceparent": trace,
        "tracestate": "vendor=1",
    }
    assert "tracestate" in worker.poll().accepts


def test_nulls_in_arguments_and_results_arrive(worker: Worker) -> None:
    assert worker.run(args={"x": None, "y": [None, {"z": None}]}).result == {"x": None, "y": [None, {"z": None}]}


def test_a_failure_says_why_and_what_it_printed_last(worker: Worker) -> None:
    ended = worker.run("raises", args={"message": "the oven is cold"})

    assert (ended.outcome, ended.reason, ended.result) == (Outcome.FAILED, "HandlerError", None)
    assert ended.error is not None
    assert (ended.error.type, ended.error.message) == ("KeyError", "'the oven is cold'")


def test_the_same_attempt_is_run_once_however_often_it_is_handed_over(
    worker: Worker, tmp_path: Path, eventually: Callable[..., object]
) -> None:
    file, gate = tmp_path / "ran", tmp_path / "gate"
    attempt = worker.attempt("appends", args={"path": str(file), "word": "once", "seconds": 0.1})
    blocker = worker.attempt("held", args={"path": str(gate)})

    assert worker.offer(blocker, attempt, attempt, attempt) == ["accepted", "accepted", "known", "known"]
    assert worker.offer(attempt) == ["known"]
    eventually(lambda: [entry for entry in worker.poll().entries if isinstance(entry, EndedEntry)])
    assert worker.offer(attempt) == ["known"], "its outcome is held"
    worker.outcome(attempt)
    worker.read()
    assert worker.offer(attempt) == ["stale"], "its outcome was acknowledged"
    gate.touch()
    worker.outcome(blocker)
    assert file.read_text() == "once\n"


def test_an_earlier_attempt_than_the_latest_is_stale(worker: Worker) -> None:
    second = worker.attempt(number=2)
    assert worker.offer(second) == ["accepted"]
    assert worker.offer({**second, "number": 1}) == ["stale"]
    worker.outcome(second)
    worker.read()
    assert worker.offer({**second, "number": 1}) == ["stale"]
    assert worker.offer({**second, "number": 1, "index": 7}) == ["accepted"], "another item has numbers of its own"


def test_a_later_attempt_ends_the_earlier_one_that_still_runs(worker: Worker) -> None:
    first = worker.attempt("naps")
    assert worker.offer(first) == ["accepted"]
    assert worker.offer({**first, "number": 2, "handler": "echo"}) == ["accepted"]

    ended = worker.outcome(first)
    assert (ended.outcome, ended.reason) == (Outcome.LOST, "WorkerLost")


def test_no_more_is_taken_than_can_start_now(worker: Worker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    attempts = [worker.attempt("held", args={"path": str(gate)}) for _ in range(4)]
    answer = worker.ask("POST", "/v1/attempts", {"version": 1, "attempts": attempts}).json()

    assert [one["result"] for one in answer["results"]] == ["accepted", "accepted", "full", "full"]
    assert answer["free"] == 0
    feed = worker.poll()
    assert (feed.slots.total, feed.slots.free) == (2, 0)
    assert {one.uid for one in feed.running} == {one["uid"] for one in attempts[:2]}
    gate.touch()
    worker.outcome(attempts[0])
    assert worker.offer(attempts[2]) in (["accepted"], ["full"]), "what was refused is not stale"


def test_what_is_not_known_here_is_refused_for_itself(worker: Worker) -> None:
    good = worker.attempt()
    said = worker.offer(worker.attempt("no_such"), worker.attempt(command=["true"]), good)

    assert said == ["unknown-handler", "unknown-handler", "accepted"]
    assert worker.outcome(good).outcome is Outcome.SUCCEEDED


def test_a_command_runs_where_commands_are_allowed(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(commands=True)
    ended = worker.run("", command=["sh", "-c", 'echo "$WORD"; exit 7'], env={"WORD": "ahoy"})

    assert (ended.outcome, ended.exit_code, ended.log_tail) == (Outcome.FAILED, 7, "ahoy\n")
    assert worker.run("", command=["true"], runner="command").exit_code == 0
    assert worker.poll().commands


def test_the_handlers_own_limits_hold_when_the_attempt_names_none(worker: Worker) -> None:
    assert worker.run("hasty").outcome is Outcome.TIMED_OUT
    defaults = worker.poll("").handler_defaults
    assert defaults is not None
    assert (defaults["hasty"].timeout_seconds, defaults["hasty"].max_retries) == (0.2, 7)
    assert worker.run("fresh_pid").result != worker.run("fresh_pid").result


def test_limits_of_the_attempt_hold(worker: Worker) -> None:
    assert worker.run("naps", timeoutSeconds=0.1).outcome is Outcome.TIMED_OUT
    assert worker.run("fills_memory", memoryBytes=150 << 20).outcome is Outcome.OOM


def pid_of(worker: Worker, attempt: dict[str, object]) -> int:
    """What the attempt printed first."""
    limit = time.monotonic() + LONG
    while time.monotonic() < limit:
        text = worker.ask("GET", f"/v1/attempts/{attempt['uid']}/{attempt['number']}/logs?wait=5").body
        if text.endswith(b"\n"):
            return int(text)
    raise AssertionError("it printed nothing")


def gone(pid: int) -> bool:
    """Whether there is no such process."""
    return not Path(f"/proc/{pid}").exists()


def test_a_stopped_attempt_is_told_when_its_process_is_gone(worker: Worker) -> None:
    attempt = worker.attempt("held", args={"path": "/nowhere"}, index=1)
    worker.offer(attempt)
    url = f"/v1/attempts/{attempt['uid']}/1"
    limit = time.monotonic() + LONG
    while not (text := worker.ask("GET", f"{url}/logs?index=1&wait=5").body).endswith(b"\n"):
        assert time.monotonic() < limit

    assert worker.stop_attempt(attempt) == 404, "without the index it is another one"
    answer = worker.ask("DELETE", f"{url}?index=1&graceSeconds=0.1")
    assert (answer.status, answer.json()) == (202, {"uid": attempt["uid"], "index": 1, "number": 1})
    ended = worker.outcome(attempt)
    assert (ended.outcome, ended.reason) == (Outcome.CANCELLED, "Cancelled")
    # A process that obeyed the token lives on as a slot; this one did not look.
    assert gone(int(text))
    assert worker.stop_attempt(attempt, "?index=1") == 404


def test_a_process_that_ignores_sigterm_is_killed(worker: Worker) -> None:
    attempt = worker.attempt("ignores_sigterm")
    worker.offer(attempt)
    assert worker.stop_attempt(attempt, "?graceSeconds=0") == 202
    assert worker.outcome(attempt).outcome is Outcome.CANCELLED


def test_a_killed_slot_is_a_lost_attempt(worker: Worker) -> None:
    attempt = worker.attempt("held", args={"path": "/nowhere"})
    worker.offer(attempt)
    os.kill(pid_of(worker, attempt), signal.SIGKILL)

    ended = worker.outcome(attempt)
    assert (ended.outcome, ended.reason, ended.exit_code) == (Outcome.LOST, "SlotKilled", -9)


def test_a_drained_worker_takes_nothing_and_finishes_what_runs(worker: Worker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running = worker.attempt("held", args={"path": str(gate)})
    worker.offer(running)
    assert worker.ask("POST", "/v1/admin:drain").json()["draining"]
    try:
        assert worker.probe("/readyz") == 503
        assert worker.probe("/livez") == 200
        assert worker.offer(worker.attempt()) == ["draining"]
        assert worker.offer(running) == ["known"]
        assert worker.poll().draining
        gate.touch()
        assert worker.outcome(running).outcome is Outcome.SUCCEEDED
    finally:
        assert worker.ask("DELETE", "/v1/admin:drain").status == 200
    assert worker.probe("/readyz") == 200
    assert not worker.poll().draining
    assert worker.run().outcome is Outcome.SUCCEEDED


def test_progress_is_told_now_and_then_and_forgotten_at_the_end(worker: Worker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    attempt = worker.attempt("reports", args={"path": str(gate)})
    worker.offer(attempt)
    limit = time.monotonic() + LONG
    seen: list[ProgressEntry] = []
    while len(seen) < 2:
        assert time.monotonic() < limit
        found = [entry for entry in worker.read(wait=LONG).entries if isinstance(entry, ProgressEntry)]
        assert len(found) <= 1, "one entry, the latest"
        seen += found
    feed = worker.poll("")
    assert feed.running[0].progress is not None
    assert feed.running[0].progress.percent >= seen[-1].progress.percent > seen[0].progress.percent
    gate.touch()
    assert worker.outcome(attempt).outcome is Outcome.SUCCEEDED
    assert not [entry for entry in worker.poll("").entries if isinstance(entry, ProgressEntry)]


@pytest.mark.parametrize("what", ["an end", "a drain", "the end of a drain"])
def test_a_waiting_poll_is_answered_at_once(worker: Worker, tmp_path: Path, what: str) -> None:
    gate = tmp_path / "gate"
    attempt = worker.attempt("held", args={"path": str(gate)})
    worker.offer(attempt)
    if what == "the end of a drain":
        worker.ask("POST", "/v1/admin:drain")
    worker.read()
    feeds = []
    thread = threading.Thread(target=lambda: feeds.append(worker.poll(wait=LONG)))
    began = time.monotonic()
    thread.start()
    while b"longshore_waiting_requests 1.0" not in worker.request("GET", "/metrics").body:
        assert time.monotonic() - began < LONG / 2
    if what == "an end":
        gate.touch()
    else:
        worker.ask("POST" if what == "a drain" else "DELETE", "/v1/admin:drain")
    thread.join()
    elapsed = time.monotonic() - began
    worker.ask("DELETE", "/v1/admin:drain")
    gate.touch()
    worker.outcome(attempt)

    assert elapsed < LONG / 2
    assert feeds[0].draining == (what == "a drain")
    assert [entry.uid for entry in feeds[0].entries] == ([attempt["uid"]] if what == "an end" else [])


def test_output_can_be_read_while_it_runs_and_after(worker: Worker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    attempt = worker.attempt("reports", args={"path": str(gate)})
    url = f"/v1/attempts/{attempt['uid']}/1/logs"
    assert worker.ask("GET", url).status == 410
    worker.offer(attempt)
    first = worker.ask("GET", url)
    assert (first.status, first.body, first.headers["Longshore-Complete"]) == (200, b"", "false")
    followed = []
    thread = threading.Thread(target=lambda: followed.append(worker.ask("GET", f"{url}?follow").body))
    thread.start()
    gate.touch()
    thread.join(LONG)
    worker.outcome(attempt)

    assert followed == [b"done with it\n"]
    whole = worker.ask("GET", f"{url}?offset=5")
    assert (whole.body, whole.headers["Longshore-Complete"], whole.headers["Longshore-Attempt"]) == (
        b"with it\n",
        "true",
        "1",
    )
    assert worker.ask("GET", f"{url}?index=0").status == 410


def test_a_worker_reads_the_settings_of_its_applications(start_worker: Callable[..., Worker], tmp_path: Path) -> None:
    (tmp_path / "own_app.py").write_text(
        "from pydantic import BaseModel\nfrom longshore import app_settings, handler\n"
        "class Own(BaseModel):\n    size: int\n    name: str\n"
        "own = app_settings('own', Own)\n@handler\ndef size() -> list: return [own.size, own.name]\n"
    )
    (tmp_path / "own.toml").write_text("[app.own]\nname = 'n'\n")
    worker = start_worker(apps="own_app", path=tmp_path, config=tmp_path / "own.toml", app_own_size=3)
    attempt = worker.attempt("size")
    worker.offer(attempt)

    assert [3, "n"] == worker.outcome(attempt).result
