"""Guests of a whole service: what it says at its start, how it retries, where its socket is."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from service import HERE, Service
from worker_service import Worker


def lines(service: Service, action: str) -> list[dict[str, object]]:
    found = [json.loads(text) for text in service.log.read_text().splitlines() if text.startswith("{")]
    return [line for line in found if line.get("action") == action]


def end_of(service: Service, handler: str) -> dict[str, object]:
    answer = service.request("POST", "/v1/jobs", {"handler": handler}, headers={"Prefer": "wait=30"})
    status: dict[str, object] = answer.json()["status"]
    return status


def test_retries_go_by_base_classes_and_by_the_members_of_groups(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    # A folder so deep that the name of a socket in it is longer than the kernel takes.
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    service = start_service(apps="grouping_jobs", data_dir=str(deep))

    assert 3 == end_of(service, "connects")["attempts"]
    assert 1 == end_of(service, "looks_up")["attempts"]
    fetched = end_of(service, "fetches")
    assert (2, "TimeoutError: example.com took too long") == (
        fetched["attempts"],
        str(fetched["message"]).partition("): ")[2],
    )
    assert 1 == end_of(service, "groups")["attempts"]
    (told,) = lines(service, "threads_at_import")
    assert "waits-for-news" in str(told["threads"])


def test_a_worker_tells_the_operator_what_its_retries_go_by(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "worker", {"apps": "grouping_jobs", "slots": 1})
    try:
        worker.start()
        ended = worker.run("connects")
        assert {"ConnectionResetError", "ConnectionError", "OSError"} <= set(ended.error_names)
    finally:
        worker.end()


def test_threads_at_import_are_refused_where_that_is_asked_for(tmp_path: Path) -> None:
    environment = {**os.environ, "LONGSHORE_APPS": "grouping_jobs", "LONGSHORE_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", "longshore", "serve", "--strict", "--port", "0", "--probe-port", "0"]
    done = subprocess.run(command, env=environment, cwd=HERE, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode
    assert "waits-for-news" in done.stderr
