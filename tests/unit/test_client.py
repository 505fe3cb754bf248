"""The client against a small real server that answers as it is told to."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from longshore.client import MAX_BATCH, ApiError, Client, ClientError, ServiceUnreachable

JOB: dict[str, Any] = {"id": "a", "status": {"phase": "Succeeded"}}
Play = Callable[["Stage"], None]


class Stage(BaseHTTPRequestHandler):
    """Plays what the script says, one scene per request; the last goes on for ever."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def _play(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, dict(self.headers), body, self.client_address[1]))
        scene = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        scene(self)

    do_GET = do_POST = do_PATCH = do_DELETE = _play  # noqa: N815 - the names that http.server looks for

    def say(self, status: int, value: object = None, **headers: str) -> None:
        """Answer with JSON, or with nothing."""
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server with a script."""

    def __init__(self, *script: Play, port: int = 0) -> None:
        self.script, self.seen = list(script), list[tuple[str, str, dict[str, str], bytes, int]]()
        super().__init__(("127.0.0.1", port), Stage)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def headers(self, name: str) -> list[str | None]:
        """A header of all requests."""
        return [seen[2].get(name) for seen in self.seen]

    def end(self) -> None:
        """Stop; the connections end when the clients close theirs."""
        self.shutdown()
        self.server_close()
        self._thread.join()


@pytest.fixture
def stage() -> Iterator[Callable[..., tuple[Server, Client]]]:
    """Starts a server with a script and a client for it; ends both."""
    servers: list[Server] = []
    clients: list[Client] = []

    def start(*script: Play, **options: Any) -> tuple[Server, Client]:
        servers.append(Server(*script))
        clients.append(Client(servers[-1].url, **options))
        return servers[-1], clients[-1]

    yield start
    for client in clients:
        client.close()
    for server in servers:
        server.end()


def good(scene: Stage) -> None:
    scene.say(200, JOB)


def busy(scene: Stage) -> None:
    scene.say(503, {"type": "/problems/queue-full", "detail": "full"}, Retry_After="1")


def busy_without_a_word(scene: Stage) -> None:
    scene.say(503)


def drops(scene: Stage) -> None:
    """Close without an answer, as a killed service does."""
    scene.close_connection = True


def closes_after(scene: Stage) -> None:
    """Answer, promise to keep the connection, and close it."""
    scene.say(200, JOB)
    scene.close_connection = True


def refuses(scene: Stage) -> None:
    problem = {"type": "/problems/invalid", "title": "Invalid", "detail": "the job is wrong", "status": 422,
               "errors": [{"pointer": "/args/x", "detail": "too big"}]}  # fmt: skip
    scene.say(422, problem)


Start = Callable[..., tuple[Server, Client]]


# -- patience ----------------------------------------------------------------------------------------------------------


def test_nobody_there_is_said_at_once_without_patience() -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Client(url) as client, pytest.raises(ServiceUnreachable, match=f"nobody answers at {url}"):
            client.get("a")


def test_patience_outlasts_a_service_that_is_away() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    servers: list[Server] = []
    later = threading.Timer(0.5, lambda: servers.append(Server(good, port=port)))
    later.start()
    with Client(f"http://127.0.0.1:{port}", patience=20) as client:
        assert JOB == client.get("a")
    later.join()
    servers[0].end()


def test_patience_ends() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        began = time.monotonic()
        with (
            Client(f"http://127.0.0.1:{taken.getsockname()[1]}", patience=0.5) as client,
            pytest.raises(ServiceUnreachable),
        ):
            client.get("a")

    assert 0.15 < time.monotonic() - began


def test_a_busy_service_is_asked_again_when_it_said(stage: Start) -> None:
    server, client = stage(busy, good, patience=20)
    began = time.monotonic()

    assert JOB == client.get("a")
    assert 2 == len(server.seen)
    assert 0.95 < time.monotonic() - began, "Retry-After was heeded"


def test_a_busy_service_that_names_no_time_is_asked_again_soon(stage: Start) -> None:
    server, client = stage(busy_without_a_word, busy_without_a_word, good, patience=20)

    assert JOB == client.get("a")
    assert 3 == len(server.seen)


def test_a_busy_service_is_an_error_without_patience(stage: Start) -> None:
    server, client = stage(busy)

    with pytest.raises(ApiError, match="full") as caught:
        client.get("a")
    assert (503, "queue-full", 1.0, 1) == (
        caught.value.status, caught.value.code, caught.value.retry_after, len(server.seen))  # fmt: skip


def test_a_refusal_is_never_tried_again(stage: Start) -> None:
    server, client = stage(refuses, patience=20)

    with pytest.raises(ApiError):
        client.submit({"handler": "echo"})
    assert 1 == len(server.seen)


# -- connections -------------------------------------------------------------------------------------------------------


def test_a_connection_is_kept(stage: Start) -> None:
    server, client = stage(good)
    for _ in range(3):
        client.get("a")

    assert 1 == len({seen[4] for seen in server.seen})


def test_a_kept_connection_that_was_closed_meanwhile_is_no_error(stage: Start) -> None:
    server, client = stage(closes_after)

    assert [JOB] * 3 == [client.get("a") for _ in range(3)]
    assert 3 == len({seen[4] for seen in server.seen})


def test_a_fresh_connection_that_is_dropped_is_an_error(stage: Start) -> None:
    server, client = stage(drops)

    with pytest.raises(ServiceUnreachable):
        client.get("a")
    assert 1 == len(server.seen)


def test_a_closed_client_opens_again(stage: Start) -> None:
    _, client = stage(good)
    client.get("a")
    client.close()

    assert JOB == client.get("a")


def test_a_service_that_says_nothing_is_left_after_the_timeout(stage: Start) -> None:
    leave = threading.Event()
    server, client = stage(lambda scene: (leave.wait(20), drops(scene))[1], timeout=0.2)  # type: ignore[func-returns-value]

    with pytest.raises(ServiceUnreachable, match="timed out"):
        client.get("a")
    assert 1 == len(server.seen)
    leave.set()


# -- errors ------------------------------------------------------------------------------------------------------------


def test_an_error_carries_what_the_problem_says(stage: Start) -> None:
    _, client = stage(refuses)

    with pytest.raises(ApiError, match="the job is wrong") as caught:
        client.submit({"handler": "echo"})
    assert (422, "invalid", None) == (caught.value.status, caught.value.code, caught.value.retry_after)
    assert [{"pointer": "/args/x", "detail": "too big"}] == caught.value.errors


def test_an_error_without_a_problem_still_has_a_status(stage: Start) -> None:
    _, client = stage(lambda scene: scene.say(502, "a proxy's page"))

    with pytest.raises(ApiError, match="HTTP 502") as caught:
        client.get("a")
    assert ("", []) == (caught.value.code, caught.value.errors)


def test_the_connection_goes_on_after_a_refusal(stage: Start) -> None:
    server, client = stage(refuses, good)
    with pytest.raises(ApiError):
        client.get("a")

    assert JOB == client.get("a")
    assert 1 == len({seen[4] for seen in server.seen})


def page(scene: Stage) -> None:
    text = b"<html>welcome</html>"
    scene.send_response(200)
    scene.send_header("Content-Length", str(len(text)))
    scene.end_headers()
    scene.wfile.write(text)


def test_an_answer_of_something_else_is_said(stage: Start) -> None:
    _, client = stage(page)

    with pytest.raises(ClientError, match="no Longshore service"):
        client.status()


def test_a_body_that_is_no_json_is_never_sent(stage: Start) -> None:
    server, client = stage(good)

    with pytest.raises(ClientError, match="no JSON"):
        client.submit({"handler": "echo", "args": {"x": float("nan")}})
    assert [] == server.seen


@pytest.mark.parametrize(
    "url", ["here", "ftp://here", "http://", "http://here:port", "http://here:99999", "http://[::1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="is no http or https address"):
        Client(url)


# -- what is sent ------------------------------------------------------------------------------------------------------


def test_a_submit_has_a_key_of_its_own_and_the_same_one_again_on_a_retry(stage: Start) -> None:
    server, client = stage(drops, busy_without_a_word, good, patience=20)
    client.submit({"handler": "echo"})
    client.submit({"handler": "echo"})
    first, second, third, other = server.headers("Idempotency-Key")

    assert first
    assert first == second == third
    assert other not in (None, first)
    assert server.seen[0][3] == server.seen[2][3], "the body is the same, too"


def test_a_key_that_was_given_is_sent(stage: Start) -> None:
    server, client = stage(good)
    client.submit({"handler": "echo"}, key="mine", wait=7)

    assert (["mine"], ["wait=7"]) == (server.headers("Idempotency-Key"), server.headers("Prefer"))


def test_many_jobs_are_cut_into_batches_with_a_key_each(stage: Start) -> None:
    def batch(scene: Stage) -> None:
        jobs = json.loads(scene.server.seen[-1][3])["jobs"]
        scene.say(202, {"items": [{"id": str(job["n"])} for job in jobs]})

    server, client = stage(batch)
    count = MAX_BATCH + 5
    ids = client.submit_many([{"n": n} for n in range(count)], labels={"a": "b"}, key="k")

    assert [str(n) for n in range(count)] == ids
    assert ["k-0", f"k-{MAX_BATCH}"] == server.headers("Idempotency-Key")
    assert [{"a": "b"}] * 2 == [json.loads(seen[3])["labels"] for seen in server.seen]


def test_token_agent_and_prefix_go_along(stage: Start) -> None:
    server, _ = stage(good)
    with Client(f"{server.url}/behind/", token="lsh_x", user_agent="me") as client:
        client.get("a b/c")

    assert ("/behind/v1/jobs/a%20b%2Fc", "Bearer lsh_x", "me") == (
        server.seen[0][1], server.headers("Authorization")[0], server.headers("User-Agent")[0])  # fmt: skip


# -- lists and waits ---------------------------------------------------------------------------------------------------


def test_a_list_follows_its_cursor(stage: Start) -> None:
    server, client = stage(
        lambda scene: scene.say(200, {"items": [1, 2], "nextCursor": "c2"}),
        lambda scene: scene.say(200, {"items": [3], "nextCursor": ""}),
    )

    assert [1, 2, 3] == list(client.list(phase=("Failed", "Succeeded"), queue=None, label="a=b"))
    assert ["/v1/jobs?phase=Failed&phase=Succeeded&label=a%3Db"] == [seen[1] for seen in server.seen][:1]
    assert server.seen[1][1].endswith("&cursor=c2")


def test_a_wait_asks_until_the_end_and_gives_up_in_time(stage: Start) -> None:
    pending = {"id": "a", "status": {"phase": "Pending"}}
    server, client = stage(lambda scene: scene.say(200, pending), good)
    assert JOB == client.wait("a")
    assert 2 == len(server.seen)

    _, other = stage(lambda scene: scene.say(200, pending))
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="job a is still Pending"):
        other.wait("a", 0.5)
    assert 0.4 < time.monotonic() - began


# -- threads and processes -------------------------------------------------------------------------------------------


def says_the_path(scene: Stage) -> None:
    scene.say(200, {"id": scene.path.rpartition("/")[2], "status": {"phase": "Succeeded"}})


def test_each_of_many_threads_gets_the_answer_to_its_own_question(stage: Start) -> None:
    server, client = stage(says_the_path)
    together = threading.Barrier(8)

    def ask(thread: int) -> list[str]:
        together.wait()
        return [client.get(f"{thread}-{n}")["id"] for n in range(50)]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))

    assert [[f"{thread}-{n}" for n in range(50)] for thread in range(8)] == answers
    assert len({seen[4] for seen in server.seen}) <= 8, "a thread's connection is used again, by whoever is next"


def test_what_is_refused_in_one_thread_is_refused_in_no_other(stage: Start) -> None:
    _, client = stage(lambda scene: refuses(scene) if "bad" in scene.path else says_the_path(scene))

    def ask(n: int) -> str:
        try:
            return str(client.get(f"bad-{n}" if n % 2 else f"good-{n}")["id"])
        except ApiError as error:
            return error.code

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(ask, range(120)))

    assert ["invalid" if n % 2 else f"good-{n}" for n in range(120)] == answers


def test_closing_while_another_thread_waits_leaves_that_thread_its_answer(stage: Start) -> None:
    asked, closed = threading.Event(), threading.Event()

    def slow(scene: Stage) -> None:
        asked.set()
        closed.wait(10)
        says_the_path(scene)

    server, client = stage(slow, says_the_path)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.get, "first")
        asked.wait(10)
        client.close()
        closed.set()
        assert "first" == waiting.result(10)["id"]

    assert "second" == client.get("second")["id"]
    assert 2 == len({seen[4] for seen in server.seen}), "the connection that was in use is not kept"


def test_a_forked_process_does_not_read_the_answers_of_its_parent(stage: Start) -> None:
    server, _ = stage(says_the_path)
    script = """
