"""Callers of the operator's port who send half a request, or nothing, or too much; plain and over TLS."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from kube.certificates import Authority
from longshore.tls import server_context
from longshore_operator.callers import MAX_CONNECTIONS, MAX_REQUEST_BYTES
from longshore_operator.health import Callbacks, HealthServer
from mounted_secret import MountedSecret, trusting

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALVES = {
    "nothing": b"",
    "line": b"G",
    "headers": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: ",
    "chunks": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na",
}
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def nothing(*_names: str) -> dict[str, Any]:
    return {}


async def no_webhook(_namespace: str, _name: str) -> bool:
    return False


def callbacks() -> Callbacks:
    return Callbacks(
        metrics=lambda: b"# " + b"x" * 3_000_000, silences=dict, unsynced=set, explain=nothing, pool=nothing,
        retry_webhook=no_webhook, workers=nothing, queues=nothing, elsewhere=lambda: None,
    )  # fmt: skip


class Port:
    """A port that gives a request half a second."""

    def __init__(self, secret: Path | None, trust: ssl.SSLContext | None) -> None:
        tls = server_context(secret) if secret is not None else None
        self.server = HealthServer("127.0.0.1", 0, callbacks(), tls=tls, request_seconds=0.5)
        self.trust = trust

    async def connect(self, *, handshake: bool = True) -> Streams:
        trust = self.trust if handshake else None
        return await asyncio.open_connection("127.0.0.1", self.server.port, ssl=trust)

    async def livez(self) -> bytes:
        """The first line of an honest answer."""
        reader, writer = await self.connect()
        writer.write(GET)
        line = await asyncio.wait_for(reader.readline(), 20)
        await leave(writer)
        return line


async def leave(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What still came until the port ended the connection."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := await asyncio.wait_for(reader.read(65536), 30):
            data += piece
    return data


@pytest.fixture(params=["plain", "tls"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[Port], Awaitable[None]]], None]:
    secret, trust = None, None
    if request.param == "tls":
        authority = Authority(tmp_path / "authority")
        mounted = MountedSecret(tmp_path / "secret")
        mounted.issue(authority, "localhost")
        secret, trust = mounted.folder, trusting(authority)

    async def whole(test: Callable[[Port], Awaitable[None]]) -> None:
        port = Port(secret, trust)
        await port.server.start()
        try:
            await asyncio.wait_for(test(port), 60)
        finally:
            await port.server.stop()

    def run(test: Callable[[Port], Awaitable[None]]) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the operator has it
            runner.run(whole(test))

    return run


Run = Callable[[Callable[[Port], Awaitable[None]]], None]


@pytest.mark.parametrize("kind", HALVES)
def test_half_a_request_delays_nobody_and_is_ended(run: Run, kind: str) -> None:
    async def test(port: Port) -> None:
        slow = [await port.connect() for _ in range(20)]
        for _, writer in slow:
            writer.write(HALVES[kind])
        assert (await port.livez()).startswith(b"HTTP/1.1 200")
        for reader, writer in slow:
            await ended(reader)
            await leave(writer)

    run(test)


def test_half_a_request_on_a_kept_connection_is_ended(run: Run) -> None:
    async def test(port: Port) -> None:
        reader, writer = await port.connect()
        writer.write(GET)
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /liv")
        await ended(reader)
        await leave(writer)

    run(test)


def test_a_silent_handshake_is_ended(run: Run) -> None:
    async def test(port: Port) -> None:
        reader, writer = await port.connect(handshake=False)
        await ended(reader)
        await leave(writer)

    run(test)


def test_a_request_that_is_too_large_is_ended(run: Run) -> None:
    async def test(port: Port) -> None:
        reader, writer = await port.connect()
        with contextlib.suppress(ConnectionError):
            writer.write(b"GET /livez HTTP/1.1\r\n" + b"X-A: b\r\n" * (MAX_REQUEST_BYTES // 8 + 1))
            await writer.drain()
        assert b" 200 " not in await ended(reader)
        await leave(writer)

    run(test)


def test_a_kept_connection_is_answered_after_longer_than_a_request_may_take(run: Run) -> None:
    async def test(port: Port) -> None:
        reader, writer = await port.connect()
        idle_reader, idle_writer = await port.connect()
        for _ in range(2):
            writer.write(GET)
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
            await ended(idle_reader)  # whose time for a first request is over
        await leave(idle_writer)
        await leave(writer)

    run(test)


def test_a_large_answer_comes_whole(run: Run) -> None:
    async def test(port: Port) -> None:
        reader, writer = await port.connect()
        writer.write(GET.replace(b"/livez", b"/metrics").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert (await ended(reader)).count(b"x") >= 3_000_000
        await leave(writer)

    run(test)


def test_a_connection_too_many_closes_one_that_is_silent(run: Run) -> None:
    async def test(port: Port) -> None:
        silent = [await port.connect() for _ in range(3)]
        reader, _ = silent[0]
        more = [await port.connect() for _ in range(MAX_CONNECTIONS - 2)]
        assert (await port.livez()).startswith(b"HTTP/1.1 200")
        await ended(reader)
        for _, writer in silent + more:
            await leave(writer)

    run(test)
