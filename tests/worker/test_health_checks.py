"""How the health checks of an application reach the probes of its worker, and what they never do."""

from collections.abc import Callable
from pathlib import Path

from longshore.job.status import Outcome
from worker_service import Worker

APP = """
import os, pathlib, time
from longshore import handler, health_check

FOLDER = pathlib.Path(__file__).parent

@health_check(kind="readiness", timeout_seconds=0.3, cache_seconds=0.02)
def carrier():
    if (FOLDER / "dies").exists():
        os._exit(9)
    if (FOLDER / "broken").exists():
        raise RuntimeError("a secret")
    while (FOLDER / "hangs").exists():
        time.sleep(0.02)

@health_check(kind="liveness", cache_seconds=0.02)
def alive():
    if (FOLDER / "broken").exists():
        raise SystemExit(1)

@handler
def work():
    return 1
"""


def test_a_failing_check_takes_its_worker_out_of_service_and_nothing_more(
    start_worker: Callable[..., Worker], tmp_path: Path, eventually: Callable[..., object]
) -> None:
    (tmp_path / "checked_app.py").write_text(APP)
    worker = start_worker(apps="checked_app", path=tmp_path)
    for way in ("broken", "hangs"):
        (tmp_path / way).touch()
        eventually(lambda: worker.probe("/readyz") == 503, what=f"a worker that is not ready: {way}")
        assert worker.probe("/livez") == 200
        attempt = worker.attempt("work")
        worker.offer(attempt)
        assert worker.outcome(attempt).outcome == Outcome.SUCCEEDED
        checks = worker.ask("GET", "/healthz").json()["checks"]
        assert checks["checked_app.carrier"].startswith("failed: "), checks
        readyz = worker.request("GET", "/readyz")
        assert (503, {"engine": "ok", "applications": "not ready"}) == (readyz.status, readyz.json()["checks"])
        assert (503 if way == "broken" else 200) == worker.request("GET", "/livez").status
        (tmp_path / way).unlink()
        eventually(lambda: worker.probe("/readyz") == 200, what="a worker that is ready again")
    assert "a secret" not in worker.log.read_text()


def test_a_check_that_ends_its_process_leaves_the_engine_and_its_jobs_alone(
    start_worker: Callable[..., Worker], tmp_path: Path, eventually: Callable[..., object]
) -> None:
    (tmp_path / "checked_app.py").write_text(APP)
    worker = start_worker(apps="checked_app", path=tmp_path)
    pid = worker.pid
    (tmp_path / "dies").touch()
    worker.probe("/readyz")
    eventually(lambda: "exited with code 9" in worker.log.read_text(), what="an end of the api")
    assert worker.probe("/livez") == 200
    (tmp_path / "dies").unlink()
    eventually(lambda: worker.request("GET", "/livez").status == 200, what="another api process")

    attempt = worker.attempt("work")
    worker.offer(attempt)
    assert (Outcome.SUCCEEDED, pid) == (worker.outcome(attempt).outcome, worker.pid)
