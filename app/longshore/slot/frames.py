"""Frames between engine and slot: four bytes of length, big-endian, and so many bytes of JSON."""

import socket
import struct
from collections.abc import Iterator

import orjson

MAX_BYTES = 64 * 1024 * 1024  # a frame of more is none

Frame = dict[str, object]
LENGTH = struct.Struct(">I")


def pack(frame: object) -> bytes:
    """A frame as it travels."""
    body = orjson.dumps(frame)
    return LENGTH.pack(len(body)) + body


def unpack(buffer: bytearray) -> Iterator[Frame]:
    """Whole frames at the beginning of the buffer, which they leave; ValueError when it holds no frames."""
    while len(buffer) >= LENGTH.size:
        size = LENGTH.unpack_from(buffer)[0]
        if size > MAX_BYTES:
            raise ValueError(f"a frame of {size} bytes")
        end = LENGTH.size + size
        if len(buffer) < end:
            return
        frame: Frame = orjson.loads(memoryview(buffer)[LENGTH.size : end])
        if not isinstance(frame, dict):
            raise ValueError("a frame that is no object")
        del buffer[:end]
        yield frame


class Wire:
    """The slot's end of its control socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._in = bytearray()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._sock.fileno()

    def send(self, frame: object) -> None:
        """Write a frame, however long the engine takes to read it."""
        self._sock.sendall(pack(frame))

    def receive(self) -> Frame | None:
        """The next frame; None when the engine is gone."""
        while True:
            for frame in unpack(self._in):
                return frame
            if not (data := self._sock.recv(256 * 1024)):
                return None
            self._in += data

    def waiting(self) -> Frame | None:
        """A frame that is here already, or None."""
        try:
            while data := self._sock.recv(65536, socket.MSG_DONTWAIT):
                self._in += data
        except BlockingIOError:
            pass  # nothing more has come
        return next(unpack(self._in), None)
