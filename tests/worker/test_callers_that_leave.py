"""An operator that goes away leaves no poll behind."""

import contextlib
import re
import socket

from conftest import eventually
from worker_service import TOKEN, Worker


def waiting(worker: Worker) -> bool:
    text = worker.request("GET", "/metrics").body.decode()
    return re.search(r"^longshore_waiting_requests 0(\.0)?$", text, re.MULTILINE) is None


def test_a_poll_of_the_feed_ends_with_its_operator(worker: Worker) -> None:
    cursor = worker.ask("GET", "/v1/attempts").json()["cursor"]
    poll = (
        f"GET /v1/attempts?after={cursor}&wait=30 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    )
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", worker.port), timeout=10))
        sock.sendall(poll.encode())
        eventually(lambda: waiting(worker), what="the poll")

    eventually(lambda: not waiting(worker), seconds=6, what="the end of the poll")
