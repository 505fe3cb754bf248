"""Development mode: what is saved runs, and what does not import stops nothing."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service import Service, command_line
from submit_load import Load

CODE = """
from flask import Blueprint

from longshore import handler

bp = Blueprint("fresh", __name__)


@bp.get("/fresh")
def fresh() -> dict[str, int]:
    return {{"value": {0}}}


@handler
def which() -> int:
    return {0}
"""
STEADY = """
import time
from pathlib import Path

from longshore import handler


@handler
def echo() -> str:
    return "heard"


@handler
def held(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.02)


@handler
def broken() -> None:
    raise ValueError("no")
"""
Eventually = Callable[..., Any]


class Project:
    """A folder with the code of an application, saved as editors do."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "fresh_code.py"
        folder.mkdir()
        # Beside it, and not Longshore's own samples: an editable install of those is watched, too.
        (folder / "steady_code.py").write_text(STEADY)

    def save(self, text: str) -> None:
        """In place."""
        self.file.write_text(text)

    def save_by_rename(self, text: str) -> None:
        """Beside, and then in its place, as vim and VS Code do."""
        beside = self.file.with_name(".fresh_code.py.swp")
        beside.write_text(text)
        beside.rename(self.file)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = Project(tmp_path / "project")
    found.save(CODE.format(1))
    return found


@pytest.fixture
def service(tmp_path: Path, project: Project, start_service: Callable[..., Service]) -> Service:
    settings = tmp_path / "longshore.toml"
    settings.write_text("max_pending = 1000\n")
    return start_service(
        path=str(project.file.parent), apps="steady_code,fresh_code", slots=2, dev=True, config=str(settings)
    )


def told(service: Service, action: str) -> list[dict[str, Any]]:
    """Lines of the service's log."""
    lines = [line for line in service.log.read_text().splitlines() if line.startswith('{"time"')]
    return [found for line in lines if (found := json.loads(line))["action"] == action]


def ends(service: Service, load: Load, eventually: Eventually) -> set[tuple[str, int]]:
    """How the jobs of the load have ended, and in how many attempts."""

    def counts() -> dict[str, int]:
        return service.request("GET", "/v1/status").json()["jobs"]  # type: ignore[no-any-return]

    eventually(lambda: counts()["Pending"] + counts()["Running"] == 0, seconds=60)
    found = {
        job["id"]: (job["status"]["phase"], job["status"]["attempts"]) for job in service.client().list(limit=1000)
    }
    return {found.get(id, ("lost", 0)) for id in load.ids}


