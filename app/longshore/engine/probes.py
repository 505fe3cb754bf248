"""Liveness and readiness on a listener of their own, so that a busy api never fails a probe.

Answers ``GET /livez``, ``/readyz`` and ``/healthz`` from the engine's loop in microseconds and nothing else.
"""

import errno
import socket
import time
from collections.abc import Callable

import orjson

from longshore.connection_table import ConnectionTable, caller_address
from longshore.engine.loop import READ, Loop, receive

MAX_REQUEST = 4096
PATIENCE_SECONDS = 5.0  # a prober that has not finished its request by then is dropped
MAX_CONNECTIONS = 64
ACCEPTS_AT_A_TIME = 64

Health = Callable[[], tuple[bool, dict[str, object]]]


class _Prober:
    """One connection and what it has sent so far."""

    __slots__ = ("data", "since", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.data, self.since = sock, bytearray(), time.monotonic()


class Probes:
    """A tiny HTTP/1.0 responder; one request per connection.

    Silent connections cannot shut probes out: with ``MAX_CONNECTIONS`` open, one more closes the oldest of the address
    that has most of them, and a request that comes with its connection is answered at once.
    """

    def __init__(self, loop: Loop, listener: socket.socket, ready: Health) -> None:
        self._loop, self._listener, self._ready_check = loop, listener, ready
        self._open: ConnectionTable[_Prober] = ConnectionTable(MAX_CONNECTIONS, MAX_CONNECTIONS)
        listener.setblocking(False)
        loop.watch(listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        self._drop_slow()
        for _ in range(ACCEPTS_AT_A_TIME):
            try:
                sock, address = self._listener.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE) and (victim := self._open.victim()) is not None:
                    self._close(victim)
                return  # nobody waits any more, or was gone before we looked
            self._admit(sock, caller_address(address))

    def _admit(self, sock: socket.socket, address: str) -> None:
        _, victim = self._open.in_the_way(address)
        if victim is not None:
            self._close(victim)
        sock.setblocking(False)
        prober = _Prober(sock)
        self._open.add(prober, address)
        self._loop.watch(sock.fileno(), READ, lambda _events: self._read(prober))
        self._read(prober)

    def _drop_slow(self) -> None:
        # Looked at only when somebody new comes: an idle service has no timer for it.
        limit = time.monotonic() - PATIENCE_SECONDS
        for prober in self._open:
            if prober.since < limit:
                self._close(prober)

    def _read(self, prober: _Prober) -> None:
        if (data := receive(prober.sock, MAX_REQUEST)) is None:
            return
        prober.data += data
        if b"\r\n\r\n" in prober.data or b"\n\n" in prober.data:
            self._answer(prober)
        elif not data or len(prober.data) > MAX_REQUEST:
            self._close(prober)

    def _answer(self, prober: _Prober) -> None:
        words = bytes(prober.data).split(b"\r\n", 1)[0].split(b" ")
        path = words[1].split(b"?", 1)[0] if len(words) == 3 else b""
        status, body = self._respond(words[0], path)
        head = (
            f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        ).encode()
        try:
            prober.sock.send(head if words[0] == b"HEAD" else head + body)
        except OSError:
            pass  # the prober left; it will count that as a failure by itself
        self._close(prober)

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

    def _close(self, prober: _Prober) -> None:
        self._open.remove(prober)
        self._loop.unwatch(prober.sock.fileno())
        prober.sock.close()

    def close(self) -> None:
        """Stop answering."""
        for prober in self._open:
            self._close(prober)
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
