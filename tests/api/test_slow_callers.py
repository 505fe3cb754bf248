"""Callers that send half a request, or read half an answer, delay nobody else; tokens or not."""

import contextlib
import http.client
import re
import socket
from collections.abc import Iterator

import pytest

from conftest import eventually
from service import Service

HEADERS = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: "
BODY = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{"
CHUNKS = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"
HALVES = {
    "silence": b"",
    "line": b"G",
    "headers": HEADERS,
    "body": BODY % 100_000,
    "large": BODY % 10_000_000,
    "chunks": CHUNKS,
}


@contextlib.contextmanager
def connections(port: int, count: int, begin: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that send this much and no more."""
    found = []
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            sock.sendall(begin)
            found.append(sock)
        yield found


def closed(sock: socket.socket) -> bool:
    """Whether the service has ended the connection."""
    sock.setblocking(False)
    try:
        while sock.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass  # reset: ended too
    return True


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that takes 60 connections."""
    service = Service(tmp_path_factory.mktemp("small"), {"max_connections": 60, "request_seconds": 2})
    service.start()
    yield service
    service.end()


@pytest.mark.parametrize("kind", HALVES)
def test_half_sent_requests_take_no_thread(shared_service: Service, kind: str) -> None:
    with connections(shared_service.port, 64, HALVES[kind]):
        answers = [shared_service.request("GET", "/livez", timeout=4).status for _ in range(3)]
        job = shared_service.request("POST", "/v1/jobs", {"handler": "echo"}, headers={"Prefer": "wait=10"}, timeout=15)

    assert ([200] * 3, 200) == (answers, job.status)


def test_silent_connections_do_not_reset_the_probe_port(shared_service: Service) -> None:
    with connections(shared_service.probe_port, 80, b""), connections(shared_service.probe_port, 80, b"GET /livez"):
        assert [200] * 5 == [shared_service.probe("/livez") for _ in range(5)]


def test_answers_that_nobody_takes_hold_no_thread(shared_service: Service) -> None:
    page = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3
    with connections(shared_service.port, 40, page):
        assert 200 == shared_service.request("GET", "/livez", timeout=4).status


def test_an_answer_comes_whole_when_its_reader_is_slow(shared_service: Service) -> None:
    whole = shared_service.request("GET", "/docs/swagger-ui-bundle.js").body
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(10)
        sock.connect(("127.0.0.1", shared_service.port))
        sock.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := sock.recv(8192):
            data += piece

    assert whole == data.partition(b"\r\n\r\n")[2]


def test_a_connection_too_many_closes_the_oldest_unfinished_one(small: Service) -> None:
    with connections(small.port, 70, b"G") as socks:
        assert 200 == small.request("GET", "/livez", timeout=4).status
        eventually(lambda: closed(socks[0]), what="the end of the first connection")
        assert not closed(socks[-1])
        metrics = small.request("GET", "/metrics").body.decode()

    assert 'longshore_http_connections_closed_total{reason="limit"}' in metrics


def test_a_request_that_does_not_come_in_time_is_answered_408(small: Service) -> None:
    with connections(small.port, 1, HEADERS) as (sock,):
        answer = http.client.HTTPResponse(sock)
        answer.begin()

        assert (408, "application/problem+json") == (answer.status, answer.headers["Content-Type"])
        assert b"/problems/timeout" in answer.read()


def test_a_body_that_comes_in_pieces_is_taken(small: Service) -> None:
    body = b'{"handler":"echo"}' + b" " * 200_000
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunks = (
        b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:7], body[7:70_000], body[70_000:]))
        + b"0\r\n\r\n"
    )
    for text in (b"Content-Length: %d\r\n\r\n%b" % (len(body), body), b"Transfer-Encoding: chunked\r\n\r\n" + chunks):
        with connections(small.port, 1, head) as (sock,):
            for at in range(0, len(text), 9973):
                sock.sendall(text[at : at + 9973])
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            assert 202 == answer.status, answer.read()


def test_who_expects_a_continue_is_told_once(small: Service) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 18\r\nExpect: 100-continue\r\n\r\n"
    with connections(small.port, 1, head) as (sock,):
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == sock.recv(1000)
        sock.sendall(b'{"handler":"echo"}')
        assert sock.recv(1000).startswith(b"HTTP/1.1 202")


def test_requests_that_come_together_are_answered_in_order(small: Service) -> None:
    raw = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connections(small.port, 1, raw) as (sock,):
        data = b""
        while piece := sock.recv(65536):
            data += piece

    assert [b"200", b"404"] == re.findall(rb"HTTP/1.1 (\d+)", data)


def test_callers_that_leave_their_connection_open_do_not_stop_the_others(shared_service: Service) -> None:
    ended = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connections(shared_service.port, 40, ended):
        assert 200 == shared_service.request("GET", "/livez", timeout=4).status