def events_of(service: Service, id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.request("GET", f"/v1/jobs/{id}/events").json()["items"]
    return found


def which(service: Service, name: str = "which") -> Any:
    answer = service.request("POST", "/v1/jobs", {"handler": name}, headers={"Prefer": "wait=20"})
    return answer.json()["status"].get("result")


def test_saved_code_runs_while_a_job_runs_and_under_load(
    service: Service, project: Project, eventually: Eventually, tmp_path: Path
) -> None:
    held = service.client().submit({"handler": "held", "args": {"path": str(tmp_path / "gate")}})["id"]
    eventually(lambda: service.client().get(held)["status"]["phase"] == "Running")
    with Load(service, pause=0.2) as load:
        for value in range(2, 5):
            (project.save if value % 2 else project.save_by_rename)(CODE.format(value))
            eventually(lambda: service.request("GET", "/fresh").json()["value"] == value, what="the route")  # noqa: B023
            eventually(lambda: which(service) == value, what="the handler")  # noqa: B023
    still = service.client().get(held)["status"]
    (tmp_path / "gate").touch()

    assert [] == load.wrong
    assert ("Running", 1) == (still["phase"], still["attempts"])
    assert ("Succeeded", 1) == tuple(service.client().wait(held, 60)["status"][name] for name in ("phase", "attempts"))
    assert {("Succeeded", 1)} == ends(service, load, eventually)
    assert 0 == service.stop()


def test_a_burst_of_saves_ends_with_the_last(service: Service, project: Project, eventually: Eventually) -> None:
    """Two saves in one second, of one size: bytecode tells them apart by neither."""
    with Load(service, pause=0.2) as load:
        for value in range(10, 60):
            project.save(CODE.format(value)[:-20])  # the first half of a save
            project.save(CODE.format(value))
            time.sleep(0.01)
        eventually(lambda: which(service) == 59, what="the last save")

    assert [] == load.wrong
    assert {("Succeeded", 1)} == ends(service, load, eventually)
    assert len(told(service, "reloaded")) < 25


def test_code_that_does_not_import_leaves_the_old_in_force_and_says_so_in_the_job(
    service: Service, project: Project, eventually: Eventually
) -> None:
    project.save("import nowhere_to_be_found\n" + CODE.format(2))
    eventually(lambda: told(service, "reload_failed"), what="the refusal")
    job = service.client().wait(service.client().submit({"handler": "which"})["id"], 20)
    events = {event["type"]: event["data"] for event in events_of(service, job["id"])}
    output = service.request("GET", f"/v1/jobs/{job['id']}/logs").body.decode()

    assert ("Succeeded", 1) == (job["status"]["phase"], job["status"]["result"])
    for text in (told(service, "reload_failed")[0]["detail"], events["code-outdated"]["message"], output):
        assert "ModuleNotFoundError: No module named 'nowhere_to_be_found'" in text
        assert 'fresh_code.py", line 1' in text
    project.save("def broken(:\n")
    eventually(lambda: len(told(service, "reload_failed")) > 1, what="the second refusal")
    assert "def broken(:\n" in told(service, "reload_failed")[1]["detail"]
    project.save(CODE.format(3))
    eventually(lambda: which(service) == 3)
    fresh = service.client().wait(service.client().submit({"handler": "which"})["id"], 20)["id"]
    assert ["submitted", "started", "succeeded"] == [event["type"] for event in events_of(service, fresh)]


def test_jobs_of_a_handler_that_was_removed_wait_until_it_is_back(
    service: Service, project: Project, eventually: Eventually, tmp_path: Path
) -> None:
    gates = [service.client().submit({"handler": "held", "args": {"path": str(tmp_path / "gate")}}) for _ in range(2)]
    eventually(lambda: all(service.client().get(job["id"])["status"]["phase"] == "Running" for job in gates))
    waiting = service.client().submit({"handler": "which"})["id"]
    project.save(CODE.format(2).replace("def which", "def another"))
    eventually(lambda: told(service, "reloaded"))
    (tmp_path / "gate").touch()
    assert 2 == which(service, "another")
    explained = service.request("GET", f"/v1/jobs/{waiting}/explain").json()
    project.save(CODE.format(4))

    assert "UnknownHandler" == explained["reason"]
    ended = service.client().wait(waiting, 30)["status"]
    assert ("Succeeded", 4, 1) == (ended["phase"], ended["result"], ended["attempts"])


def test_settings_that_were_saved_hold_and_wrong_ones_do_not(
    service: Service, eventually: Eventually, tmp_path: Path
) -> None:
    file, process = tmp_path / "longshore.toml", service.pid
    file.write_text("max_pending = 'many'\n")
    eventually(lambda: told(service, "reload_failed"))
    assert "max_pending" in told(service, "reload_failed")[0]["detail"]
    file.write_text("max_pending = 1234\n")
    eventually(lambda: service.request("GET", "/v1/status").json()["waiting"]["max"] == 1234)

    assert (process, 1) == (service.pid, which(service))


def test_a_failed_job_has_its_traceback_in_its_status(service: Service) -> None:
    job = service.client().submit({"handler": "broken"})["id"]

    assert "Traceback (most recent call last)" in service.client().wait(job, 20)["status"]["logTail"]


def test_other_files_reload_nothing_and_a_watcher_that_dies_comes_back(
    service: Service, project: Project, eventually: Eventually
) -> None:
    for name in (".git/hook.py", "__pycache__/x.py", "venv/lib/y.py", "notes.txt", ".fresh_code.py.swp"):
        path = project.file.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    watchers = service.child("source_watcher")
    os.kill(watchers[0], 9)
    eventually(lambda: set(service.child("source_watcher")) - set(watchers), what="another watcher")
    project.save(CODE.format(5))
    eventually(lambda: which(service) == 5)

    assert 1 == len(told(service, "reloaded"))
    assert 0 == service.stop()
    assert [] == [pid for pid in watchers if "source_watcher" in command_line(pid)]
