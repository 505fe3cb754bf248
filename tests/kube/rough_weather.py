"""What production does to it: crowds over many namespaces, scalers by hand, loud jobs, an operator that is away.

``make rough`` runs it at full size; ROUGH_SHARE says how much of it, a twentieth unless told otherwise.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kube.control_plane import ControlPlane
from kube.operators import Rig
from kube.pool import Pool
from kube.shared_rig import APPS

SHARE = float(os.environ.get("ROUGH_SHARE", "0.05"))
pytestmark = pytest.mark.timeout(900)


def job(name: str, handler: str = "echo", **spec: object) -> dict[str, Any]:
    return {"apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": name},
            "spec": {"handler": handler, **spec}}  # fmt: skip


def ended(plane: ControlPlane, path: str) -> list[dict[str, Any]]:
    """Jobs that succeeded."""
    found: list[dict[str, Any]] = plane.must("GET", f"{path}?fieldSelector=status.phase%3DSucceeded")["items"]
    return found


def test_a_crowd_over_many_namespaces_is_run_once_each(rig: Rig) -> None:
    """One operator for all of these namespaces; each has jobs at the same moment, and a worker that serves it."""
    count = max(int(150 * SHARE), 4)
    each = 20
    served = [rig.plane.make_namespace() for _ in range(count)]
    rig.worker("wide", apps=APPS, slots=8)
    rig.plane.must("PATCH", f"/api/v1/namespaces/{rig.namespace}/pods/wide",
                   {"metadata": {"annotations": {"longshore.dev/serves-namespaces": ",".join(served)}}})  # fmt: skip
    operator = rig.operator(namespaces=",".join([rig.namespace, *served]), pool_namespaces=f"{rig.namespace}=*")
    operator._environment["KUBECONFIG"] = str(rig.plane.admin)
    operator.kill()
    operator.start()
    operator.wait_for("took_over", seconds=120)
    paths = [f"/apis/longshore.dev/v1alpha1/namespaces/{name}/jobs" for name in served]
    with ThreadPoolExecutor(8) as threads:
        for made in [threads.submit(rig.plane.must, "POST", path, job(f"job-{number}"))
                     for number in range(each) for path in paths]:  # fmt: skip
            made.result()
    rig.until(lambda: all(len(ended(rig.plane, path)) == each for path in paths), "the end of all", 600)

    for path in paths:
        assert {(1, 0)} == {
            (one["status"]["attempts"], one["status"].get("disruptions", 0)) for one in ended(rig.plane, path)
        }


def test_an_operator_that_is_away_is_followed_by_two_and_every_job_runs_once(rig: Rig, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    rig.worker(apps=APPS, slots=2)
    first = rig.leader()
    rig.submit("held", "held", args={"path": str(gate)})
    rig.phase("held", "Running")
    first.terminate()
    for number in range(20):
        rig.submit(f"meanwhile-{number}")
    gate.touch()
    time.sleep(1 + 120 * SHARE)  # nobody looks: what is away is away for a while
    assert "Running" == rig.status("held")["phase"]
    both = [rig.operator(), rig.operator()]
    for name in ("held", *(f"meanwhile-{number}" for number in range(20))):
        status = rig.end_of(name)
        assert ("Succeeded", 1, 0) == (status["phase"], status["attempts"], status.get("disruptions", 0)), name
    assert 1 == sum(len(one.lines("took_over")) for one in both)


@pytest.mark.parametrize("how", ["cancelled", "deleted", "worker gone"])
def test_an_array_is_cut_off_in_the_middle(rig: Rig, how: str) -> None:
    count = max(int(10_000 * SHARE), 200)
    rig.worker("one", apps=APPS, slots=4)
    rig.worker("two", apps=APPS, slots=4)
    rig.leader()
    rig.submit("array", "naps", args={"seconds": 0.002}, count=count, parallelism=8)
    rig.until(lambda: (rig.status("array").get("items") or {}).get("succeeded", 0) >= count // 20, "a part of it", 120)
    rig.submit("after-it")
    if how == "cancelled":
        rig.patch("array", cancel=True)
        status = rig.end_of("array")
        assert "Cancelled" == status["phase"]
        assert 0 < status["items"]["succeeded"] < count
    elif how == "deleted":
        rig.plane.must("DELETE", f"{rig.path}/array")
    else:
        rig.plane.must("DELETE", f"/api/v1/namespaces/{rig.namespace}/pods/one?gracePeriodSeconds=0")
        rig.workers["one"].kill()
        status = rig.end_of("array", 600)
        assert ("Succeeded", count) == (status["phase"], status["items"]["succeeded"]), status
    assert "Succeeded" == rig.end_of("after-it")["phase"]


def test_a_loud_job_neither_fills_the_worker_nor_holds_up_others(rig: Rig) -> None:
    """A megabyte of output a second, and far more: it goes to the pod's log, and what is kept has a limit."""
    worker = rig.worker(apps=APPS, slots=2, commands=True)
    rig.leader()
    megabytes = max(int(120 * SHARE), 6)
    loud = f"import time\nfor n in range({megabytes}):\n    print(('x' * 1023 + '\\n') * 1024, end='', flush=True)\n    time.sleep({SHARE})"
    before = memory(worker.pid)
    rig.submit("loud", command=["python3", "-c", loud])
    for number in range(10):
        rig.submit(f"quiet-{number}")
    for number in range(10):
        assert "Succeeded" == rig.end_of(f"quiet-{number}")["phase"]
    assert "Succeeded" == rig.end_of("loud", 300)["phase"]

    assert memory(worker.pid) - before < 64


def memory(pid: int) -> float:
    """Resident MiB of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_somebody_who_scales_by_hand_is_overruled_and_no_job_is_lost(pool: Pool, tmp_path: Path) -> None:
    pool.leader(leader_election=False)
    pool.node.deployment(
        "default", {"min-workers": "0", "max-workers": "3", "scale-down-window-seconds": "1", "idle-seconds": "1"}
    )
    gate = tmp_path / "gate"
    pool.submit("held", "held", args={"path": str(gate)})
    pool.phase("held", "Running")

    def scale(replicas: int) -> None:
        where = [f"--namespace={pool.namespace}", "scale", "deployment/pool-default", f"--replicas={replicas}"]
        pool.plane.kubectl(*where, check=True)

    scale(0)
    pool.until(lambda: pool.replicas() >= 1, "a worker for what runs or waits")
    scale(3)
    pool.until(lambda: pool.replicas() < 3, "fewer, because nothing waits")
    gate.touch()
    status = pool.end_of("held")
    assert "Succeeded" == status["phase"], status
    pool.until(lambda: pool.replicas() == 0, "a pool at zero")
