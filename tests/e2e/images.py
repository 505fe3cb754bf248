"""The images that the node gets, made by ``scripts/images`` from the project's Dockerfile."""

import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORKER, OPERATOR, EXAMPLE = "longshore", "longshore-operator", "longshore-example"


class Images:
    """Docker-archives by the name of their image."""

    def __init__(self, archives: list[Path]) -> None:
        self.archives = archives
        tags = [tag_of(archive) for archive in archives]
        self._tags = {tag.rpartition("/")[2].partition(":")[0]: tag for tag in tags}

    def tag(self, name: str) -> str:
        """``localhost/NAME:TAG``; KeyError when there is no image of that name."""
        return self._tags[name]

    def value(self, name: str) -> Mapping[str, str]:
        """As the chart's values name it."""
        registry, _, rest = self.tag(name).partition("/")
        repository, _, tag = rest.partition(":")
        return {"registry": registry, "repository": repository, "tag": tag}

    def values(self) -> dict[str, Any]:
        """Values of a release that takes all its images from here."""
        return {"image": self.value(WORKER), "operator": {"image": self.value(OPERATOR)}}


def make() -> "subprocess.CompletedProcess[str]":
    """Run the script; it says on standard error what it waits for, and prints the path of an archive on each line."""
    return subprocess.run([ROOT / "scripts/images"], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
                          check=False)  # fmt: skip


def read(output: str) -> Images:
    """What the script printed."""
    return Images([Path(line) for line in output.splitlines() if line])


def tag_of(archive: Path) -> str:
    """The first tag in a docker-archive."""
    with tarfile.open(archive) as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None, f"{archive} has no manifest.json"
        return str(json.load(file)[0]["RepoTags"][0])
