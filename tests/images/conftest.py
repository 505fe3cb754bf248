"""The images of scripts/images, unpacked, and their programs run as a node would: nobody's root, nothing to write to."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images.archive import Archive
from images.container import Container

SCRIPT = Path(__file__).parents[2] / "scripts/images"
_built = pytest.StashKey[subprocess.CompletedProcess[str]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing before the first test: it takes minutes, which no test's time limit allows for."""
    if session.config.option.collectonly:
        return
    if not any("archives" in getattr(item, "fixturenames", ()) for item in session.items):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # a person sees the progress
        session.config.stash[_built] = subprocess.run(
            [SCRIPT], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, check=False
        )


@pytest.fixture(scope="session")
def archives(pytestconfig: pytest.Config) -> dict[str, Archive]:
    """The archives by the name of their image."""
    done = pytestconfig.stash[_built]
    if done.returncode == 0:
        return {path.stem: Archive(path) for path in map(Path, done.stdout.split())}
    text = "no images for the tests: scripts/images failed and says why above"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


@pytest.fixture(scope="session")
def roots(archives: dict[str, Archive], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file systems of the images, each in a folder."""
    folder = tmp_path_factory.mktemp("roots")
    for name, archive in archives.items():
        archive.unpack(folder / name)
    return {name: folder / name for name in archives}


@pytest.fixture
def container(
    archives: dict[str, Archive], roots: dict[str, Path], tmp_path: Path
) -> Iterator[Callable[..., Container]]:
    """Makes containers of an image by its name; ends what they started."""
    made: list[Container] = []

    def make(name: str) -> Container:
        made.append(Container(archives[name], roots[name], tmp_path / f"tmp{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.end()
