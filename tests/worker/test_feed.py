"""The feed: what is kept until when, what a new process says, and the end of a worker."""

import http.client
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from longshore.engine import feed as held
from longshore.engine.attempt import AttemptKey
from longshore.engine.feed import PAGE_BYTES, KeptLogs
from longshore.job.attempts import EndedEntry, Feed
from longshore.job.output import Output
from longshore.job.status import Outcome
from worker_service import LONG, Worker, write_slow_app


def key(n: int) -> AttemptKey:
    return AttemptKey(f"uid-{n}", None, 1)


def numbers(feed: held.Feed, after: int = -1) -> list[object]:
    return [entry["n"] for entry in feed.after(after)[0]]


def test_entries_stay_until_they_are_acknowledged() -> None:
    feed = held.Feed("b007")
    for n in range(4):
        feed.ended(key(n), {"n": n}, 10)

    assert [0, 1, 2, 3] == numbers(feed) == numbers(feed)
    feed.acknowledge(2)
    assert [2, 3] == numbers(feed, 2) == numbers(feed)
    assert (key(1) in feed, key(2) in feed, feed.outcomes) == (False, True, 2)
    feed.acknowledge(feed.seq)
    assert ([], 0, 0) == (numbers(feed), feed.outcomes, feed.held_bytes)


def test_an_attempt_has_one_entry_at_most() -> None:
    feed = held.Feed("b007")
    for n in range(3):
        feed.progress(key(0), {"n": n})
    feed.progress(key(1), {"n": 9})
    assert [2, 9] == numbers(feed)
    feed.ended(key(0), {"n": 3}, 0)
    assert [9, 3] == numbers(feed)
    feed.acknowledge(feed.seq)
    feed.progress(key(1), {"n": 10})
    assert ([10], 0) == (numbers(feed), feed.outcomes)


def test_a_cursor_counts_only_where_it_was_given() -> None:
    feed = held.Feed("b007")
    feed.touch()

    assert [1, 0] == [feed.position("b007:1"), feed.position("b007:0")]
    assert [-1, -1, -1] == [feed.position("b007:2"), feed.position("beef:1"), feed.position("")]


