"""Liveness and readiness on a listener of their own, so that a busy api never fails a probe.

Answers ``GET /livez``, ``/readyz`` and ``/healthz`` from the engine's loop in microseconds and nothing else.
"""

import socket
import time
from collections.abc import Callable

import orjson

from longshore.engine.loop import READ, Loop, receive

MAX_REQUEST = 4096
PATIENCE_SECONDS = 5.0  # a prober that has not finished its request by then is dropped
MAX_CONNECTIONS = 64

Health = Callable[[], tuple[bool, dict[str, object]]]


class Probes:
    """A tiny HTTP/1.0 responder; one request per connection."""

    def __init__(self, loop: Loop, listener: socket.socket, ready: Health) -> None:
        self._loop, self._listener, self._ready_check = loop, listener, ready
        self._since = time.monotonic()
        self._open: dict[int, tuple[socket.socket, bytearray, float]] = {}
        listener.setblocking(False)
        loop.watch(listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # gone again before we looked
        self._drop_slow()
        if len(self._open) >= MAX_CONNECTIONS:
            sock.close()
            return
        sock.setblocking(False)
        self._open[sock.fileno()] = (sock, bytearray(), time.monotonic())
        self._loop.watch(sock.fileno(), READ, lambda _events: self._read(sock))

    def _drop_slow(self) -> None:
        # Looked at only when somebody new comes: an idle service has no timer for it.
        limit = time.monotonic() - PATIENCE_SECONDS
        for sock, _, since in list(self._open.values()):
            if since < limit:
                self._close(sock)

    def _read(self, sock: socket.socket) -> None:
        buffer = self._open[sock.fileno()][1]
        if (data := receive(sock, MAX_REQUEST)) is None:
            return
        buffer += data
        if b"\r\n\r\n" in buffer or b"\n\n" in buffer:
            self._answer(sock, bytes(buffer))
        elif not data or len(buffer) > MAX_REQUEST:
            self._close(sock)

    def _answer(self, sock: socket.socket, request: bytes) -> None:
        words = request.split(b"\r\n", 1)[0].split(b" ")
        path = words[1].split(b"?", 1)[0] if len(words) == 3 else b""
        status, body = self._respond(words[0], path)
        head = (
            f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        ).encode()
        try:
            sock.send(head if words[0] == b"HEAD" else head + body)
        except OSError:
            pass  # the prober left; it will count that as a failure by itself
        self._close(sock)

    def _respond(self, method: bytes, path: bytes) -> tuple[str, bytes]:
        if method not in (b"GET", b"HEAD"):
            return "405 Method Not Allowed", b'{"status":"method not allowed"}'
        if path == b"/livez":
            return "200 OK", b'{"status":"ok"}'
        if path in (b"/readyz", b"/healthz"):
            ready, detail = self._ready_check()
            body = orjson.dumps({"status": "ok" if ready else "not ready", **detail})
            return ("200 OK" if ready else "503 Service Unavailable"), body
        return "404 Not Found", b'{"status":"not found"}'

    def _close(self, sock: socket.socket) -> None:
        self._open.pop(sock.fileno(), None)
        self._loop.unwatch(sock.fileno())
        sock.close()

    def close(self) -> None:
        """Stop answering."""
        for sock, _, _ in list(self._open.values()):
            self._close(sock)
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
