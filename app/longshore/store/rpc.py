"""The api's end of the engine's socket: one connection per thread, one request at a time.

A request that may have reached the engine is never sent twice unless the caller says that it may be: a submit
without an idempotency key would run twice.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import orjson

from longshore.errors import EngineUnavailable, from_wire

VERSION = 1
PATIENCE_SECONDS = 5.0  # beyond what the request itself waits; the engine answers in well under a millisecond
_LENGTH = struct.Struct(">I")


class EngineClient:
    """Calls the engine; raises what it answers, or ``EngineUnavailable``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._local = threading.local()

    def call(self, op: str, /, *, wait: float = 0.0, again: bool = False, **params: object) -> object:
        """One request and its answer; ``again`` allows a second try when the connection was found dead."""
        body = orjson.dumps({"op": op, "v": VERSION, "wait": wait, **params})
        return self.call_raw(body, wait=wait, again=again)

    def call_raw(self, body: bytes, *, wait: float = 0.0, again: bool = False) -> object:
        """The same for a request that is JSON already."""
        for last in (not again, True):
            try:
                return _unpack(self._exchange(_LENGTH.pack(len(body)) + body, wait + PATIENCE_SECONDS))
            except OSError as error:
                self._forget()
                if last:
                    raise EngineUnavailable(retry_after=1) from error
        raise AssertionError("unreachable")

    def _exchange(self, frame: bytes, patience: float) -> bytes:
        with self._connection(patience) as sock:
            sock.sendall(frame)
            (size,) = _LENGTH.unpack(_receive(sock, _LENGTH.size))
            return _receive(sock, size)

    @contextlib.contextmanager
    def _connection(self, patience: float) -> Iterator[socket.socket]:
        sock: socket.socket | None = getattr(self._local, "sock", None)
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(PATIENCE_SECONDS)
            try:
                sock.connect(self._path)
            except OSError:
                sock.close()
                raise
            self._local.sock = sock
        sock.settimeout(patience)
        yield sock

    def _forget(self) -> None:
        sock: socket.socket | None = getattr(self._local, "sock", None)
        if sock is not None:
            sock.close()
            self._local.sock = None


def _receive(sock: socket.socket, size: int) -> bytes:
    data = sock.recv(size, socket.MSG_WAITALL) if size else b""
    if len(data) == size:
        return data
    parts = [data]
    missing = size - len(data)
    while missing:
        if not (data := sock.recv(missing)):
            raise ConnectionResetError("the engine closed the connection")
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def _unpack(body: bytes) -> object:
    answer = orjson.loads(body)
    if "error" in answer:
        raise from_wire(answer["error"])
    return answer["ok"]
