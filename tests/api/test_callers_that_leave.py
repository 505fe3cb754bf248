"""Callers that leave while they wait: their places are free at once; and an ended job ends its EventSource."""

import contextlib
import re
import socket
from collections.abc import Iterator

import pytest

from conftest import eventually
from service import Service

SOON = 6.0  # well below the 10 s after which a stream's own sign of life would tell
PLACES = 3
LATER = {"handler": "echo", "startAfter": "2999-01-01T00:00:00Z"}
STREAM = b"GET /v1/events?after=%d HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n" % 10**17


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service where three may wait."""
    service = Service(tmp_path_factory.mktemp("narrow"), {"wait_threads": PLACES, "api_threads": 6})
    service.start()
    yield service
    service.end()


def gauge(service: Service, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", service.request("GET", "/metrics").body.decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def waiting(service: Service) -> float:
    """Requests for which the engine keeps a wait open. Asking takes no place, unlike trying to wait."""
    return gauge(service, "longshore_waiting_requests")


def asked(service: Service, raw: bytes, stack: contextlib.ExitStack) -> socket.socket:
    sock = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=20))
    sock.sendall(raw)
    return sock


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def submit(body: bytes) -> bytes:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nPrefer: wait=30\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def a_waiting_job(service: Service) -> str:
    return str(service.request("POST", "/v1/jobs", LATER).json()["id"])


def test_dropped_streams_give_their_places_back_at_once(narrow: Service) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(PLACES):
            assert asked(narrow, STREAM, stack).recv(1000).startswith(b"HTTP/1.1 200")
        eventually(lambda: waiting(narrow) == PLACES, what="streams in all places")
        assert 503 == narrow.request("GET", "/v1/events", headers={"Accept": "text/event-stream"}).status

    eventually(lambda: gauge(narrow, "longshore_streams_open") == 0, seconds=SOON, what="the end of the streams")
    assert waiting(narrow) == 0


WAITS = {
    "the end of a job": "/v1/jobs/{job}?wait=30",
    "events": "/v1/jobs/{job}/events?after=99999999&wait=30",
    "output": "/v1/jobs/{job}/logs?wait=30",
    "output that is followed": "/v1/jobs/{job}/logs?follow=true",
}


@pytest.mark.parametrize("path", WAITS.values(), ids=WAITS)
def test_abandoned_waits_give_their_places_back_at_once(narrow: Service, path: str) -> None:
    job = a_waiting_job(narrow)
    with contextlib.ExitStack() as stack:
        for _ in range(PLACES):
            asked(narrow, get(path.format(job=job)), stack)
        eventually(lambda: waiting(narrow) == PLACES, what="waits in all places")

    eventually(lambda: waiting(narrow) == 0, seconds=SOON, what="the end of the waits")
    answer = narrow.request("POST", "/v1/jobs", {"handler": "echo"}, headers={"Prefer": "wait=10"})
    assert 200 == answer.status, "a place is free"


def test_a_submit_whose_caller_leaves_is_kept_and_waits_no_longer(narrow: Service) -> None:
    before = sum(narrow.request("GET", "/v1/jobs:count").json()["counts"].values())
    with contextlib.ExitStack() as stack:
        asked(narrow, submit(b'{"handler":"echo","startAfter":"2999-01-01T00:00:00Z"}'), stack)
        eventually(lambda: waiting(narrow) == 1, what="the wait")

    eventually(lambda: waiting(narrow) == 0, seconds=SOON, what="the end of the wait")
    assert before + 1 == sum(narrow.request("GET", "/v1/jobs:count").json()["counts"].values())


def test_a_caller_that_sent_the_next_request_before_it_left_is_noticed_too(narrow: Service) -> None:
    with contextlib.ExitStack() as stack:
        asked(narrow, get(f"/v1/jobs/{a_waiting_job(narrow)}?wait=30") + get("/livez") * 3, stack)
        eventually(lambda: waiting(narrow) == 1, what="the wait")

    eventually(lambda: waiting(narrow) == 0, seconds=SOON, what="the end of the wait")


def test_a_reset_connection_is_noticed_too(narrow: Service) -> None:
    with contextlib.ExitStack() as stack:
        sock = asked(narrow, get(f"/v1/jobs/{a_waiting_job(narrow)}?wait=30"), stack)
        eventually(lambda: waiting(narrow) == 1, what="the wait")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    eventually(lambda: waiting(narrow) == 0, seconds=SOON, what="the end of the wait")


def test_who_closes_only_the_sending_side_gets_the_answer_at_once(narrow: Service) -> None:
    requests = submit(b'{"handler":"echo","startAfter":"2999-01-01T00:00:00Z"}') + get("/livez")
    with contextlib.ExitStack() as stack:
        sock = asked(narrow, requests, stack)
        sock.shutdown(socket.SHUT_WR)
        answers = b"".join(iter(lambda: sock.recv(65536), b""))

    assert [b"202", b"200"] == re.findall(rb"HTTP/1.1 (\d+)", answers)


def test_an_event_source_of_an_ended_job_ends_and_is_told_not_to_come_again(narrow: Service) -> None:
    job = narrow.request("POST", "/v1/jobs", {"handler": "echo"}, headers={"Prefer": "wait=10"}).json()["id"]
    path, headers = f"/v1/jobs/{job}/events", {"Accept": "text/event-stream"}
    whole = narrow.request("GET", path, headers=headers)
    ids = re.findall(r"^id: (\d+)$", whole.body.decode(), re.MULTILINE)

    assert (b"retry: 1000\n", "text/event-stream") == (whole.body[:12], whole.headers["Content-Type"].partition(";")[0])
    assert "no-store" in whole.headers["Cache-Control"], "nothing on the way may keep it"
    again = [narrow.request("GET", path, headers={**headers, "Last-Event-ID": last}) for last in (ids[-1], "9" * 17)]
    assert [(204, b"")] * 2 == [(answer.status, answer.body) for answer in again]
    assert 204 == narrow.request("GET", f"{path}?after={ids[-1]}", headers=headers).status
    rest = narrow.request("GET", path, headers={**headers, "Last-Event-ID": ids[-2]})
    assert (200, [ids[-1]]) == (rest.status, re.findall(r"^id: (\d+)$", rest.body.decode(), re.MULTILINE))


def test_asking_for_the_headers_of_a_stream_takes_no_place(narrow: Service) -> None:
    asks = [narrow.request("HEAD", "/v1/events", headers={"Accept": "text/event-stream"}) for _ in range(PLACES + 1)]

    assert [(200, b"")] * (PLACES + 1) == [(answer.status, answer.body) for answer in asks]
    assert 0 == gauge(narrow, "longshore_streams_open")
