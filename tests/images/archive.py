"""A docker-archive as tests look at it: its configuration, and its files unpacked."""

import json
import tarfile
from pathlib import Path
from typing import Any


class Archive:
    """One image."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with tarfile.open(path) as archive:
            (self.manifest,) = self._json(archive, "manifest.json")
            self.document: dict[str, Any] = self._json(archive, self.manifest["Config"])
        self.config: dict[str, Any] = self.document["config"]

    @staticmethod
    def _json(archive: tarfile.TarFile, name: str) -> Any:
        found = archive.extractfile(name)
        assert found is not None
        return json.load(found)

    @property
    def environment(self) -> dict[str, str]:
        """What its processes get."""
        return dict(entry.split("=", 1) for entry in self.config["Env"])

    def unpack(self, root: Path) -> None:
        """All layers into a folder, as root. None of our images takes a file of a lower layer away."""
        with tarfile.open(self.path) as archive:
            for name in self.manifest["Layers"]:
                found = archive.extractfile(name)
                assert found is not None
                with tarfile.open(fileobj=found) as layer:
                    assert not [member.name for member in layer if Path(member.name).name.startswith(".wh.")]
                    layer.extractall(root, filter="fully_trusted")
