"""Connections of the operator's port: bounded in number, bytes and time, before aiohttp sees a request.

aiohttp waits without an end for a request that has begun, or not, and takes any number of connections. Each connection has a
deadline here: for its request, the TLS handshake apart, and for the next one on a kept connection. Only while a request is
answered, which takes milliseconds, it has none. All requests of this port are small: no route reads a body.
"""

import asyncio
import ssl
from typing import Final, cast

from aiohttp import web

from longshore.connection_table import ConnectionTable, caller_address

REQUEST_SECONDS: Final = 10.0
"""For a whole request, from its first byte, or from the connection where there was none yet."""
KEEP_SECONDS: Final = 75.0
"""For the next request of a kept connection, and for the answer of the last to be taken; longer than Prometheus' minute."""
MAX_CONNECTIONS, MAX_PER_ADDRESS = 500, 100
MAX_REQUEST_BYTES: Final = 64 * 1024  # line, headers and a body that nobody asked for


class Callers:
    """All connections of the port. ``answering`` goes around each request."""

    def __init__(self, server: web.Server, *, request_seconds: float = REQUEST_SECONDS) -> None:
        self.server, self.request_seconds = server, request_seconds
        self.table: ConnectionTable[Caller] = ConnectionTable(MAX_CONNECTIONS, MAX_PER_ADDRESS)
        self._of: dict[asyncio.BaseProtocol, Caller] = {}

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> asyncio.Server:
        """Take connections; OSError when the port is taken."""
        seconds = None if tls is None else self.request_seconds
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: Caller(self), host, port, ssl=tls, ssl_handshake_timeout=seconds, backlog=128
        )

    def opened(self, caller: "Caller", address: str) -> None:
        """One more, for which another may have to go."""
        _, victim = self.table.in_the_way(address)
        if victim is not None:
            victim.end()
        self.table.add(caller, address)
        self._of[caller.inner] = caller

    def closed(self, caller: "Caller") -> None:
        """It is gone."""
        self.table.remove(caller)
        self._of.pop(caller.inner, None)

    def begin(self, request: web.BaseRequest) -> None:
        """A whole request is being answered."""
        if (caller := self._of.get(request.protocol)) is not None:
            caller.answering()

    def done(self, request: web.BaseRequest) -> None:
        """Its answer is ready."""
        if (caller := self._of.get(request.protocol)) is not None:
            caller.answered()


class Caller(asyncio.Protocol):
    """One connection: aiohttp's own protocol, and its deadline."""

    def __init__(self, callers: Callers) -> None:
        self._callers, self.inner = callers, callers.server()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._received = 0
        self._kept = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Its request has to come from now on."""
        self._transport = cast("asyncio.Transport", transport)  # by its methods: uvloop's is no subclass
        self._callers.opened(self, caller_address(transport.get_extra_info("peername")))
        self._arm(self._callers.request_seconds)
        self.inner.connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Whoever ended it."""
        self._arm(None)
        self._callers.closed(self)
        self.inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes for aiohttp, up to the size of a request."""
        if self._kept:
            self._kept = False
            self._callers.table.unfinished(self)
            self._arm(self._callers.request_seconds)
        self._received += len(data)
        if self._received > MAX_REQUEST_BYTES:
            self.end()
            return
        self.inner.data_received(data)

    def eof_received(self) -> None:
        """As aiohttp has it, which closes then."""
        self.inner.eof_received()

    def pause_writing(self) -> None:
        """The caller does not take its answer; the deadline runs."""
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self.inner.resume_writing()

    def answering(self) -> None:
        """No deadline: what is asked answers from memory, or has one of its own."""
        self._kept, self._received = False, 0
        self._callers.table.busy(self)
        self._arm(None)

    def answered(self) -> None:
        """The next request may come, or the rest of a body that nobody reads."""
        self._kept = True
        self._callers.table.idle(self)
        self._arm(KEEP_SECONDS)

    def end(self) -> None:
        """At once: who is slow would be slow with a goodbye too."""
        if self._transport is not None:
            self._transport.abort()
        self._callers.table.remove(self)

    def _arm(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self._loop.call_later(seconds, self.end)
