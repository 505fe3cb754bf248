"""A real API server for all tests of a run, and a namespace for each."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kube.api_service import ApiService
from kube.control_plane import ControlPlane
from kube.kubelet import Kubelet
from kube.marks import APPS, Marks
from kube.node import Node
from kube.operators import Rig
from kube.pool import Pool

SCRIPT = Path(__file__).parents[2] / "scripts/kube-tools"
_tools = pytest.StashKey[subprocess.CompletedProcess[str]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing before the first test: it takes minutes, which no test's time limit allows for."""
    if session.config.option.collectonly:
        return
    if not any("kube_tools" in getattr(item, "fixturenames", ()) for item in session.items):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # a person sees the progress
        session.config.stash[_tools] = _find_tools()


def _find_tools() -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, check=False)


@pytest.fixture(scope="session")
def kube_tools(pytestconfig: pytest.Config) -> Path:
    """The folder with etcd, kube-apiserver, kubectl and, unless KUBEBUILDER_ASSETS is set, kube-controller-manager."""
    done = pytestconfig.stash.get(_tools, None) or _find_tools()  # a test may ask for it by getfixturevalue
    if done.returncode == 0:
        return Path(done.stdout.strip())
    text = "no Kubernetes programs for the tests: scripts/kube-tools failed and says why above"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


@pytest.fixture(scope="session")
def control_plane(kube_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One cluster API for tests that leave it as they found it; with controllers when there are any."""
    controllers = (kube_tools / "kube-controller-manager").exists()
    plane = ControlPlane(kube_tools, tmp_path_factory.mktemp("cluster"), controllers=controllers)
    plane.start()
    yield plane
    plane.stop()


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """It, with our resource definitions."""
    control_plane.install_crds()
    return control_plane


@pytest.fixture(scope="module")
def api(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiService]:
    """One api for tests that use names of their own."""
    namespace = cluster.make_namespace()
    service = ApiService(tmp_path_factory.mktemp("api"), cluster, namespace)
    service.start()
    yield service
    service.end()
    cluster.request("DELETE", f"/api/v1/namespaces/{namespace}")


@pytest.fixture
def own_control_plane(kube_tools: Path, tmp_path: Path) -> Iterator[ControlPlane]:
    """A cluster API for one test alone, which may do to it what it likes; without controllers, started."""
    plane = ControlPlane(kube_tools, tmp_path / "cluster")
    plane.start()
    yield plane
    plane.stop()


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace, in which pods may be made."""
    name = control_plane.make_namespace()
    yield name
    # Not awaited: with controllers it empties itself meanwhile, and nobody uses the name again.
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def kubelet(control_plane: ControlPlane) -> Iterator[Kubelet]:
    """A node for pods of processes that the test runs itself."""
    kubelet = Kubelet(control_plane)
    yield kubelet
    kubelet.close()


@pytest.fixture
def rig(cluster: ControlPlane, kubelet: Kubelet, namespace: str, tmp_path: Path) -> Iterator[Rig]:
    """Operators and workers for one test."""
    rig = Rig(cluster, kubelet, namespace, tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def pool(cluster: ControlPlane, kubelet: Kubelet, namespace: str, tmp_path: Path) -> Iterator[Pool]:
    """A pool of real workers under the real controllers."""
    if not cluster.controllers:
        pytest.skip("KUBEBUILDER_ASSETS has no kube-controller-manager, which makes pods for Deployments")
    pool = Pool(cluster, kubelet, namespace, tmp_path)
    pool.node = Node(cluster, namespace, tmp_path / "pods", apps=APPS)
    yield pool
    pool.close()
    pool.node.close()


@pytest.fixture
def own_rig(own_control_plane: ControlPlane, tmp_path: Path) -> Iterator[Rig]:
    """With an API server that the test may kill."""
    own_control_plane.install_crds()
    rig = Rig(own_control_plane, Kubelet(own_control_plane), own_control_plane.make_namespace(), tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    """Of one test."""
    return Marks(tmp_path)
