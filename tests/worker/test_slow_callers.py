"""A worker whose port others can reach too."""

import contextlib
import socket

from worker_service import Worker

HALVES = (
    b"",
    b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: ",
    b"POST /v1/attempts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{",
)


def test_a_worker_hears_its_operator_among_half_sent_requests(worker: Worker) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(96):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", worker.port), timeout=10))
            sock.sendall(HALVES[number % len(HALVES)])

        assert 200 == worker.ask("GET", "/v1/attempts", timeout=4).status
        assert ["accepted"] == [said.value for said in worker.offer(worker.attempt("echo"))]
