"""The operator on a real API server, with real workers: what users see of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kube.control_plane import ControlPlane
from kube.kubelet import Kubelet
from kube.operators import Rig

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    control_plane.install_crds(ROOT / "manifests/crds")
    return control_plane


@pytest.fixture
def rig(cluster: ControlPlane, kubelet: Kubelet, namespace: str, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(cluster, kubelet, namespace, tmp_path)
    yield rig
    rig.close()


def test_a_job_runs_on_a_worker_and_its_result_is_on_record(rig: Rig) -> None:
    rig.worker()
    rig.leader()
    rig.submit("hello", args={"x": 1})
    status = rig.end_of("hello")

    assert ("Succeeded", 1, {"x": 1}, "worker-0") == tuple(
        status[name] for name in ("phase", "attempts", "result", "worker")
    )
    assert ["Complete", "Finished"] == [condition["type"] for condition in status["conditions"]]
    rig.plane.kubectl("wait", "--for=condition=Finished", "lsj/hello", "-n", rig.namespace, "--timeout=5s")
