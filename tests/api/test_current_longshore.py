"""Jobs from views and handlers of an application, by the client that knows where it runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from longshore import current_longshore
from longshore.api.tokens import digest
from service import Answer, Service

APP = """
from flask import Blueprint, g, request
from longshore import Context, current_longshore, handler

jobs = Blueprint("own", __name__)

@jobs.post("/own/submit")
def submit():
    before = (g.caller, g.request_id, request.path)
    job = current_longshore().submit(request.get_json())
    assert before == (g.caller, g.request_id, request.path), "the view's own request is as it was"
    return job

@jobs.get("/own/wait/<id>")
def wait(id):
    return current_longshore().wait(id, float(request.args.get("timeout", 20)))

@jobs.post("/own/cancel/<id>")
def cancel(id):
    client = current_longshore()
    client.cancel(id, grace_seconds=0)
    return {"phase": client.wait(id)["status"]["phase"], "listed": [job["id"] for job in client.list(handler="hold")]}

@handler
def hold():
    import time
    time.sleep(600)

@handler(timeout_seconds=60)
def parent(*, ctx: Context):
    client = current_longshore()
    key = f"{ctx.idempotency_key}/echo"
    jobs = [client.submit({"handler": "echo", "args": {"x": 1}}, key=key)["id"] for _ in range(2)]
    client.wait(jobs[0])
    return [jobs[0] == jobs[1], client.result(jobs[0])]

@handler
def endless(id: str):
    current_longshore().wait(id)
"""


def modules(folder: Path) -> dict[str, object]:
    (folder / "own_jobs.py").write_text(APP)
    return {"apps": "own_jobs,longshore_samples.echo", "path": folder}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With a caller of each role."""
    folder = tmp_path_factory.mktemp("own")
    tokens = folder / "tokens"
    tokens.write_text("".join(f"{role} {role} {digest(role)}\n" for role in ("read", "submit", "admin")))
    tokens.chmod(0o600)
    service = Service(folder / "data", {**modules(folder), "tokens_file": tokens, "token": "submit", "wait_threads": 1})
    service.start()
    yield service
    service.end()


def ask(service: Service, method: str, path: str, body: object = None, *, role: str = "submit") -> Answer:
    return service.request(method, path, body, headers={"Authorization": f"Bearer {role}"})


def test_a_view_has_the_rights_of_its_caller(guarded: Service) -> None:
    echo = {"handler": "echo", "args": {"x": 1}}
    taken = ask(guarded, "POST", "/own/submit", echo)
    assert 200 == taken.status, taken.body
    waited = ask(guarded, "GET", f"/own/wait/{taken.json()['id']}", role="read").json()
    assert "Succeeded" == waited["status"]["phase"]

    direct = ask(guarded, "POST", "/v1/jobs", echo, role="read")
    refused = ask(guarded, "POST", "/own/submit", echo, role="read")
    assert 403 == direct.status == refused.status
    assert direct.json()["detail"] == refused.json()["detail"]
    assert 401 == guarded.request("POST", "/own/submit", echo).status


@pytest.mark.parametrize(
    "body", [{"handler": "ecko"}, {"handler": "echo", "args": 3}, {"queue": "none", "handler": "echo"}, []]
)
def test_what_the_api_refuses_a_view_is_the_same_problem(guarded: Service, body: object) -> None:
    direct, through = ask(guarded, "POST", "/v1/jobs", body), ask(guarded, "POST", "/own/submit", body)

    assert 422 == direct.status == through.status
    assert direct.json()["errors"] == through.json()["errors"]
    assert direct.json()["type"] == through.json()["type"]


def test_a_view_cancels_and_lists(guarded: Service) -> None:
    id = ask(guarded, "POST", "/own/submit", {"handler": "hold"}).json()["id"]
    done = ask(guarded, "POST", f"/own/cancel/{id}")

    assert {"phase": "Cancelled", "listed": [id]} == done.json(), done.body


def test_a_view_that_cannot_wait_says_so(guarded: Service) -> None:
    later = {"handler": "echo", "startAfter": "2999-01-01T00:00:00Z"}
    id = ask(guarded, "POST", "/own/submit", later).json()["id"]
    with guarded_place(guarded, id):
        answer = ask(guarded, "GET", f"/own/wait/{id}")
        assert (503, "1") == (answer.status, answer.headers["Retry-After"])
        assert "wait_threads" in answer.json()["detail"]
    too_long = ask(guarded, "GET", f"/own/wait/{id}?timeout=31")
    assert 500 == too_long.status
    assert "a view waits 30 seconds at most" in guarded.log.read_text()
    ask(guarded, "POST", f"/v1/jobs/{id}:cancel")


class guarded_place:  # noqa: N801 - a context manager that reads as a function
    """While it lasts, another caller waits in the only place."""

    def __init__(self, service: Service, id: str) -> None:
        self._service, self._id = service, id

    def __enter__(self) -> None:
        import socket

        self._sock = socket.create_connection(("127.0.0.1", self._service.port))
        self._sock.sendall(
            f"GET /v1/jobs/{self._id}?wait=30 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer read\r\n\r\n".encode()
        )
        from conftest import eventually

        eventually(self._taken, what="a request that waits")

    def _taken(self) -> bool:
        metrics = ask(self._service, "GET", "/metrics", role="read").body.decode()
        return "longshore_waiting_requests 1.0" in metrics

    def __exit__(self, *_: object) -> None:
        self._sock.close()


def test_the_document_of_an_applications_routes_is_for_callers_alone(guarded: Service) -> None:
    whole = "/openapi.json?applications=true"
    assert [401, 200] == [guarded.request("GET", whole).status, ask(guarded, "GET", whole, role="read").status]
    assert "/own/submit" in ask(guarded, "GET", whole, role="read").json()["paths"]
    assert "/own/submit" not in guarded.request("GET", "/openapi.json").json()["paths"]


def test_a_handler_submits_with_the_token_of_its_service(guarded: Service) -> None:
    job = ask(guarded, "POST", "/v1/jobs?", {"handler": "parent"}).json()
    ended = ask(guarded, "GET", f"/own/wait/{job['id']}").json()
    assert "Succeeded" == ended["status"]["phase"], ended

    assert [True, {"x": 1}] == ask(guarded, "GET", f"/v1/jobs/{job['id']}/result").json()


def test_a_handler_that_would_wait_for_ever_is_refused(guarded: Service) -> None:
    later = {"handler": "echo", "startAfter": "2999-01-01T00:00:00Z"}
    id = ask(guarded, "POST", "/v1/jobs", later).json()["id"]
    job = ask(guarded, "POST", "/v1/jobs", {"handler": "endless", "args": {"id": id}}).json()
    ended = ask(guarded, "GET", f"/own/wait/{job['id']}").json()

    assert "Failed" == ended["status"]["phase"]
    assert "a handler that waits holds its slot" in str(ended["status"])


def test_a_service_without_tokens_needs_none(start_service: Callable[..., Service], tmp_path: Path) -> None:
    service = start_service(**modules(tmp_path), slots=2)
    client = service.client()
    job = client.submit({"handler": "parent"}, wait=20)

    assert [True, {"x": 1}] == client.result(job["id"])


def test_elsewhere_there_is_no_current_service() -> None:
    with pytest.raises(LookupError, match="no request is answered and no job runs here"):
        current_longshore()
