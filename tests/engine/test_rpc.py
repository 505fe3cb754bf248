"""The engine's socket for its api, spoken to badly: whatever comes, the engine lives on and serves the next."""

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from longshore.engine.rpc import MAX_FRAME
from service import Service


def connect(service: Service) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(str(service.folder / "engine.sock"))
    return sock


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def ask(sock: socket.socket, **request: object) -> Any:
    sock.sendall(frame(orjson.dumps({"v": 1, **request})))
    return answer(sock)


def answer(sock: socket.socket) -> Any:
    (size,) = struct.unpack(">I", exactly(sock, 4))
    return orjson.loads(exactly(sock, size))


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(min(1 << 20, size - len(data)))
        assert piece, "the engine closed the connection"
        data += piece
    return data


def submission(id: str, spec: dict[str, object]) -> list[object]:
    return [id, True, spec, "f", {}, "", "api", ""]


@pytest.fixture
def service(shared_service: Service) -> Iterator[Service]:
    """The shared one; its engine is the same process and still runs jobs afterwards."""
    pid = shared_service.pid
    yield shared_service
    assert (True, pid) == (shared_service.running(), shared_service.pid), "the engine died"
    answer = shared_service.request("POST", "/v1/jobs", {"handler": "echo"}, headers={"Prefer": "wait=10"})
    assert "Succeeded" == answer.json()["status"]["phase"]


@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("no JSON", frame(b"{")),
        ("no text", frame(b"\xff\xfe\x00")),
        ("an array", frame(b"[1]")),
        ("a number", frame(b"7")),
        ("deeper than any parser goes", frame(b"[" * 100_000)),
        ("larger than any batch", struct.pack(">I", MAX_FRAME + 1)),
        ("larger than any memory", b"\xff" * 64),
    ],
)
def test_what_is_no_request_ends_its_connection(service: Service, case: str, data: bytes) -> None:
    with connect(service) as bad, connect(service) as good:
        bad.sendall(data)
        assert b"" == bad.recv(1), case
        assert "ok" in ask(good, op="queues")


def test_a_caller_that_left_after_its_answer_changes_nothing(service: Service) -> None:
    """The frame that tells of it, an empty one, may be later than the answer."""
    with connect(service) as sock:
        sock.sendall(frame(b"") * 3)
        assert "ok" in ask(sock, op="queues")
        sock.sendall(frame(b""))
        assert "ok" in ask(sock, op="queues")


@pytest.mark.parametrize("data", [b"\0", struct.pack(">I", 1000), frame(b"x" * 1000)[:500]])
def test_half_a_frame_and_gone_is_forgotten(service: Service, data: bytes) -> None:
    with connect(service) as sock:
        sock.sendall(data)


@pytest.mark.parametrize(
    "request_",
    [
        {"op": "explode"},
        {"op": None},
        {"op": ["get"]},
        {"op": "_doc"},
        {"op": "queues", "v": 2},
        {"op": "queues", "v": "1"},
        {"op": "get"},
        {"op": "get", "id": "x", "wait": "long"},
        {"op": "submit"},
        {"op": "submit", "jobs": 7},
        {"op": "submit", "jobs": []},
        {"op": "submit", "jobs": [[]]},
        {"op": "submit", "jobs": [["a", True, 7, "f", {}, "", "api", ""]]},
        {"op": "submit", "jobs": [["a", True, {"handler": "echo", "after": 7}, "f", {}, "", "api", ""]]},
        {"op": "submit", "jobs": [submission("half", {"handler": "echo", "startAfter": "soon"})]},
        {"op": "submit", "jobs": [submission("whole", {"handler": "echo"}), submission("half", {"priority": "x"})]},
        {"op": "submit", "jobs": [submission("half", {"handler": "echo"})], "key": 7},
        {"op": "set_queue", "name": "default"},
        {"op": "set_queue", "name": "default", "changes": 7},
        {"op": "logs"},
        {"op": "events", "after": "x"},
        {"op": "explain"},
        {"op": "drain"},
    ],
    ids=str,
)
def test_a_wrong_request_is_an_error_and_the_next_one_is_served(service: Service, request_: dict[str, object]) -> None:
    before = service.request("GET", "/v1/jobs:count").json()
    with connect(service) as sock:
        assert "error" in ask(sock, **request_)
        assert "ok" in ask(sock, op="queues")
    assert before == service.request("GET", "/v1/jobs:count").json(), "half accepted"


