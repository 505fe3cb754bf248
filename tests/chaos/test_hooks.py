"""What applications do when a process of the service begins and ends, and how one that hangs or raises is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service import Service

APP = """
import os, pathlib, time
from longshore import handler, on_api_start, on_api_stop, on_slot_start, on_slot_stop, on_template_start

LOG = pathlib.Path(__file__).with_name("log")

def note(text):
    with LOG.open("a") as log:
        print(text, os.getpid(), file=log)

model = []

@on_template_start
def read_model():
    model.append("read")
    note("template 1")

@on_template_start
def second():
    note("template 2")

@on_api_start
def open_views():
    note("api 1")

@on_api_start
def open_more():
    note("api 2")

@on_api_stop
def close_views():
    note("api 1 ends")

@on_api_stop
def close_more():
    note("api 2 ends")
    raise RuntimeError("and the others get their turn")

@on_slot_start
def connect():
    note("slot")

@on_slot_stop
def leave():
    note("slot ends")

@handler
def show():
    return [model, os.getppid() != os.getpid()]
"""


def test_hooks_run_once_for_each_process_in_their_order(start_service: Callable[..., Service], tmp_path: Path) -> None:
    (tmp_path / "hooked_app.py").write_text(APP)
    service = start_service(apps="hooked_app", path=tmp_path, slots=1)
    client = service.client()
    done = client.submit({"handler": "show"}, wait=20)
    assert [["read"], True] == client.result(done["id"])
    service.stop()

    lines = [line.rpartition(" ") for line in (tmp_path / "log").read_text().splitlines()]
    template = [text for text, _, _ in lines if text.startswith(("template", "slot"))]
    api = [text for text, _, _ in lines if text.startswith("api")]
    assert ["template 1", "template 2", "slot", "slot ends"] == template
    assert ["api 1", "api 2", "api 2 ends", "api 1 ends"] == api
    pids = {
        text.split()[0]: {pid for other, _, pid in lines if other.split()[0] == text.split()[0]} for text, _, _ in lines
    }
    assert [1, 1, 1] == [len(found) for found in pids.values()]
    assert 3 == len(set().union(*pids.values()))
    assert "@on_api_stop close_more of hooked_app failed" in service.log.read_text()


@pytest.mark.parametrize("kind", ["on_template_start", "on_api_start"])
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise RuntimeError('no model')", "raised RuntimeError: no model"),
        ("raise SystemExit", "raised SystemExit: "),
        ("import time; time.sleep(600)", "is not done within the 0.5 seconds"),
        ("import threading; threading.Lock().acquire() and threading.Event().wait()", "is not done within the 0.5 seconds"),
    ],
)  # fmt: skip
def test_a_start_hook_that_hangs_or_raises_stops_the_start_by_its_name(
    tmp_path: Path, kind: str, body: str, says: str
) -> None:
    (tmp_path / "hooked_app.py").write_text(f"from longshore import {kind}\n@{kind}\ndef mine():\n    {body}\n")
    service = Service(tmp_path / "data", {"apps": "hooked_app", "path": tmp_path, "slots": 1, "hook_seconds": 0.5})
    service.start(ready=False)

    assert 1 == service.wait_end(30)
    text = service.log.read_text()
    assert 1 == text.count(f"longshore: @{kind} mine of hooked_app {says}"), text
    assert "Traceback" not in text


def test_a_slot_hook_that_hangs_is_named_in_the_log(tmp_path: Path, eventually: Callable[..., object]) -> None:
    (tmp_path / "hooked_app.py").write_text(
        "import time\nfrom longshore import on_slot_start\n@on_slot_start\ndef mine():\n    time.sleep(600)\n"
    )
    service = Service(tmp_path / "data", {"apps": "hooked_app", "path": tmp_path, "slots": 1, "hook_seconds": 0.2})
    service.start(ready=False)
    says = "@on_slot_start mine of hooked_app is not done within the 0.2 seconds"
    eventually(lambda: says in service.log.read_text(), what="a line of the log")
    service.end()
