"""A pool that follows its queue on a node, by the words of docs/scaling.md."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.images import ROOT
from e2e.release import API, Object, Release
from service import free_port

PAGE = (ROOT / "docs/scaling.md").read_text()
CREATE, LOOK, EXPLAIN = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
JOBS = 500
# The page's pool; a node of few processors has room for all of it, and nobody waits two minutes for its end.
QUICK = {"resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
         "autoscaling": {"scaleDownWindowSeconds": 5, "idleSeconds": 5}}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def pool(release: Release) -> None:
    """At zero."""
    (values,) = re.findall(r"```yaml\n(pools:.*?)```", PAGE, re.DOTALL)
    pools = yaml.safe_load(values)["pools"]
    release.upgrade({"pools": {name: value | QUICK for name, value in pools.items()}})


class Person:
    """Somebody with a shell, who reads the page."""

    def __init__(self, release: Release, folder: Path) -> None:
        self._config = folder / "kubeconfig"
        self._config.write_text(release.plane.admin.read_text())
        self._path = f"{release.plane.tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._port = free_port()  # 8080 may be taken on this machine
        self.run(f"kubectl config set-context --current --namespace={release.namespace}")

    def run(self, block: str) -> str:
        """What a block of the page prints; what it leaves in the background ends with it."""
        script = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + block.replace("8080:80", f"{self._port}:80")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=200, check=False,
            env={"PATH": self._path, "KUBECONFIG": str(self._config), "HOME": str(self._config.parent),
                 "LONGSHORE_URL": f"http://127.0.0.1:{self._port}"},
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def person(release: Release, tmp_path: Path) -> Person:
    return Person(release, tmp_path)


def replicas(release: Release) -> int:
    """What the Deployment asks for."""
    path = f"/apis/apps/v1/namespaces/{release.namespace}/deployments/{release.deployment('worker')}"
    return int(release.plane.must("GET", path)["spec"]["replicas"])


@pytest.mark.timeout(480)  # its own limits say more of what did not come
def test_a_pool_at_zero_grows_for_500_jobs_and_returns_without_interrupting_one(
    release: Release, person: Person, eventually: Callable[..., Any]
) -> None:
    eventually(lambda: replicas(release) == 0 and not release.pods("worker"), seconds=60, what="a pool at zero")

    person.run(CREATE)
    eventually(lambda: release.pods("worker"), seconds=10, what="the first worker")
    grown = person.run(EXPLAIN)

    def over() -> list[Object] | None:
        time.sleep(0.5)  # each answer holds all jobs
        found: list[Object] = release.plane.must("GET", f"{API}/{release.namespace}/jobs")["items"]
        return None if any(job["status"]["phase"] in ("Pending", "Running") for job in found) else found

    jobs = eventually(over, seconds=180, what="the end of all jobs")
    ends = Counter(
        tuple(job["status"].get(key, 0) for key in ("phase", "attempts", "disruptions", "retries")) for job in jobs
    )
    assert {("Succeeded", 1, 0, 0): JOBS} == ends, "\n".join([
        *(str(job["status"]["history"]) for job in jobs if job["status"].get("disruptions")), *release.losses(),
    ])  # fmt: skip
    assert len({job["status"]["worker"] for job in jobs}) >= 4, "it did not grow"
    eventually(lambda: replicas(release) == 0 and not release.pods("worker"), seconds=90, what="a pool at zero again")

    assert re.search(r"default: .*jobs? that wait.*Workers: \d+, .* from 0 to 10; 4 slot", grown, re.DOTALL), grown
    shown = person.run(LOOK)
    assert "nothing to do, so no worker" in shown
    numbers = dict(line.rsplit(" ", 1) for line in shown.splitlines() if line.startswith("longshore_"))
    assert {0.0} == {float(value) for name, value in numbers.items() if "_created" not in name}, numbers
    assert "longshore_operator_scale_in_busy_workers_total" in numbers
    again = [line for line in EXPLAIN.splitlines() if not re.match("kubectl create (serviceaccount|rolebinding)", line)]
    assert "default: nothing to do, so no worker" in person.run("\n".join(again))