def test_an_answer_is_no_larger_than_a_page_and_never_empty_for_that() -> None:
    feed = held.Feed("b007")
    for n in range(5):
        feed.ended(key(n), {"n": n}, PAGE_BYTES // 2)
    feed.ended(key(5), {"n": 5}, 2 * PAGE_BYTES)
    pages, at = [], -1
    while at < feed.seq:
        entries, cursor, left = feed.after(at)
        pages.append([entry["n"] for entry in entries])
        at = feed.position(cursor)
        assert [key(n) for n in range(len([n for page in pages for n in page]), 6)] == left

    assert [0, 1, 2, 3, 4, 5] == [n for page in pages for n in page]
    assert 6 == len(pages)


def test_output_of_ended_attempts_takes_bounded_memory() -> None:
    logs = KeptLogs(limit=10_000)
    for n in range(100):
        logs.keep(key(n), Output(head=b"x" * 1000, total=1000))

    kept = [n for n in range(100) if logs.get(key(n)) is not None]
    assert kept == list(range(100 - len(kept), 100))
    assert 1 < len(kept) <= 10


def test_outcomes_are_kept_until_they_are_acknowledged(worker: Worker) -> None:
    attempts = [worker.attempt(args={"n": n}) for n in range(2)]
    assert worker.offer(*attempts) == ["accepted", "accepted"]
    limit = time.monotonic() + LONG
    while len(worker.poll(wait=1).entries) < 2:
        assert time.monotonic() < limit

    first = worker.poll("")
    assert [entry.uid for entry in first.entries] == [entry.uid for entry in worker.poll("").entries]
    assert {entry.uid for entry in first.entries} == {one["uid"] for one in attempts}
    worker.cursor = first.cursor
    assert worker.read().entries == ()
    assert worker.poll("").entries == (), "they were acknowledged"


def test_handlers_are_told_once(worker: Worker) -> None:
    first = worker.poll("")
    assert first.handlers is not None
    assert {"echo", "held"} <= set(first.handlers)
    assert worker.poll(first.cursor).handlers is None


def test_handlers_are_told_when_they_are_imported_and_not_before(
    start_worker: Callable[..., Worker], eventually: Callable[..., object], tmp_path: Path
) -> None:
    gate = write_slow_app(tmp_path, "nothing")
    worker = start_worker(apps="nothing", path=tmp_path, ready=False)
    eventually(lambda: worker.probe("/livez") == 200)
    before = worker.poll("")
    gate.touch()
    after = worker.poll(before.cursor, wait=LONG)

    assert (None, 0) == (before.handlers, before.slots.free)
    assert () == after.handlers, "there are none, and that is said"


def test_a_new_process_says_so_and_starts_from_the_beginning(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker()
    attempt = worker.attempt("naps")
    worker.offer(attempt)
    before = worker.read()
    worker.kill()
    cursor = worker.cursor
    worker.start()
    after = worker.poll(cursor, wait=LONG)

    assert before.running[0].uid == attempt["uid"]
    assert after.boot != before.boot
    assert after.cursor.startswith(after.boot)
    assert (after.entries, after.running) == ((), ())
    assert after.handlers == before.handlers or after.handlers is not None
    assert worker.offer({**attempt, "handler": "echo"}) == ["accepted"], "it knows nothing of its life before"


def test_a_killed_api_process_takes_no_outcome_along(
    start_worker: Callable[..., Worker], eventually: Callable[..., object]
) -> None:
    worker = start_worker()
    attempt = worker.attempt()
    worker.offer(attempt)
    before = eventually(lambda: worker.poll().entries)
    boot = worker.poll().boot
    for pid in worker.child("gunicorn"):
        os.kill(pid, signal.SIGKILL)
    worker.wait_ready()

    assert (worker.poll().boot, worker.poll().entries) == (boot, before)


def test_an_operator_can_read_what_a_later_release_says(worker: Worker) -> None:
    said = worker.ask("GET", "/v1/attempts").json()
    later = {**said, "weather": "fine", "slots": {**said["slots"], "warm": 1}}

    assert Feed.model_validate_json(json.dumps(later)).cursor == said["cursor"]


def test_a_stopped_worker_lets_its_attempts_finish_and_tells_before_it_goes(
    start_worker: Callable[..., Worker], tmp_path: Path, eventually: Callable[..., object]
) -> None:
    worker, gate = start_worker(), tmp_path / "gate"
    running = worker.attempt("held", args={"path": str(gate)})
    ended = worker.attempt()
    assert worker.offer(running, ended) == ["accepted", "accepted"]
    eventually(lambda: worker.poll().entries)
    worker.terminate()
    eventually(lambda: worker.poll().draining)

    assert worker.probe("/readyz") == 503
    assert worker.offer(worker.attempt()) == ["draining"]
    assert worker.ask("DELETE", "/v1/admin:drain").json()["draining"], "there is no way back"
    gate.touch()
    eventually(lambda: len(worker.poll().entries) == 2)
    assert worker.running()
    assert {entry.uid for entry in worker.read().entries} == {running["uid"], ended["uid"]}
    worker.read(wait=LONG)
    assert worker.wait_end() == 0


def test_an_idle_worker_does_not_wait_for_connections_that_are_kept(start_worker: Callable[..., Worker]) -> None:
    def stopped_in() -> float:
        worker = start_worker()
        kept = http.client.HTTPConnection(worker.url.removeprefix("http://"), timeout=LONG)
        kept.request("GET", "/metrics")
        kept.getresponse().read()
        began = time.monotonic()
        worker.stop()
        kept.close()
        return time.monotonic() - began

    # gunicorn alone would wait so long for another request, each time; a machine that is slow, now and then.
    assert any(stopped_in() < 2 for _ in range(3))


def test_what_does_not_finish_in_time_is_drained(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(drain_seconds=0.2)
    attempt = worker.attempt("naps")
    worker.offer(attempt)
    worker.terminate()
    ended = worker.outcome(attempt)

    assert (ended.outcome, ended.reason) == (Outcome.DRAINED, "Drained")
    worker.read()
    assert worker.wait_end() == 0


def test_a_worker_that_nobody_listens_to_goes_all_the_same(
    start_worker: Callable[..., Worker], eventually: Callable[..., object]
) -> None:
    worker = start_worker()
    worker.offer(worker.attempt())
    eventually(lambda: worker.poll().entries)

    assert worker.stop() == 0
    assert '"action":"outcomes_not_read"' in worker.log.read_text()


def test_large_results_come_in_pages_and_nothing_new_is_taken_while_they_pile_up(
    start_worker: Callable[..., Worker], eventually: Callable[..., object]
) -> None:
    worker = start_worker()
    size, uids = 1_000_000, []

    def held() -> int:
        return int(worker.ask("GET", "/v1/status").json()["outcomes"]["unacknowledged"])

    def take() -> str:
        attempt = worker.attempt("sized", args={"size": size})
        (said,) = worker.offer(attempt)
        if said == "accepted":
            uids.append(attempt["uid"])
        return said

    for _ in range(200):
        if take() == "full":
            eventually(lambda: held() == len(uids), what="the end of what runs")
            if take() == "full":
                break
    assert 60 <= len(uids) <= 70, "64 MiB and what ran at that time"
    assert worker.poll().slots.free == 0
    found: list[EndedEntry] = []
    while len(found) < len(uids):
        page = [entry for entry in worker.read(wait=LONG).entries if isinstance(entry, EndedEntry)]
        assert 1 <= len(page) < 10
        found += page
    worker.read()

    assert {entry.uid for entry in found} == set(uids)
    assert {len(str(entry.result)) for entry in found} == {size}
    too_large = worker.run("huge_result")
    assert (too_large.outcome, too_large.reason) == (Outcome.FAILED, "ResultTooLarge")


def test_reading_on_is_not_acknowledging(worker: Worker) -> None:
    first = worker.attempt()
    worker.offer(first)
    seen = worker.poll("", wait=LONG)
    while not seen.entries:
        seen = worker.poll(seen.cursor, wait=LONG)

    def ask(query: str) -> list[str]:
        return [entry["uid"] for entry in worker.ask("GET", f"/v1/attempts?{query}").json()["entries"]]

    assert [] == ask(f"after={seen.cursor}&ack=")
    assert [first["uid"]] == ask("after=&ack=")
    assert [] == ask(f"after={seen.cursor}&ack={seen.cursor}")
    assert [] == ask("after=&ack=")
    assert 422 == worker.ask("GET", f"/v1/attempts?after={seen.cursor}&ack=nonsense").status
