"""Real workers on loopback."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service import SAMPLES
from worker_service import LONG, Worker

APPS = f"{SAMPLES},rough_jobs,worker_jobs"


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts real workers; ends all of them, whatever happens."""
    started: list[Worker] = []

    def start(*, ready: bool = True, **settings: object) -> Worker:
        worker = Worker(tmp_path / f"worker{len(started)}", {"apps": APPS, **settings})
        started.append(worker)
        worker.start(ready=ready)
        return worker

    yield start
    for worker in started:
        worker.end()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker for tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("worker")
    worker = Worker(folder, {"apps": APPS, "slots": 2, "api_url": "https://jobs.example"})
    worker.start()
    yield worker
    worker.end()


@pytest.fixture
def worker(shared: Worker) -> Iterator[Worker]:
    """The shared worker, with everything acknowledged and two free slots."""
    _settle(shared)
    yield shared
    _settle(shared)


def _settle(worker: Worker) -> None:
    feed, limit = worker.read(), time.monotonic() + LONG
    while feed.slots.free < 2 or feed.entries:
        assert time.monotonic() < limit, feed
        feed = worker.read(wait=5)
    worker.read()
