"""The way out of a connection: what gunicorn takes for its socket.

An answer that the caller does not take at once stays here, and the poller sends the rest; a thread waits only for a
caller who is behind by more than ``MAX_WAITING_BYTES``, which is a stream's affair, and not for long.
"""

import errno
import select
import socket
import ssl
import time
from collections import deque

from longshore.api.connections.handshakes import LATER
from longshore.api.connections.hangups import Hangups
from longshore.store.waiting_caller import WaitingCaller

MAX_WAITING_BYTES = 1024 * 1024
"""Bytes that may wait here while the application writes more; one larger answer waits as a whole, being in memory anyway."""
MAX_SEND_BYTES = 1 << 30
SEND_SECONDS = 20.0
"""How long a thread waits for a caller who does not take what is streamed to it."""
_HELD_HEAD_BYTES = 4096
TLS_RECORD_BYTES = 16 * 1024
"""Bytes of one record, at most (RFC 8446, 5.1). TLS takes what it is given whole or not at all, and wants the same bytes again
when it could not send them; a record at a time shows what the caller takes."""


class Outgoing:
    """Writes without blocking; used by one thread at a time: the request's, then the poller's."""

    def __init__(self, sock: socket.socket, hangups: Hangups) -> None:
        self._sock, self._hangups = sock, hangups
        self._caller: WaitingCaller | None = None
        self._most = TLS_RECORD_BYTES if isinstance(sock, ssl.SSLSocket) else MAX_SEND_BYTES
        self._parts: deque[memoryview] = deque()
        self._head = b""
        self.waiting = 0
        """Bytes that the caller has yet to take."""

    def sendall(self, data: bytes) -> None:
        """Send, or keep for later; raises ConnectionResetError when the caller is gone or too far behind."""
        if self._head:
            data, self._head = self._head + data, b""
        elif (
            len(data) < _HELD_HEAD_BYTES
            and not self.waiting
            and data.startswith(b"HTTP/1.")
            and b"\r\nContent-Length: " in data
        ):
            self._head = data  # its body follows at once: one packet and one wake-up of the caller instead of two
            return
        if self.waiting > MAX_WAITING_BYTES:
            self._wait()
        self._parts.append(memoryview(data))
        self.waiting += len(data)
        self.flush()

    def send(self, data: bytes) -> int:
        """As ``sendall``."""
        self.sendall(data)
        return len(data)

    def flush(self) -> bool:
        """Send what the caller takes now; whether that was all. Raises OSError when the caller is gone."""
        if self._head:
            self._parts.append(memoryview(self._head))
            self.waiting += len(self._head)
            self._head = b""
        while self._parts:
            try:
                sent = self._sock.send(self._parts[0][: self._most])
            except LATER:
                return False
            self.waiting -= sent
            if sent < len(self._parts[0]):
                self._parts[0] = self._parts[0][sent:]
            else:
                self._parts.popleft()
        return True

    def _wait(self) -> None:
        limit = time.monotonic() + SEND_SECONDS
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        while self.waiting > MAX_WAITING_BYTES:
            left = limit - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise ConnectionResetError(errno.ECONNRESET, "the caller does not take its answer")
            self.flush()

    def caller(self) -> WaitingCaller:
        """The caller, who is watched from now on; for the thread that has the request."""
        if self._caller is None:
            self._caller = WaitingCaller()
            self._hangups.watch(self.fileno(), self._caller)
        return self._caller

    def setblocking(self, flag: bool) -> None:
        """Nothing: the poller's sockets never block."""

    def shutdown(self, how: int) -> None:  # noqa: ARG002 - as of a socket
        """Refuse: gunicorn would wait for the caller in this thread. The poller ends the connection in its own time."""
        raise OSError(errno.ENOTSUP, "the poller closes connections")

    def close(self) -> None:
        """Nothing, for the same reason."""

    def fileno(self) -> int:
        """Descriptor of the socket."""
        return self._sock.fileno()
