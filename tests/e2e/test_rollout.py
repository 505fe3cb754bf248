"""A release that changes while jobs wait and run."""

import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.images import EXAMPLE, ROOT
from e2e.release import Object, Release
from helm_chart import CHART

SAMPLES = ["longshore_samples.echo", "longshore_samples.sleep"]
ROLLED = {"podAnnotations": {"round": "2"}}


@contextmanager
def load(release: Release) -> Iterator[Callable[[], Object]]:
    """Jobs sent and polled through the Service, from inside the cluster's network; call it to end and for what came of it."""
    service = release.plane.must("GET", f"/api/v1/namespaces/{release.namespace}/services/{release.name}-api")
    token = release.plane.token(release.namespace, "caller")
    words = [*release.node.ground.enter, sys.executable, str(Path(__file__).with_name("load.py")),
             f"http://{service['spec']['clusterIP']}", token]  # fmt: skip
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def told() -> Object:
        found: Object = json.loads(process.communicate(timeout=200)[0])
        return found

    try:
        yield told
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module", autouse=True)
def caller(release: Release) -> None:
    """An account that may make jobs."""
    release.kubectl("create", "serviceaccount", "caller")
    release.kubectl("create", "role", "caller", "--verb=create,get,list", "--resource=jobs.longshore.dev")
    release.kubectl("create", "rolebinding", "caller", "--role=caller", f"--serviceaccount={release.namespace}:caller")


def before(tmp_path: Path) -> str:
    """The chart of the commit before this one, or this one where git knows no other."""
    archive = tmp_path / "chart.tar"
    words = ["git", "archive", f"--output={archive}", "HEAD~1", "charts/longshore"]
    if subprocess.run(words, cwd=ROOT, capture_output=True, check=False).returncode:
        return str(CHART)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    return str(tmp_path / "charts/longshore")


def test_an_upgrade_and_a_rollback_under_load_lose_no_job_and_fail_no_request(release: Release, tmp_path: Path) -> None:
    release.upgrade(chart=before(tmp_path))
    was = {component: release.pods(component)[0]["metadata"]["name"] for component in ("worker", "api", "operator")}

    with load(release) as told:
        release.upgrade({"operator": ROLLED, "api": ROLLED, "poolDefaults": ROLLED})
        now = {component: release.pods(component)[0]["metadata"]["name"] for component in was}
        release.rollback(2)
        found = told()

    assert not set(was.values()) & set(now.values())
    assert [] == found["failures"]
    assert {"Succeeded": found["sent"]} == found["ended"]
    assert found["sent"] > 20


def test_an_image_with_other_handlers_takes_over_what_waits(release: Release, eventually: Callable[..., Any]) -> None:
    for number in range(12):
        release.submit(f"old-{number}", handler="sleep", args={"seconds": 2})
    release.submit("receipt", handler="receipt", args={"items": {"rope": 12.5, "tar": 3}})
    eventually(lambda: release.job("old-0")["status"]["phase"] != "Pending", seconds=30, what="the first job has begun")

    pool = {"image": release.images.value(EXAMPLE), "apps": [*SAMPLES, "shop.jobs"]}
    release.upgrade({"pools": {"default": pool}})

    assert "15.50" in release.wait("receipt")["result"]["text"]
    for number in range(12):
        status = release.wait(f"old-{number}")
        assert ("Succeeded", 0) == (status["phase"], status.get("disruptions", 0)), status
