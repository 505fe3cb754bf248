"""Requests that are not HTTP as RFC 9112 writes it: each has an answer, a problem, and its line in the log."""

import json
import re
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import eventually
from service import Service

POST = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def sent(service: Service, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """The answer to these bytes, after which nothing more comes."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=15) as sock:
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)
        data = b""
        while piece := sock.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body


def log_lines(service: Service) -> list[dict[str, Any]]:
    """The service's log; fails for a line that is not a JSON object."""
    return [json.loads(line) for line in service.log.read_text().splitlines()]


@pytest.mark.parametrize(
    ("case", "raw", "status"),
    [
        ("two hosts", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("two lengths", POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
        ("a length beside chunks", POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("a length that is none", POST + b"Content-Length: two\r\n\r\n{}", 400),
        ("an unknown coding", POST + b"Transfer-Encoding: rot13\r\n\r\n", 501),
        ("a broken chunk size", CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", 400),
        ("a chunk without its end", CHUNKED + b"2\r\n{}0\r\n\r\n", 400),
        ("half a chunk", CHUNKED + b"5\r\n{}", 400),
        ("a broken chunk extension", CHUNKED + b"2;=;\r\n{}\r\n0\r\n\r\n", 400),
        ("a broken trailer", CHUNKED + b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n", 400),
        ("half a body", POST + b"Content-Length: 100\r\n\r\n{", 400),
        ("a long line", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        ("a line without an end", b"GET /" + b"a" * 20_000, 414),
        ("an expectation", POST + b"Expect: miracles\r\nContent-Length: 2\r\n\r\n{}", 417),
        ("many headers", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 70 + b"\r\n", 431),
        ("a long header", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 9000 + b"\r\n\r\n", 431),
        ("headers without an end", b"GET /livez HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, 431),
        ("no HTTP", b"hello\r\n\r\n", 400),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        ("bare line feeds", b"GET /livez HTTP/1.1\nHost: localhost\n\n", 400),
        ("another version", b"GET /livez HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ("a folded header", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n", 400),
        ("a control character", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nA: b\x00c\r\n\r\n", 400),
        ("a space in a name", b"GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_what_is_no_request_is_answered_by_a_problem(
    shared_service: Service, case: str, raw: bytes, status: int
) -> None:
    got, headers, body = sent(shared_service, raw)
    problem = json.loads(body)

    assert (status, "application/problem+json", "close") == (
        got,
        headers["content-type"],
        headers["connection"].lower(),
    ), case
    assert (status, headers["x-request-id"]) == (problem["status"], problem["requestId"])
    assert problem["type"].startswith("/problems/")
    assert len(body) < 1000, "nothing is echoed at length"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([
    b"GET ", b"/livez", b" HTTP/1.1", b"\r\n", b"\r\n\r\n", b"\n", b"Host: localhost\r\n", b"Content-Length: 4\r\n", b"{}", b"0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n", b"\x00", b"\xff\xfe", b"%0a", b"\"", b"{\"a\":", b":", b" ", b"POST /v1/jobs HTTP/1.1\r\n",
]), min_size=1, max_size=12).map(b"".join))  # fmt: skip
def test_whatever_is_sent_has_an_answer_and_no_line_that_is_not_json(shared_service: Service, raw: bytes) -> None:
    if not raw.strip(b"\r\n"):
        return  # nothing was asked
    status, _, _ = sent(shared_service, raw + b"\r\n\r\n")

    assert status < 500 or status in (501, 505)
    log_lines(shared_service)


def test_every_line_is_json_with_time_and_level_whatever_a_path_says(shared_service: Service) -> None:
    path = b'/v1/nowhere%0a{"level":"error","action":"forged"}%22%00%ff'
    status, headers, _ = sent(
        shared_service, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    odd = sent(shared_service, b"GET /v1/jobs HTTP/1.1\r\nHost: \xff\xfe\r\nConnection: close\r\n\r\n")
    sent(shared_service, b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")

    def line() -> dict[str, Any] | None:
        return next(
            (line for line in log_lines(shared_service) if line.get("requestId") == headers["x-request-id"]), None
        )

    found = eventually(line, what="the line of the request")
    assert found is not None
    assert (404, "GET", status) == (found["status"], found["method"], 404)
    assert 421 == odd[0]
    lines = log_lines(shared_service)
    assert "forged" not in [line["action"] for line in lines]
    assert all({"time", "level", "action"} <= line.keys() for line in lines)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"]) for line in lines)
