"""``python -m longshore.engine.source_watcher CONFIG``: says when sources or the settings file were saved.

CONFIG is a JSON object ``{"apps": [...], "settings_file": path or "", "ignore": [paths], "engine": pid, "since": seconds}``. Each
line of the standard output is a JSON list of the paths that were saved together. It is a process of its own because
watchfiles runs a thread, and the engine forks. watchfiles looks at what inotify has told 20 times a second: that is what
development mode costs when nothing happens, in this process alone.
"""

import ctypes
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from watchfiles import Change, watch

STEP_MILLISECONDS = 50  # a save is told once nothing came for so long; files of one `git checkout` are one save
MOST_MILLISECONDS = 200  # ... but after this time at the latest: a database below a root is written all the time
FIRST_LOOK_MILLISECONDS = 500
SKIPPED = frozenset({
    ".git", ".hg", ".svn", "__pycache__", "node_modules", "site-packages", ".venv", "venv", ".tox", ".nox", ".idea",
    ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis",
})  # fmt: skip
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Sources:
    """What is looked at: Python files below the roots, but for what is skipped, and one settings file."""

    roots: tuple[Path, ...]
    settings_file: Path | None = None
    ignored: tuple[Path, ...] = ()
    _skipped: frozenset[str] = field(default=SKIPPED)

    def __contains__(self, path: str) -> bool:
        """Whether a change of this file counts."""
        found = Path(path)
        if found == self.settings_file:
            return True
        if found.suffix != ".py" or any(found.is_relative_to(ignored) for ignored in self.ignored):
            return False
        # By the way from the root: a whole project may lie in a folder called venv.
        ways = [found.relative_to(root).parts for root in self.roots if found.is_relative_to(root)]
        return any(not self._skipped.intersection(way) for way in ways)

    def beside(self) -> Path | None:
        """The folder of the settings file, unless it is below a root."""
        file = self.settings_file
        return None if file is None or any(file.is_relative_to(root) for root in self.roots) else file.parent

    def saved_since(self, when: float, folders: Iterable[Path]) -> Iterator[str]:
        """Files there that were saved after this time, in seconds since the epoch."""
        for root in folders:
            for folder, below, names in os.walk(root):
                below[:] = [name for name in below if root in self.roots and name not in self._skipped]
                paths = (os.path.join(folder, name) for name in names)
                yield from (path for path in paths if path in self and _modified(path) > when)


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0  # removed meanwhile


def roots(apps: Iterable[str]) -> tuple[Path, ...]:
    """Folders that the applications are imported from, without what is installed beside the interpreter."""
    found: dict[Path, None] = {}
    for name in apps:
        spec = importlib.util.find_spec(name.partition(".")[0])
        if spec is None:
            continue
        places = [Path(place).parent for place in spec.submodule_search_locations or ()]
        if not places and spec.origin:
            places = [Path(spec.origin).parent]
        found |= dict.fromkeys(place.resolve() for place in places if not _installed(place))
    return tuple(root for root in found if not any(root != other and root.is_relative_to(other) for other in found))


def _installed(folder: Path) -> bool:
    library = Path(os.__file__).resolve().parent
    return "site-packages" in folder.parts or folder.resolve().is_relative_to(library)


def main() -> None:
    """Tell of saves until the engine goes."""
    config = orjson.loads(sys.argv[1])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != config["engine"]:
        return  # the engine died before this process could ask to die with it
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # of the terminal; the engine ends this process
    file = Path(config["settings_file"]).resolve() if config["settings_file"] else None
    sources = Sources(roots(config["apps"]), file, tuple(Path(path).resolve() for path in config["ignore"]))
    if (beside := sources.beside()) is not None:
        # That folder alone: what lies below it, such as a database, is none of ours.
        threading.Thread(target=_follow, args=([beside], sources, config["since"], False), daemon=True).start()
    if sources.roots:
        _follow(sources.roots, sources, config["since"], True)
    while True:
        signal.pause()  # nothing to look at; ending would look like a fault


def _follow(folders: Sequence[Path], sources: Sources, since: float, recursive: bool) -> None:
    def counts(_change: Change, path: str) -> bool:
        return path in sources

    late: float | None = since
    for changes in watch(
        *folders, watch_filter=counts, recursive=recursive, step=STEP_MILLISECONDS, debounce=MOST_MILLISECONDS,
        rust_timeout=FIRST_LOOK_MILLISECONDS, yield_on_timeout=True, raise_interrupt=False,
    ):  # fmt: skip
        saved = {path for _change, path in changes}
        if late is not None:  # before the system was asked, somebody may have saved already
            saved |= set(sources.saved_since(late, folders))
            late = None
        if saved:
            os.write(1, orjson.dumps(sorted(saved)[:100]) + b"\n")


if __name__ == "__main__":
    main()
