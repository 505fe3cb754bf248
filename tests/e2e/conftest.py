"""One real node for all tests of a run."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import images
from e2e.ground import claim, missing
from e2e.images import ROOT, Images
from e2e.node import Node
from e2e.release import Release

_made = pytest.StashKey[dict[str, subprocess.CompletedProcess[str]]]()
SECONDS = 300  # a test starts pods, and the first one the node


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these may take longer than a test of one process."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SECONDS))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing before the first test: it takes minutes, which no test's time limit allows for."""
    if session.config.option.collectonly or missing():
        return
    if not any("node" in getattr(item, "fixturenames", ()) for item in session.items):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # a person sees the progress
        tools = subprocess.run([ROOT / "scripts/kube-tools", "--node"], stdout=subprocess.PIPE, text=True, check=False)
        session.config.stash[_made] = {"scripts/kube-tools --node": tools, "scripts/images": images.make()}


def _without(reason: str) -> None:
    text = f"no real node: {reason}"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


@pytest.fixture(scope="session")
def made(pytestconfig: pytest.Config) -> tuple[Path, Images]:
    """The folder of programs, and the images."""
    if reason := missing():
        _without(reason)
    done = pytestconfig.stash[_made]
    for script, process in done.items():
        if process.returncode:
            _without(f"{script} failed and says why above")
    programs, archives = done.values()
    return Path(programs.stdout.strip()), images.read(archives.stdout)


@pytest.fixture(scope="session")
def node(made: tuple[Path, Images]) -> Iterator[Node]:
    """A node that has the project's images."""
    programs, images = made
    node = Node(programs, claim())
    try:
        node.start(images.archives)
        yield node
    finally:
        node.stop()
        node.ground.unlock()


@pytest.fixture(scope="session")
def node_images(made: tuple[Path, Images]) -> Images:
    """Those that the node has."""
    return made[1]


@pytest.fixture(scope="module")
def release(node: Node, node_images: Images) -> Iterator[Release]:
    """The chart with its defaults, in a namespace of its own that enforces `restricted`; shared by a module."""
    release = Release(node, node_images, "ls", node.make_restricted_namespace())
    node.remove_crds()
    release.install()
    yield release
    release.uninstall()