import os, sys
from longshore.client import Client
client = Client(sys.argv[1])
client.get("before")
child = os.fork()
name = "parent" if child else "child"
right = all(client.get(f"{name}-{n}")["id"] == f"{name}-{n}" for n in range(50))
if not child:
    os._exit(0 if right else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or (0 if right else 2))
"""
    done = subprocess.run([sys.executable, "-c", script, server.url], timeout=60, check=False)

    assert 0 == done.returncode
    assert 2 == len({seen[4] for seen in server.seen})


def test_an_interrupted_request_leaves_nothing_to_the_next(stage: Start) -> None:
    server, client = stage(says_the_path)

    class Interrupted(BaseException):
        pass

    class Body(bytes):
        def __len__(self) -> int:
            raise Interrupted

    client.get("a")
    with pytest.raises(Interrupted):
        client._request("POST", "/v1/jobs", Body(b"{}"), {}, 5.0)
    assert "b" == client.get("b")["id"]
    assert 2 == len({seen[4] for seen in server.seen})


# -- the environment -------------------------------------------------------------------------------------------------


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Variables of this process, which go when the test ends."""
    given: dict[str, str] = {}
    yield given
    for name in given:
        os.environ.pop(name, None)


def test_address_and_token_come_from_the_environment(stage: Start, environment: dict[str, str]) -> None:
    server, _ = stage(good)
    environment |= {"LONGSHORE_URL": server.url, "LONGSHORE_TOKEN": "from-outside"}
    os.environ.update(environment)

    for options in ({}, {"token": "given"}, {"token": ""}):
        with Client(**options) as client:
            client.get("a")

    assert ["Bearer from-outside", "Bearer given", None] == server.headers("Authorization")


def test_what_is_given_wins_over_the_environment(stage: Start, environment: dict[str, str]) -> None:
    server, _ = stage(good)
    environment |= {"LONGSHORE_URL": "http://127.0.0.1:9"}
    os.environ.update(environment)

    with Client(server.url) as client:
        assert JOB == client.get("a")
    with pytest.raises(ClientError, match="is no http or https address"):
        Client("")
