"""Scripts of the project, with programs that pretend: what they do when the machine is not theirs alone."""

import os
import shutil
import subprocess
import sys
from email import message_from_string
from pathlib import Path

import pytest

from longshore.engine.serve import example

ROOT = Path(__file__).parents[2]
BUSY = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"


def programs(folder: Path, **scripts: str) -> dict[str, str]:
    """An environment that has these programs alone, beside a few plain ones."""
    folder.mkdir()
    for name in ("bash", "dirname", "env", "mktemp", "grep", "rm", "cat", "touch"):
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, text in scripts.items():
        file = folder / name.replace("_", "-")
        file.write_text(f"#!/usr/bin/env bash\n{text}\n")
        file.chmod(0o755)
    return {"PATH": str(folder)}


@pytest.mark.parametrize(("trouble", "code"), [(BUSY, 0), ("E: The repository has gone", 1)])
def test_another_apt_is_waited_for_and_no_other_trouble(tmp_path: Path, trouble: str, code: int) -> None:
    log = tmp_path / "calls"
    apt = f'echo "$@" >> {log}; case "$*" in *update*) [ -e {tmp_path}/free ] || {{ echo \'{trouble}\' >&2; exit 100; }};; esac'
    environment = programs(tmp_path / "bin", apt_get=apt, id="echo 0", sleep=f"touch {tmp_path}/free")
    done = subprocess.run(
        [ROOT / "scripts" / "system-packages"], env=environment, capture_output=True, text=True, check=False
    )

    assert code == done.returncode, done.stderr
    assert ("waiting for it" if code == 0 else trouble) in done.stderr
    assert ([2, 1] if code == 0 else [1, 0]) == [log.read_text().count(f" {verb} ") for verb in ("update", "install")]
    assert "DPkg::Lock::Timeout=600" in log.read_text()


@pytest.mark.parametrize(("words", "goals"), [([], "test"), (["lint", "PYTHON=python3.13"], "lint PYTHON=python3.13")])
def test_ci_hands_its_arguments_to_make(tmp_path: Path, words: list[str], goals: str) -> None:
    environment = programs(tmp_path / "bin", make='echo "CI=$CI $@"')
    done = subprocess.run([ROOT / ".ci" / "run", *words], env=environment, capture_output=True, text=True, check=True)

    assert f"CI=true {goals}\n" == done.stdout


def test_a_wheel_says_what_it_is() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ("import hatchling.build as b, tempfile, pathlib; d = tempfile.mkdtemp();"
         "print((pathlib.Path(d) / b.prepare_metadata_for_build_wheel(d) / 'METADATA').read_text())")],
        cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    metadata = message_from_string(done.stdout)
    classifiers = set(metadata.get_all("Classifier", []))

    assert "The Longshore authors" == metadata["Author"]
    assert "kubernetes" in metadata["Keywords"]
    assert {"Framework :: Flask", "Typing :: Typed", "Programming Language :: Python :: 3.13"} <= classifiers


@pytest.mark.parametrize(
    ("handlers", "commands", "body"),
    [
        ([], False, None),
        ([], True, '{"command": ["echo", "hello"]}'),
        ([{"name": "echo", "args": {"additionalProperties": True}}], False, '{"handler": "echo", "args": {"x": 1}}'),
        ([{"name": "hard", "args": {"required": ["n"], "properties": {"n": {"type": "integer"}}}},
          {"name": "easy", "args": {"additionalProperties": False}}], False, '{"handler": "easy"}'),
        ([{"name": "hard", "args": {"required": ["n", "text"], "properties": {"n": {"type": "integer"}}}}], False,
         '{"handler": "hard", "args": {"n": 1, "text": "text"}}'),
    ],
)  # fmt: skip
def test_the_example_of_the_ready_line_is_one_that_this_service_takes(
    handlers: list[dict[str, object]], commands: bool, body: str | None
) -> None:
    assert body == example(handlers, commands=commands)