def test_a_slow_reader_holds_nobody_up(service: Service) -> None:
    with connect(service) as slow:
        slow.sendall(frame(orjson.dumps({"v": 1, "op": "handlers"})) * 2000)
        with connect(service) as quick:
            assert "ok" in ask(quick, op="queues")
        answers = [answer(slow) for _ in range(2000)]
    assert 2000 == sum("ok" in found for found in answers)


def test_a_request_in_pieces_is_one_request(service: Service) -> None:
    data = frame(orjson.dumps({"v": 1, "op": "queue", "name": "default"}))
    with connect(service) as sock:
        for byte in data:
            sock.sendall(bytes([byte]))
        assert "default" == answer(sock)["ok"]["name"]


def test_sixty_four_connections_at_once_are_all_served(service: Service) -> None:
    socks = [connect(service) for _ in range(64)]
    for sock in socks:
        sock.sendall(frame(orjson.dumps({"v": 1, "op": "status"})))
    assert all("ok" in answer(sock) for sock in socks)
    for sock in socks:
        sock.close()


def test_a_peer_that_leaves_while_it_waits_leaves_nothing_behind(
    service: Service, eventually: Callable[..., Any]
) -> None:
    def waiting() -> float:
        lines = service.request("GET", "/metrics").body.decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("longshore_waiting_requests "))

    def descriptors() -> int:
        return len(list(Path(f"/proc/{service.pid}/fd").iterdir()))

    id = service.client().submit({"handler": "echo", "suspend": True})["id"]
    before = descriptors()
    socks = [connect(service) for _ in range(60)]
    for sock, op in zip(socks, ("get", "logs", "events", "submit") * 15, strict=True):
        jobs = [submission("waits-for-ever", {"handler": "echo", "suspend": True})] if op == "submit" else []
        after = {"after": 1 << 40} if op == "events" else {}
        sock.sendall(frame(orjson.dumps({"v": 1, "op": op, "id": id, "wait": 30.0, "jobs": jobs, **after})))
    eventually(lambda: waiting() == 60, what="sixty waits")
    for sock in socks:
        sock.close()

    eventually(lambda: waiting() == 0, seconds=15, what="the end of the waits")  # they would last twice as long
    # The api's sixteen threads may have come meanwhile, a connection each.
    eventually(lambda: descriptors() < before + 20, what="the end of the connections")


def test_reading_what_is_not_there_beside_a_submit_is_an_error_and_no_more(service: Service) -> None:
    """Both in one turn: the read waits for the commit, and its refusal ended the engine."""
    submit = {"v": 1, "op": "submit", "jobs": [submission("beside", {"handler": "echo"})]}
    reads = [{"v": 1, "op": op, "id": "never-was"} for op in ("get", "logs", "events", "explain", "delete")]
    with connect(service) as sock:
        sock.sendall(b"".join(frame(orjson.dumps(request)) for request in (submit, *reads)))
        found = [answer(sock) for _ in range(6)]

    assert ["ok", *["error"] * 5] == [key for one in found for key in one]


@pytest.mark.parametrize("op", ["redrive", "cancel", "suspend"])
def test_the_same_key_twice_in_one_turn_is_done_once(service: Service, op: str) -> None:
    """The second one did not see the key of the first, and was refused as a conflict."""
    fields = {"handler": "raises"} if op == "redrive" else {"handler": "echo", "startAfter": "2999-01-01T00:00:00Z"}
    id = service.client().submit(fields)["id"]
    if op == "redrive":
        service.client().wait(id, 10)
    request = {"v": 1, "op": op, "id": id, "key": [f"twice-{op}", "f"]}
    with connect(service) as sock:
        sock.sendall(frame(orjson.dumps(request)) * 2)
        found = [answer(sock) for _ in range(2)]

    assert ["ok", "ok"] == [key for one in found for key in one], found
