"""``longshore init``: a project from a template, with all that its first day needs.

A template is a folder of files ending in ``.tmpl`` in ``project_templates``: those of ``common`` and those of the template's
own. ``MODULE``, ``NAME`` and ``VERSION`` in their text and in their names are the project's; a name that begins with
``dot.`` begins with a dot in the project, because tools of this repository would take such files for its own.
"""

import keyword
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from longshore.errors import InvalidRequest
from longshore.version import __version__

SUFFIX = ".tmpl"
MAX_NAME = 40  # a release of the chart is called so (helm: at most 53), and its objects have endings beside it
_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
# What a module of that name would hide from the project: Longshore and what it stands on, and the project's own folders.
_TAKEN = frozenset({
    "longshore", "longshore-samples", "longshore-operator", "flask", "gunicorn", "pydantic", "orjson", "click", "rich", "yaml",
    "prometheus-client", "pytest", "ruff", "debugpy", "watchfiles", "tests", "test", "deploy",
})  # fmt: skip


class Template(StrEnum):
    """What a project begins with."""

    MINIMAL = "minimal"  # one module with a handler and an endpoint
    FLASK_APP = "flask-app"  # a package with handlers, pages, endpoints and a health check


@dataclass(frozen=True, slots=True)
class Project:
    """A project that is about to be: its folder, its name and the name of its module."""

    folder: Path
    name: str
    module: str


def named(folder: Path) -> Project:
    """The project that this folder would hold; raises InvalidRequest, which says what its name lacks."""
    name = folder.resolve().name
    module = name.replace("-", "_")
    why = _refusal(name, module)
    if why:
        raise InvalidRequest(f"{name!r} is no name for a project: {why}")
    return Project(folder, name, module)


def _refusal(name: str, module: str) -> str:
    if not _NAME.fullmatch(name):
        return "write small letters, digits and hyphens, beginning with a letter, such as my-project"
    if len(name) > MAX_NAME:
        return f"it is longer than {MAX_NAME} characters, and objects of a cluster could not be called after it"
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        return f"{module} is a word of Python, so its module could not be imported"
    if module in sys.stdlib_module_names:
        return f"its module {module} would hide the one of Python's standard library"
    if name in _TAKEN:
        return f"its module {module} would hide another of that name"
    return ""


def create(project: Project, template: Template) -> list[Path]:
    """Write the project's files; returns them, relative to its folder. Raises InvalidRequest for a folder that is not empty."""
    folder = project.folder
    if folder.exists() and not folder.is_dir():
        raise InvalidRequest(f"{folder} is a file; name a folder that does not exist, or is empty")
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidRequest(f"{folder} is not empty, and nothing is written over; name another folder")
    written = []
    root = resources.files("longshore") / "project_templates"
    for place, text in [*_files(root / "common"), *_files(root / template.value)]:
        path = Path(_filled(project, place))
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(_filled(project, text))
        written.append(path)
    return sorted(written)


def _files(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    for each in folder.iterdir():
        name = each.name.replace("dot.", ".", 1) if each.name.startswith("dot.") else each.name
        if each.is_dir():
            yield from _files(each, f"{above}{name}/")
        elif name.endswith(SUFFIX):
            yield above + name.removesuffix(SUFFIX), each.read_text("utf-8")


def _filled(project: Project, text: str) -> str:
    for word, value in (("MODULE", project.module), ("NAME", project.name), ("VERSION", __version__)):
        text = re.sub(rf"\b{word}\b|(?<=_){word}\b", value, text)
    return text
