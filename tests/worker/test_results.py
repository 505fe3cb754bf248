"""A worker with a results directory: what it puts there, what it says of it, and what happens when it cannot."""

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from longshore.job.output import unpacked
from longshore.job.results import parse
from longshore.job.status import Outcome
from service import Service
from worker_service import LONG, Worker

Wait = Callable[..., object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


@pytest.fixture
def keeping(start_worker: Callable[..., Worker], folder: Path) -> Worker:
    return start_worker(slots=2, results_dir=str(folder))


def files(folder: Path, kind: str = "json") -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(f"*.{kind}"))


def test_a_large_result_goes_to_a_file_that_the_feed_names(keeping: Worker, folder: Path) -> None:
    small, large = (
        keeping.run("sized", args={"size": 16 * 1024 - 2}),
        keeping.run("sized", args={"size": 16 * 1024 - 1}),
    )

    assert (small.result_ref, small.result) == (None, "x" * (16 * 1024 - 2))
    assert (Outcome.SUCCEEDED, None) == (large.outcome, large.result)
    assert large.result_ref is not None
    file = parse(large.result_ref)
    assert file is not None
    assert file.of("default", large.uid, None, 1)
    assert keeping.poll().boot == file.boot
    assert '"' + "x" * (16 * 1024 - 1) + '"' == (folder / large.result_ref).read_text()
    assert [large.result_ref] == files(folder)
    assert [] == [path for path in folder.rglob("*") if path.name.startswith(".")], "nothing is left of the way there"


def test_results_of_items_go_to_files_unless_they_are_nothing(keeping: Worker, folder: Path) -> None:
    said = keeping.run("echo", uid="array", index=7, args={"x": 1})
    failed = keeping.run("fail", uid="array", index=8, args={"times": 9})
    nothing = keeping.run("hasty", uid="array", index=9)

    assert (None, f"default/array/7.1.{keeping.poll().boot}.json") == (said.result, said.result_ref)
    assert ["failed", None, "timed_out", None] == [
        failed.outcome,
        failed.result_ref,
        nothing.outcome,
        nothing.result_ref,
    ]
    assert [said.result_ref] == files(folder)
    assert '{"x":1}' == (folder / said.result_ref).read_text()


def test_output_is_kept_for_when_the_worker_is_gone(keeping: Worker, folder: Path, eventually: Wait) -> None:
    attempt = keeping.run("fail", args={"times": 9}, number=4)
    eventually(lambda: files(folder, "log"), what="the output")
    (name,) = files(folder, "log")
    file = parse(name)

    assert file is not None
    assert (attempt.uid, None, 4) == (file.uid, file.index, file.number)
    output = unpacked((folder / name).read_bytes())
    assert output.head.decode().rstrip().endswith(attempt.log_tail.rstrip().splitlines()[-1])
    assert (0, output.total) == (output.dropped, len(output.head))


def test_a_result_that_does_not_fit_fails_the_attempt_and_the_worker_goes_on(keeping: Worker, folder: Path) -> None:
    resource.prlimit(keeping.pid, resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    failed = keeping.run("sized", args={"size": 300_000})
    kept = keeping.run("sized", args={"size": 100_000})

    assert (Outcome.FAILED, "ResultNotKept", None) == (failed.outcome, failed.reason, failed.result_ref)
    assert failed.error is not None
    assert ("ResultNotKept", True) == (failed.error.type, "300002 bytes: File too large" in failed.error.message)
    assert [kept.result_ref] == files(folder)
    assert [] == [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_nothing_is_taken_while_the_directory_is_away(keeping: Worker, folder: Path, eventually: Wait) -> None:
    away = folder.rename(folder.with_name("away"))
    failed = keeping.run("sized", args={"size": 20_000})
    eventually(lambda: keeping.probe("/readyz") == 503, what="not ready")
    reasons, free, said = (
        keeping.ask("GET", "/v1/status").json()["reasons"],
        keeping.poll().slots.free,
        keeping.offer(keeping.attempt()),
    )
    away.rename(folder)
    eventually(lambda: keeping.probe("/readyz") == 200, seconds=LONG, what="ready again")

    assert (Outcome.FAILED, "ResultNotKept") == (failed.outcome, failed.reason)
    assert (["results directory"], 0, ["full"]) == (reasons, free, said)
    assert Outcome.SUCCEEDED == keeping.run("sized", args={"size": 20_000}).outcome


def test_what_is_being_kept_still_counts_as_running(keeping: Worker) -> None:
    """The operator would take it for lost otherwise."""
    for _ in range(10):
        attempt = keeping.attempt("sized", args={"size": 900_000})
        keeping.offer(attempt)
        told = False
        while not told:
            feed = keeping.poll()
            told = any(entry.uid == attempt["uid"] for entry in feed.entries)
            assert told or any(run.uid == attempt["uid"] for run in feed.running), "at every moment one or the other"
        assert ["known"] == keeping.offer(attempt)


def test_a_worker_whose_directory_is_missing_does_not_start(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "worker", {"results_dir": str(tmp_path / "missing")})
    Service.start(worker, ready=False)
    try:
        assert 0 != worker.wait_end()
    finally:
        worker.end()
    assert "missing cannot be written to: No such file or directory" in worker.log.read_text()
