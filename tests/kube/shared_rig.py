"""One operator and its workers for all tests of a module that leave them as they found them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kube.control_plane import ControlPlane
from kube.kubelet import Kubelet
from kube.operators import Rig
from service import SAMPLES

APPS = SAMPLES + ",rough_jobs,worker_jobs,watched_jobs"


@contextmanager
def shared_rig(plane: ControlPlane, folder: Path) -> Iterator[Rig]:
    """A rig in a namespace and on a node of its own."""
    plane.install_crds()
    namespace = plane.make_namespace()
    kubelet = Kubelet(plane, f"node-{namespace}")
    rig = Rig(plane, kubelet, namespace, folder)
    try:
        yield rig
    finally:
        rig.close()
        kubelet.close()
        plane.request("DELETE", f"/api/v1/namespaces/{namespace}")
