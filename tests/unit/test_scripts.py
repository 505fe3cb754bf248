"""What a shell evaluates comes alone on standard output, on a fresh clone too."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Stands for every program that sets up: each says something, as the real ones may, and none does anything.
NOISY = """#!/bin/bash
echo "noise of $0 $*"
if [ "$1 $2" = "-m venv" ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi
case "$1 $2" in
  "-c ") [[ $0 != .venv/* ]] || [ -f .venv/done ] || exit 1 ;;
  "-m pip") if [ "$3" = --version ]; then exit 1; fi; touch .venv/done ;;
esac
"""


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A clone in which nothing was set up, where python3, apt-get and what is to be installed are stand-ins."""
    clone = tmp_path / "clone"
    for path in ("scripts", "requirements"):
        shutil.copytree(ROOT / path, clone / path)
    for path in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / path, clone / path)
    (clone / "tests").mkdir()
    (clone / "tests/system-packages.txt").write_text("no-such-program package for the test\n")
    (tmp_path / "bin").mkdir()
    for name in ("python3", "apt-get"):
        (tmp_path / "bin" / name).write_text(NOISY)
        (tmp_path / "bin" / name).chmod(0o755)
    return clone


def test_make_cluster_prints_what_a_shell_evaluates_and_nothing_else(fresh: Path) -> None:
    path = f"{fresh.parent / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", "make -s setup-dev system 3>&1"], cwd=fresh, env={"PATH": path, "HOME": str(fresh)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (0, "") == (done.returncode, done.stdout), done.stderr
    assert "setup: installing" in done.stderr
    assert "system: " in done.stderr
    assert "noise of" in done.stderr


def test_another_python_gets_an_environment_of_its_own(fresh: Path) -> None:
    other = fresh.parent / "bin" / "python-next"
    other.write_text(
        NOISY.replace('echo "noise', 'if [ "$1" = --version ]; then echo "Python 3.12.9"; exit; fi\necho "noise', 1)
    )
    other.chmod(0o755)
    environment = {"PATH": f"{fresh.parent / 'bin'}:/usr/local/bin:/usr/bin:/bin", "HOME": str(fresh)}

    def make(*words: str) -> str:
        done = subprocess.run(
            ["make", "-s", "setup-dev", *words], cwd=fresh, env=environment, capture_output=True, text=True, timeout=60, check=False
        )  # fmt: skip
        return done.stderr

    assert "setup: making .venv" in make()
    first = (fresh / ".venv/bin/python").read_text()
    assert "setup: making .venv with Python 3.12.9" in make("PYTHON=python-next")
    assert first != (fresh / ".venv/bin/python").read_text()
    assert "PYTHON=/bin/false is none of them" in make("PYTHON=/bin/false")
