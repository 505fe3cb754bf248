"""``longshore schedules``, and schedules of the code and of the settings file, on a real service."""

import json
from collections.abc import Callable
from pathlib import Path

from command_line import NOT_FOUND, OK, Cli
from service import Service

MANIFEST = """
apiVersion: longshore.dev/v1alpha1
kind: Schedule
metadata: {name: from-a-file}
spec: {cron: "0 3 * * *", jobTemplate: {spec: {handler: echo}}}
---
{handler: echo, name: beside-it}
"""
REPORTS = """
from longshore import handler

@handler(schedule="0 3 * * *", time_zone="Europe/Berlin")
def nightly_report(days: int = 1) -> int:
    return days
"""


def test_a_manifest_of_a_schedule_is_taken_beside_jobs(longshore: Cli, tmp_path: Path) -> None:
    (tmp_path / "both.yaml").write_text(MANIFEST)
    done = longshore("submit", "-f", str(tmp_path / "both.yaml"))

    assert (OK, True) == (done.code, "beside-it" in done.out), done.err
    assert "from-a-file" in longshore.ok("schedules", "list")
    assert "is paused" in longshore.ok("schedules", "pause", "from-a-file")
    assert "Suspended" in longshore.ok("schedules", "get", "from-a-file")
    assert "next at" in longshore.ok("schedules", "resume", "from-a-file")
    assert 3 == longshore.ok("schedules", "get", "from-a-file", "--next", "3").count("next ")
    job = json.loads(longshore.ok("schedules", "trigger", "from-a-file", "-o", "json"))
    assert "from-a-file" == job["labels"]["longshore.dev/schedule"]
    longshore.ok("schedules", "delete", "from-a-file")
    gone = longshore("schedules", "get", "from-a-file")
    assert (NOT_FOUND, True) == (gone.code, "longshore schedules" in gone.err)


def test_declared_schedules_change_with_a_reload(start_service: Callable[..., Service], tmp_path: Path) -> None:
    code = tmp_path / "reports_of_the_night.py"
    code.write_text(REPORTS)
    service = start_service(path=str(tmp_path), apps="reports_of_the_night")
    longshore = Cli(service.url, tmp_path)
    longshore.ok("schedules", "pause", "nightly-report")
    code.write_text(REPORTS.replace("0 3 *", "0 4 *") + "\n# longer, so that nobody takes the compiled one\n")
    longshore.ok("reload")
    service.wait_ready()

    found = json.loads(longshore.ok("schedules", "get", "nightly-report", "-o", "json"))
    assert ("handler", "0 4 * * *", True) == (found["origin"], found["spec"]["cron"], found["spec"]["suspend"])
