"""`longshore init`: the project that it makes works as it is."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from longshore.errors import InvalidRequest
from longshore.project import Template, create, named
from service import Service

RUFF = Path(sys.executable).with_name("ruff")


def longshore(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-m", "longshore", *arguments], cwd=cwd, env=environment, capture_output=True,
                          text=True, timeout=60, check=False)  # fmt: skip


@pytest.mark.parametrize("template", [each.value for each in Template])
def test_the_project_passes_its_own_tests_and_serves(
    template: str, tmp_path: Path, start_service: Callable[..., Service]
) -> None:
    made = longshore("init", "my-project", "--template", template, cwd=tmp_path)
    project = tmp_path / "my-project"

    assert 0 == made.returncode, made.stderr
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(tests, cwd=project, capture_output=True, text=True, timeout=100, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    service = start_service(path=str(project), config=str(project / "longshore.toml"), apps="my_project", slots=1)
    answer = service.request(
        "POST", "/v1/jobs", {"handler": "greet", "args": {"name": "Ada"}}, headers={"Prefer": "wait=20"}
    )
    assert {"greeting": "Hello, Ada!"} == answer.json()["status"]["result"]
    assert {"hello": "world"} == service.request("GET", "/my_project/hello").json()


@pytest.mark.parametrize("template", [each.value for each in Template])
def test_the_style_of_a_project_does_not_depend_on_its_name(template: str, tmp_path: Path) -> None:
    for name in ("a", "a" * 40, "z-9"):
        create(named(tmp_path / name), Template(template))
        for command in ("check", "format"):
            line = [RUFF, command, "--no-cache", *(["--diff"] if command == "format" else [])]
            done = subprocess.run([*line, "."], cwd=tmp_path / name, capture_output=True, text=True, check=False)
            assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("template", [each.value for each in Template])
def test_its_other_files_are_whole(template: str, tmp_path: Path) -> None:
    assert 0 == longshore("init", "shop", "--template", template, cwd=tmp_path).returncode
    project = tmp_path / "shop"
    files = {str(path.relative_to(project)): path.read_text() for path in project.rglob("*") if path.is_file()}

    assert 5678 == json.loads(files[".vscode/launch.json"])["configurations"][0]["connect"]["port"]
    assert ["shop"] == yaml.safe_load(files["deploy/values.yaml"])["pools"]["default"]["apps"]
    assert "make test" in str(yaml.safe_load(files[".github/workflows/ci.yml"]))
    assert "FROM ${BASE_IMAGE}" in files["Dockerfile"]
    assert [] == [name for name, text in files.items() if {"MODULE", "VERSION"} & set(text.replace("/", " ").split())]
    targets = subprocess.run(["make", "help"], cwd=project, capture_output=True, text=True, check=True).stdout
    assert {"run", "test", "debug"} <= {line.split()[0] for line in targets.splitlines()}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My-Project", "small letters"), ("1st", "small letters"), ("a_b", "small letters"), ("-x", "small letters"), ("x-", "small letters"),
        ("über", "small letters"), ("class", "a word of Python"), ("match", "a word of Python"), ("json", "standard library"),
        ("flask", "another of that name"), ("a" * 41, "longer than 40"),
    ],
)  # fmt: skip
def test_a_name_that_is_none_is_refused_and_said_why(name: str, said: str, tmp_path: Path) -> None:
    done = longshore("init", "--", name, cwd=tmp_path)

    assert (1, True) == (done.returncode, said in done.stderr), done.stderr
    assert [] == list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "Makefile").write_text("mine")
    (tmp_path / "file").write_text("mine")

    assert "is not empty" in longshore("init", "taken", cwd=tmp_path).stderr
    assert "is a file" in longshore("init", "file", cwd=tmp_path).stderr
    assert ["Makefile"] == [path.name for path in (tmp_path / "taken").iterdir()]
    (tmp_path / "empty").mkdir()
    assert 0 == longshore("init", "empty", cwd=tmp_path).returncode


@given(st.text(max_size=70))
def test_a_name_that_is_taken_can_be_imported(name: str) -> None:
    try:
        project = named(Path("/projects") / name.replace("/", "").replace("\0", ""))
    except InvalidRequest:
        return
    assert project.module.isidentifier()
    assert project.module not in sys.stdlib_module_names
