"""The engine's door for its own api process: length-prefixed JSON over a unix socket.

A frame is four bytes of length, big-endian, and so many bytes of JSON. A request is ``{"op": …, "v": 1, …}``; its
answer is ``{"ok": …}`` or ``{"error": {…}}`` (``errors.to_wire``), in the order of the requests of a connection.
An answer may come much later; the loop never waits for a peer. A frame of no bytes has no answer: the peer waits for
the answer of its open request no longer, which is answered as if the time of its wait was over.
"""

import os
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import orjson

from longshore.engine.loop import READ, WRITE, Loop, receive
from longshore.errors import LongshoreError, StartError, to_wire
from longshore.unix_socket import short_address

VERSION = 1
MAX_FRAME = 64 * 1024 * 1024  # a batch of 1,000 jobs at their largest, with room
READ_SIZE = 256 * 1024
_LENGTH = struct.Struct(">I")

Request = dict[str, object]


class Peer:
    """One connection of an api thread."""

    def __init__(self, loop: Loop, sock: socket.socket, serve: "Callable[[Peer, Request], None]") -> None:
        self._loop, self._sock, self._serve = loop, sock, serve
        self._in = bytearray()
        self._out = bytearray()
        self.on_close: Callable[[], None] | None = None
        """Called once when the peer goes away while a request of it is open."""
        self.on_hurry: Callable[[], None] | None = None
        """Called once when the peer waits no longer for a request that is open."""
        self.hurried = False
        """Whether it waits no longer for its open request, which may not have begun to wait."""
        self._open = False
        loop.watch(sock.fileno(), READ, self._ready)

    @property
    def gone(self) -> bool:
        """Whether the connection is closed."""
        return self._sock.fileno() < 0

    def reply(self, value: object) -> None:
        """Answer the request; ``value`` is anything orjson writes, fragments included."""
        self._close_request()
        self._send(orjson.dumps({"ok": value}, option=orjson.OPT_NON_STR_KEYS))

    def fail(self, error: LongshoreError) -> None:
        """Answer with an error."""
        self._close_request()
        self._send(orjson.dumps({"error": to_wire(error)}))

    def _close_request(self) -> None:
        self.on_close = self.on_hurry = None
        self._open = self.hurried = False

    def _hurry(self) -> None:
        if not self._open:
            return  # its answer was faster
        self.hurried = True
        if self.on_hurry is not None:
            self.on_hurry()

    def close(self) -> None:
        """End the connection; an open request learns of it through ``on_close``."""
        if self.gone:
            return
        self._loop.unwatch(self._sock.fileno())
        self._sock.close()
        if self.on_close is not None:
            call, self.on_close = self.on_close, None
            call()

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ and not self.gone:
            self._read()

    def _read(self) -> None:
        if (data := receive(self._sock, READ_SIZE)) is None:
            return
        if not data:
            self.close()
            return
        self._in += data
        self._take_frames()

    def _take_frames(self) -> None:
        while len(self._in) >= _LENGTH.size and not self.gone:
            (size,) = _LENGTH.unpack_from(self._in)
            end = _LENGTH.size + size
            if size > MAX_FRAME:
                self.close()
                return
            if len(self._in) < end:
                return
            if not size:
                del self._in[:end]
                self._hurry()
                continue
            try:
                request = orjson.loads(self._in[_LENGTH.size : end])
            except orjson.JSONDecodeError:
                request = None
            if not isinstance(request, dict):  # whoever that is, it does not speak to an engine
                self.close()
                return
            del self._in[:end]
            self._open = True
            self._serve(self, request)

    def _send(self, body: bytes) -> None:
        if self.gone:
            return
        frame = _LENGTH.pack(len(body)) + body
        if self._out:
            self._out += frame
            return
        try:
            sent = self._sock.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(frame):
            self._out += memoryview(frame)[sent:]
            self._loop.watch(self._sock.fileno(), READ | WRITE, self._ready)

    def _flush(self) -> None:
        try:
            del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self._out:
            self._loop.watch(self._sock.fileno(), READ, self._ready)


class RpcServer:
    """Listens on a unix socket that only the service's own user can open."""

    def __init__(self, loop: Loop, path: Path, serve: Callable[[Peer, Request], None]) -> None:
        self._loop, self._path, self._serve = loop, path, serve
        self._peers: set[Peer] = set()
        self._listener = _listen(path)
        loop.watch(self._listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # the peer changed its mind, or no descriptor is left: it will try again
        sock.setblocking(False)
        self._peers = {peer for peer in self._peers if not peer.gone}
        self._peers.add(Peer(self._loop, sock, self._serve))

    def close(self) -> None:
        """Stop listening and end all connections."""
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        for peer in self._peers:
            peer.close()
        self._path.unlink(missing_ok=True)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Left over from a killed engine: the lock on the database says that no other one is alive.
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
        old = os.umask(0o177)
        try:
            with short_address(path) as address:
                listener.bind(address)
        finally:
            os.umask(old)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {path}: {error.strerror or error}") from error
    listener.listen(64)
    listener.setblocking(False)
    return listener
