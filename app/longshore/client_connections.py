"""The connections of a client: one request has one of them to itself, whichever thread or process makes it.

An idle connection waits here for the next request. A request takes it out, and puts it back when the whole answer has
been read; so two threads never read from the same one, and the answer of an interrupted request is never taken for the
next request's. A process that was forked leaves the connections that it has inherited to its parent.
"""

import http.client
import os
import ssl
from collections import deque

MAX_IDLE = 16  # a thread pool may come and go; the service counts connections per address

Connection = http.client.HTTPConnection


class Connections:
    """Makes, keeps and closes connections to one host; may be used by many threads."""

    def __init__(self, host: str, port: int | None, *, secure: bool) -> None:
        self._host, self._port = host, port
        self._context = ssl.create_default_context() if secure else None
        self._closings = 0
        # Both ends of a deque may be used by several threads without a lock, which a fork could leave locked for ever.
        self._idle: deque[tuple[int, Connection]] = deque()

    def take(self, timeout: float, *, fresh: bool = False) -> tuple[Connection, bool]:
        """A connection whose steps may take so many seconds each, and whether it was kept from an earlier request."""
        while not fresh:
            try:
                process, connection = self._idle.pop()
            except IndexError:
                break
            if process == os.getpid() and connection.sock is not None:
                connection.sock.settimeout(timeout)
                return connection, True
            connection.close()  # in a forked process, this process's descriptor alone
        return self._new(timeout), False

    def _new(self, timeout: float) -> Connection:
        if self._context is None:
            return Connection(self._host, self._port, timeout=timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)

    @property
    def closings(self) -> int:
        """How often `close` was called; a connection that was taken before the last time is not to be kept."""
        return self._closings

    def keep(self, connection: Connection, *, taken_at: int) -> None:
        """Put a connection back whose last answer has been read to its end; ``taken_at`` is `closings` of then."""
        if taken_at == self._closings and connection.sock is not None and len(self._idle) < MAX_IDLE:
            self._idle.append((os.getpid(), connection))
        else:
            connection.close()

    def close(self) -> None:
        """Close all that are idle now, and those in use as soon as their answers have been read."""
        self._closings += 1
        while True:
            try:
                self._idle.pop()[1].close()
            except IndexError:
                return
