"""The images work: as nobody, with a root that cannot be written."""

import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from images.container import Container
from longshore.client import Client
from service import free_port


def serve(
    inside: Container, eventually: Callable[..., Any], request: pytest.FixtureRequest, **settings: str
) -> tuple[Any, Client]:
    """`longshore serve` on loopback, once it takes jobs."""
    port, probes = free_port(), free_port()
    started = inside.start(
        "serve", LONGSHORE_PORT=str(port), LONGSHORE_PROBE_PORT=str(probes), LONGSHORE_DATA_DIR="/tmp/data",
        LONGSHORE_LOG_FORMAT="json", **settings,
    )  # fmt: skip
    client = Client(f"http://127.0.0.1:{port}")

    def ready() -> bool:
        if started.poll() is not None:
            pytest.fail(inside.log.read_text()[-3000:])
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{probes}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:  # not listening yet, or 503
            return False

    eventually(ready, seconds=60, what="/readyz of the container")
    request.addfinalizer(client.close)
    return started, client


def test_a_job_runs_and_pid_1_hears_sigterm(
    container: Callable[[str], Container], eventually: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    inside = container("longshore")
    started, client = serve(inside, eventually, request, LONGSHORE_APPS="longshore_samples.hello")

    done = client.submit({"handler": "greet", "args": {"name": "image"}}, wait=20)

    assert done["status"]["phase"] == "Succeeded"
    assert "image" in str(done["status"]["result"])
    assert (inside.writable / "data/longshore.db").exists()
    assert inside.terminate(started) == 0
    assert "Read-only" not in inside.log.read_text()


def test_the_image_of_a_user_runs_its_handlers(
    container: Callable[[str], Container], eventually: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    _, client = serve(container("longshore-example"), eventually, request)

    names = [handler["name"] for handler in client.handlers()]
    done = client.submit({"handler": "receipt", "args": {"items": {"tea": 3.5, "milk": 1.25}}}, wait=20)

    assert names == ["receipt"]
    assert done["status"]["result"] == {"text": "tea   3.50\nmilk  1.25\nSum   4.75"}
