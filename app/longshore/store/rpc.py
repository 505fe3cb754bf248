"""The api's end of the engine's socket: one connection per thread, one request at a time.

When the caller leaves for whom a thread waits, an empty frame goes after the request: the engine then answers as if
the time of the wait was over.

A request that may have reached the engine is never sent twice unless the caller says that it may be: a submit
without an idempotency key would run twice.
"""

import contextlib
import socket
import struct
import threading

import orjson

from longshore.errors import EngineUnavailable, from_wire
from longshore.store.waiting_caller import cut_short
from longshore.unix_socket import short_address

VERSION = 1
PATIENCE_SECONDS = 5.0  # beyond what the request itself waits; the engine answers in well under a millisecond
READ_SIZE = 64 * 1024
_LENGTH = struct.Struct(">I")
_ANSWER_NOW = _LENGTH.pack(0)
_TIMEVAL = struct.Struct("@ll")


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
        sock = self._connection()
        if self._local.patience != patience:
            # The kernel's own time-outs: Python's would ask before each read, at the price of another thread switch.
            limit = _TIMEVAL.pack(int(patience), int(patience % 1 * 1e6))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            self._local.patience = patience
        sock.sendall(frame)
        if patience == PATIENCE_SECONDS:
            return _receive(sock)
        with cut_short(lambda: _answer_now(sock)):
            return _receive(sock)

    def _connection(self) -> socket.socket:
        sock: socket.socket | None = getattr(self._local, "sock", None)
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                with short_address(self._path) as address:
                    sock.connect(address)
            except OSError:
                sock.close()
                raise
            self._local.sock, self._local.patience = sock, 0.0
        return sock

    def _forget(self) -> None:
        sock: socket.socket | None = getattr(self._local, "sock", None)
        if sock is not None:
            sock.close()
            self._local.sock = None


def _answer_now(sock: socket.socket) -> None:
    """Called by the thread that watches connections, which must not wait; its frame comes before this thread's next one."""
    with contextlib.suppress(OSError):  # the engine is gone, or so busy that this wait ends by its own time
        sock.send(_ANSWER_NOW, socket.MSG_DONTWAIT)


def _receive(sock: socket.socket) -> bytes:
    """One frame, most of the time by one read: nothing else can be on its way."""
    data = _read(sock)
    while len(data) < _LENGTH.size:
        data += _read(sock)
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    if len(data) < end:
        parts = [data]
        missing = end - len(data)
        while missing > 0:
            parts.append(_read(sock))
            missing -= len(parts[-1])
        data = b"".join(parts)
    return data[_LENGTH.size :]


def _read(sock: socket.socket) -> bytes:
    if not (data := sock.recv(READ_SIZE)):
        raise ConnectionResetError("the engine closed the connection")
    return data


def _unpack(body: bytes) -> object:
    answer = orjson.loads(body)
    if "error" in answer:
        raise from_wire(answer["error"])
    return answer["ok"]
