"""A real debugger, by its own protocol, on handlers and views."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dap import Editor
from service import Service, free_port

CODE = """
from flask import Blueprint

from longshore import handler

bp = Blueprint("looked_at", __name__)


@handler
def doubled(number: int) -> int:
    twice = number * 2
    return twice


@bp.get("/looked-at")
def view() -> dict[str, int]:
    answer = 42
    return {"answer": answer}
"""
HANDLER, VIEW = 12, 18  # lines, of the returns
Eventually = Callable[..., Any]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "project" / "looked_at.py"
    file.parent.mkdir()
    file.write_text(CODE)
    return file


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def service(source: Path, port: int, start_service: Callable[..., Service]) -> Service:
    return start_service(path=str(source.parent), apps="looked_at", slots=2, debugpy=f"127.0.0.1:{port}", dev=True)


def test_a_breakpoint_in_a_handler_holds_and_the_job_then_succeeds(
    service: Service, source: Path, port: int, eventually: Eventually
) -> None:
    editor = Editor(port, {source: [HANDLER]})
    eventually(lambda: len(editor.processes) >= 3, seconds=60, what="the api and two slots")
    job = service.client().submit({"handler": "doubled", "args": {"number": 21}})["id"]
    session, thread = editor.stopped()
    value = editor.variable(session, thread, "twice")
    held = service.client().get(job)["status"]["phase"]
    session.ask("continue", threadId=thread)

    assert ("42", "Running") == (value, held)
    ended = service.client().wait(job, 30)["status"]
    assert ("Succeeded", 42, 1) == (ended["phase"], ended["result"], ended["attempts"])
    again = service.client().submit({"handler": "doubled", "args": {"number": 4}})["id"]
    session, thread = editor.stopped()  # in another slot: the first was replaced
    editor.detach()  # while it holds
    assert 8 == service.client().wait(again, 30)["status"]["result"]
    assert (
        10
        == service.client().wait(service.client().submit({"handler": "doubled", "args": {"number": 5}})["id"])[
            "status"
        ]["result"]
    )


def test_a_debugger_that_dies_in_the_middle_hurts_nothing_and_another_may_come(
    service: Service, source: Path, port: int, eventually: Eventually
) -> None:
    editor = Editor(port, {source: [HANDLER]})
    eventually(lambda: len(editor.processes) >= 3, seconds=60, what="the api and two slots")
    job = service.client().submit({"handler": "doubled", "args": {"number": 1}})["id"]
    editor.stopped()
    editor.die()
    assert 2 == service.client().wait(job, 60)["status"]["result"]

    other = Editor(port, {source: [VIEW]})
    eventually(lambda: len(other.processes) >= 3, seconds=60, what="the api and two slots")
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(service.request("GET", "/looked-at", timeout=60).json()))
    asking.start()
    session, thread = other.stopped()
    value = other.variable(session, thread, "answer")
    other.detach()
    asking.join(60)

    assert ("42", [{"answer": 42}]) == (value, answers)
    assert 0 == service.stop()
