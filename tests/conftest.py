"""Tests start clean and strict: none of our variables leak in, nothing is left running."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

from service import Service

T = TypeVar("T")

# How long an example takes depends on the machine and on what else it does; speed belongs to bench/.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")

os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).rstrip(":")

for _name in [name for name in os.environ if name.startswith("LONGSHORE_")]:
    del os.environ[_name]


# Files that wait longest, for silences and clocks that tests cannot move. They go first, the longest at the head, so that no
# process of `make test` is left alone with one of them at the end.
LONGEST = [
    f"tests/kube/test_{name}.py"
    for name in (
        "recovery", "recovery_operators", "scaling", "queues", "lying_workers", "chart", "jobs", "api_store", "chaos", "crowd",
        "schedule_runs", "webhooks", "results", "operator", "lease", "chart_runs", "chart_prometheus", "collect",
    )
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By file; the order within a file is its own."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def eventually(look: Callable[[], T], *, seconds: float = 20.0, what: str = "it") -> T:
    """The first true answer; fails when none comes in time."""
    limit = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > limit:
            pytest.fail(f"{what} did not happen within {seconds:g} seconds")
        time.sleep(0.02)


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., object]:
    return eventually


def needs_program(program: str) -> None:
    """Skip loudly when a program is missing; under CI that is a failure."""
    beside = str(Path(sys.executable).parent)  # programs that come with Python packages
    if shutil.which(program, path=os.pathsep.join([beside, os.environ["PATH"]])):
        return
    text = f"{program} is not installed (tests/system-packages.txt says why it is needed)"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


@pytest.fixture
def program() -> Callable[[str], None]:
    """Call it with a program that the test needs."""
    return needs_program


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts real services on loopback; ends all of them, whatever happens."""
    started: list[Service] = []

    def start(**settings: object) -> Service:
        folder = settings.pop("data_dir", None) or tmp_path / f"data{len(started)}"
        service = Service(Path(str(folder)), settings)
        started.append(service)
        service.start()
        return service

    yield start
    for service in started:
        service.end()


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for tests that leave it as they found it."""
    service = Service(tmp_path_factory.mktemp("shared"), {"commands": True, "slots": 2})
    service.start()
    yield service
    service.end()
