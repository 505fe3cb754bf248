"""New code without a closed door."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service import SAMPLES, Service
from submit_load import Load

CODE = "from longshore import handler\n\n\n@handler\ndef which() -> int:\n    return {}\n"


@pytest.fixture
def code(tmp_path: Path) -> Callable[[str], None]:
    """Writes the application's code."""
    (tmp_path / "apps").mkdir()

    def write(value: str) -> None:
        (tmp_path / "apps" / "fresh_code.py").write_text(CODE.format(value))

    write("1")
    return write


@pytest.fixture
def service(tmp_path: Path, code: Callable[[str], None], start_service: Callable[..., Service]) -> Service:
    return start_service(path=str(tmp_path / "apps"), apps=f"{SAMPLES},worker_jobs,fresh_code", slots=2)


def which(service: Service) -> object:
    answer = service.request("POST", "/v1/jobs", {"handler": "which"}, headers={"Prefer": "wait=20"})
    return answer.json()["status"].get("result")


def boot(service: Service) -> str:
    return str(service.request("GET", "/v1/status").json()["boot"])


@pytest.fixture
def load(service: Service) -> Iterator[Load]:
    with Load(service) as found:
        yield found


def test_new_code_comes_under_load_and_no_request_fails(
    service: Service, load: Load, code: Callable[[str], None], eventually: Callable[..., Any], tmp_path: Path
) -> None:
    first, process = boot(service), service.pid
    held = service.client().submit({"handler": "held", "args": {"path": str(tmp_path / "gate")}})["id"]
    eventually(lambda: service.client().get(held)["status"]["phase"] == "Running")
    code("22")
    reloading = service.request("POST", "/v1/admin:reload")
    taken = len(load.ids)
    eventually(lambda: len(load.ids) > taken + 20, what="submits while a job runs")
    waiting = service.request("GET", f"/v1/jobs/{load.ids[-1]}").json()["status"]["phase"]
    (tmp_path / "gate").touch()
    eventually(lambda: boot(service) != first, seconds=60, what="the new service")
    taken = len(load.ids)
    eventually(lambda: len(load.ids) > taken + 20, what="submits to the new service")
    load.__exit__()

    assert (202, "Pending", process) == (reloading.status, waiting, service.pid)
    assert [] == load.wrong
    assert ("Succeeded", 1) == tuple(service.client().get(held)["status"][name] for name in ("phase", "attempts"))
    assert 22 == which(service)
    phases = {service.client().wait(id, 60)["status"]["phase"] for id in load.ids}
    assert {"Succeeded"} == phases
    assert len(set(load.ids)) == len(load.ids)
    assert (200, 0) == (service.probe("/readyz"), service.stop())


def test_new_code_that_does_not_import_is_refused_and_the_old_goes_on(
    service: Service, code: Callable[[str], None]
) -> None:
    first = boot(service)
    code("1 +")
    refused = service.request("POST", "/v1/admin:reload")

    assert (409, True) == (refused.status, "SyntaxError" in refused.json()["detail"])
    assert (first, 1) == (boot(service), which(service))
    code("3")
    service.request("POST", "/v1/admin:drain")
    assert 409 == service.request("POST", "/v1/admin:reload").status, "it takes nothing, and would have to"
    service.request("POST", "/v1/admin:undrain")
    assert 202 == service.request("POST", "/v1/admin:reload").status


@pytest.mark.parametrize(
    ("name", "route", "says"),
    [
        ("jobs", "/mine", "has a blueprint named 'jobs', which is reserved"),
        ("mine", "/v1/jobs", "wants the route /v1/jobs, which is reserved"),
    ],
)
def test_new_code_whose_routes_cannot_be_served_is_refused_and_the_old_goes_on(
    service: Service, tmp_path: Path, code: Callable[[str], None], name: str, route: str, says: str
) -> None:
    began = tmp_path / "began"
    code(
        f"2\n\nimport pathlib\nfrom longshore import on_api_start\n@on_api_start\ndef begin():\n    pathlib.Path({str(began)!r}).touch()\n"
        f"from flask import Blueprint\nbp = Blueprint({name!r}, __name__)\nbp.get({route!r})(lambda: 'mine')"
    )
    before = boot(service)
    answer = service.request("POST", "/v1/admin:reload", timeout=60)

    assert (409, True) == (answer.status, f"application 'fresh_code' {says}" in answer.json()["detail"]), answer.body
    assert (before, 1, False) == (boot(service), which(service), began.exists())


def test_a_service_that_is_told_to_stop_while_it_reloads_stops(
    service: Service, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    held = service.client().submit({"handler": "held", "args": {"path": str(tmp_path / "gate")}})["id"]
    eventually(lambda: service.client().get(held)["status"]["phase"] == "Running")
    assert 202 == service.request("POST", "/v1/admin:reload").status
    service.terminate()
    eventually(lambda: service.probe("/readyz") == 503)
    assert 503 == service.request("POST", "/v1/jobs", {"handler": "echo"}).status
    (tmp_path / "gate").touch()

    assert 0 == service.wait_end()
