"""SIGUSR1 and SIGUSR2: the log says more, and less again, while the service runs."""

import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longshore.api import lines
from longshore.settings import Settings
from service import Service


def said(service: Service, action: str) -> list[dict[str, Any]]:
    """Lines of the log under that name."""
    found = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in found if line["action"] == action]


@pytest.mark.parametrize("access_log", ["errors", "off"])
def test_two_signals_switch_debug_lines_on_and_off_in_every_process(
    start_service: Callable[..., Service], eventually: Callable[..., Any], access_log: str
) -> None:
    service = start_service(log_level="warning", access_log=access_log)
    client = service.client()
    client.submit({"handler": "echo", "args": {"x": 1}}, wait=10)
    assert not said(service, "attempt_started")

    def look(path: str) -> list[dict[str, Any]]:
        service.request("GET", path)
        return [line for line in said(service, "request") if line["path"] == path]

    os.kill(service.pid, signal.SIGUSR1)
    refused = eventually(lambda: look("/v1/jobs/nobody"), what="a line of the api")
    job = client.submit({"handler": "echo", "args": {"x": 1}}, wait=10)

    assert "nobody" in refused[-1]["detail"]
    assert ("not-found", "anonymous", "127.0.0.1") == tuple(refused[-1][name] for name in ("code", "caller", "from"))
    assert {"now": "debug", "configured": "warning"}.items() <= said(service, "log_level")[-1].items()
    started, ended = (said(service, f"attempt_{word}") for word in ("started", "ended"))
    assert [(job["id"], job["id"], "succeeded")] == [
        (one["job"], other["job"], other["outcome"]) for one, other in zip(started, ended, strict=True)
    ]
    posted = eventually(lambda: [line for line in said(service, "request") if line["method"] == "POST"])
    assert ("debug", 200) == (posted[-1]["level"], posted[-1]["status"])

    os.kill(service.child("gunicorn")[0], signal.SIGKILL)
    eventually(lambda: said(service, "api_died"), what="another api process")
    service.wait_ready()
    eventually(lambda: look("/v1/handlers"), what="the level of before in another api process")

    os.kill(service.pid, signal.SIGUSR2)
    eventually(lambda: said(service, "log_level")[-1]["now"] == "warning", what="the way back")
    eventually(lambda: len(look("/v1/queues")) == len(look("/v1/queues")), what="a silent api")
    client.submit({"handler": "echo", "args": {"x": 1}}, wait=10)
    assert 1 == len(said(service, "attempt_started"))
    assert 0 == service.stop()


def test_a_signal_in_the_first_moment_of_the_api_process_does_not_end_it(
    tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    (tmp_path / "slow_to_come.py").write_text(
        "import pathlib, sys, time\n"
        f"gate = pathlib.Path({str(tmp_path / 'gate')!r})\n"
        f"pathlib.Path({str(tmp_path / 'there')!r}).touch()\n"
        "while 'gunicorn' in sys.modules and not gate.exists():\n    time.sleep(0.02)\n"
    )
    service = Service(tmp_path / "data", {"path": tmp_path, "apps": "slow_to_come,longshore_samples.echo"})
    service.start(ready=False)
    try:
        eventually((tmp_path / "there").exists, what="an import")
        eventually(lambda: service.probe("/livez") == 200, what="an engine")
        for number, level in ((signal.SIGUSR2, "info"), (signal.SIGUSR1, "debug")):
            for _ in range(20):
                os.kill(service.pid, number)
            eventually(lambda level=level: [1 for line in said(service, "log_level") if line["now"] == level])
        (tmp_path / "gate").touch()
        service.wait_ready()

        service.request("GET", "/v1/handlers")
        eventually(lambda: [1 for line in said(service, "request") if line["path"] == "/v1/handlers"], what="its line")
        assert not said(service, "api_died")
    finally:
        service.end()


def test_what_libraries_say_of_answers_with_tokens_is_never_logged() -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    try:
        lines.set_up(Settings())
        lines.set_level("debug")
        heard = [logging.getLogger(name).isEnabledFor(logging.DEBUG)
                 for name in ("an_application", "kubernetes.client.rest", "urllib3.connectionpool")]  # fmt: skip
    finally:
        logging.captureWarnings(False)
        root.setLevel(before[0])
        root.handlers[:] = before[1]
    assert [True, False, False] == heard
