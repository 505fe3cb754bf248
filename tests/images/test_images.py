"""The images hold what they should and nothing of the machine that built them."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from images.archive import Archive
from images.container import Container
from longshore.version import __version__

ROOT = Path(__file__).parents[2]
PROGRAM = Path("opt/longshore/lib/python3.11/site-packages")
ALL = ("longshore", "longshore-operator", "longshore-example")


def packages(root: Path) -> set[str]:
    """Names of the distributions that are installed."""
    return {re.split(r"-\d", path.name)[0].lower().replace("_", "-") for path in (root / PROGRAM).glob("*.dist-info")}


def locked(kind: str) -> set[str]:
    """Names that a lock pins."""
    text = (ROOT / f"requirements/{kind}.txt").read_text()
    return {name.lower().replace("_", "-") for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}


@pytest.mark.parametrize("name", ALL)
def test_what_the_image_says_of_itself(name: str, archives: dict[str, Archive]) -> None:
    config, tag = archives[name].config, archives[name].manifest["RepoTags"]
    title = "longshore-operator" if name == "longshore-operator" else "longshore"

    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == [title]
    assert config["WorkingDir"] == "/app"
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == title
    assert labels["version"] == __version__
    assert labels["revision"].startswith("dev-")
    assert labels["licenses"] == "Apache-2.0"
    assert labels["description"]
    assert labels["source"]
    assert labels["base.name"] not in ("", "unknown")
    assert tag == [f"localhost/{name}:{labels['revision']}"]


def test_the_images_hold_what_their_locks_pin(roots: dict[str, Path]) -> None:
    operator, longshore = packages(roots["longshore-operator"]), packages(roots["longshore"])

    assert {"flask", "gunicorn", "kubernetes", "pip", "setuptools", "werkzeug"} & operator == set()
    assert {"flask", "gunicorn", "kubernetes"} <= longshore
    assert {"pip", "setuptools", "kopf", "pytest"} & longshore == set()
    assert operator - {"longshore"} <= locked("operator")
    assert longshore - {"longshore"} <= locked("image")
    assert packages(roots["longshore-example"]) - longshore == {"tabulate"}


@pytest.mark.parametrize("name", ALL)
def test_all_that_is_imported_is_compiled(name: str, roots: dict[str, Path]) -> None:
    """Nothing can be written at run time, so what is not compiled is compiled again at each start."""
    for folder in (roots[name] / PROGRAM, roots[name] / "usr/lib/python3.11", roots[name] / "app"):
        sources = [path for path in folder.rglob("*.py") if not re.search(UNCOMPILED, f"/{path.relative_to(folder)}")]
        missing = [path for path in sources if not Path(importlib.util.cache_from_source(str(path))).exists()]
        assert missing == []
    assert len(list((roots[name] / PROGRAM / "longshore").rglob("*.pyc"))) > 50


# The Dockerfile says why; dist-packages and lib2to3's tests are Debian's.
UNCOMPILED = r"/kubernetes/(aio|client/api|client/models)/|/(dist-packages|test|idlelib|ensurepip|tkinter|turtledemo|lib2to3|config-[^/]*)/|__phello__|bad_coding|badsyntax"


@pytest.mark.parametrize("name", ALL)
def test_nothing_of_this_machine_is_inside(name: str, archives: dict[str, Archive], roots: dict[str, Path]) -> None:
    root = roots[name]
    of_machine = [str(ROOT), str(Path.home() / ".cache")]
    if len(socket.gethostname()) > 5:  # a shorter name is a part of too many words
        of_machine.append(socket.gethostname())
    found = subprocess.run(
        ["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    of_machine += re.findall(r"https?://([^/'\s]+)", found)
    of_machine += re.findall(r"='(/[^']+)'", found)
    if (own := os.environ.get("PIP_CERT")) and Path(own).is_file():
        last = Path(own).read_text().strip().splitlines()[-3:-1]  # of the certificate that was added last
        of_machine += [line for line in last if len(line) > 40]
    usual = {"/etc/ssl/certs/ca-certificates.crt"}  # is in every Debian
    said = str(archives[name].document)

    for text in sorted({*of_machine} - usual - {""}):
        assert text not in said
        hits = subprocess.run(
            ["grep", "-rlF", "--", text, *(str(root / part) for part in ("app", "etc", "opt", "run", "tmp", "var"))],
            capture_output=True, text=True, check=False,
        ).stdout.split()  # fmt: skip
        assert hits == [], text
    for path in ("etc/pip.conf", "root/.config", "root/.cache", "run/secrets", "etc/apt/sources.list"):
        there = root / path
        assert not there.exists() or (there.is_dir() and not any(there.rglob("*"))) or there.stat().st_size == 0, path
    for path in ("etc/hostname", "etc/hosts", "etc/resolv.conf"):
        assert not (root / path).exists() or (root / path).stat().st_size == 0, path


@pytest.mark.parametrize("name", ALL)
def test_nothing_belongs_to_the_user_or_is_open_to_all(name: str, roots: dict[str, Path]) -> None:
    """So a job cannot change the program, even where the root can be written."""
    wrong = [
        path for part in ("opt", "app") for path in (roots[name] / part).rglob("*")
        if not path.is_symlink() and (path.lstat().st_uid != 0 or path.lstat().st_mode & 0o022)
    ]  # fmt: skip

    assert wrong == []


@pytest.mark.parametrize("name", ALL)
def test_no_program_gives_rights_that_its_caller_has_not(name: str, roots: dict[str, Path]) -> None:
    """su, mount, passwd and the like, which every base brings."""
    wrong = [path for path in roots[name].rglob("*")
             if not path.is_symlink() and path.is_file() and path.lstat().st_mode & 0o6000]  # fmt: skip

    assert wrong == []


def test_the_commands_of_the_chart_are_there(container: Callable[[str], Container]) -> None:
    longshore, operator = container("longshore"), container("longshore-operator")

    assert __version__ in longshore.run("longshore", "version").stdout
    assert operator.run("longshore-operator", "--version").stdout == f"longshore-operator {__version__}\n"
    assert "--kubeconfig" in operator.run("longshore-operator", "--help").stdout
    assert longshore.run("python", "-c", "import kubernetes.client, longshore.store.kubernetes.client").returncode == 0
    assert operator.run("python", "-c", "import longshore_operator.worker_token").returncode == 0
    assert "Traceback" not in operator.run("longshore-operator").stderr
    zones = "import zoneinfo; print(zoneinfo.ZoneInfo('Europe/Berlin'))"
    assert operator.run("python", "-c", zones).stdout == "Europe/Berlin\n"
    modules = "import pkgutil, importlib, longshore_operator as o; print(len([importlib.import_module(m.name) for m in pkgutil.walk_packages(o.__path__, 'longshore_operator.') if '__main__' not in m.name]))"
    assert int(operator.run("python", "-c", modules).stdout) > 20
    assert longshore.run("longshore-operator").returncode == 127
    assert operator.run("longshore").returncode == 127


def test_the_container_of_these_tests_is_shut(container: Callable[[str], Container]) -> None:
    inside = container("longshore")
    script = "touch /app/x; touch /opt/longshore/x; touch /etc/x; id -u; grep CapEff /proc/self/status; touch /tmp/x && echo wrote"
    said = inside.run("sh", "-c", script)

    assert said.stdout.split() == ["65532", "CapEff:", "0000000000000000", "wrote"]
    assert said.stderr.count("Read-only file system") == 3


def test_hadolint_has_nothing_to_say(program: Callable[[str], None]) -> None:
    program("hadolint")
    files = [ROOT / "Dockerfile", ROOT / "manifests/examples/own-image/Dockerfile"]
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), *files], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")
