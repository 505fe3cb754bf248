"""Frames between engine and slot: four bytes of length, big-endian, and so many bytes of JSON."""

import socket
import struct
import threading
from collections.abc import Iterator
from enum import StrEnum

import orjson

MAX_BYTES = 64 * 1024 * 1024  # the longest frame that the engine sends to a slot

# Beside its result a slot's frame holds an error, a traceback and names: never more than this.
OVERHEAD_BYTES = 256 * 1024
MAX_ERROR_TYPE = 200  # characters
MAX_ERROR_MESSAGE = 1024  # characters
MAX_ERROR_NAMES = 64
MAX_TRACEBACK = 16 * 1024  # characters
MAX_PROGRESS_MESSAGE = 256  # characters
LENGTH = struct.Struct(">I")

Frame = dict[str, object]


class Taint(StrEnum):
    """Why a slot should not run another job: what a job left in it that cannot be put back."""

    THREADS = "threads"  # a thread of the job's that still works
    SIGNALS = "signals"  # a signal's disposition that cannot be set from here
    DESCRIPTORS = "descriptors"  # closed ones of the slot's own, or more open ones than a bound
    LIMITS = "limits"  # a resource limit, lowered for good
    STATE = "state"  # something of the interpreter's own that cannot even be read any more
    USER = "user"  # another user or group
    PROCESSES = "processes"  # a child that does not die
    COMMAND = "command"  # the slot had made ready to become a command
    DEBUGGER = "debugger"  # a debugger may have changed what is put back after a job


def pack(frame: object) -> bytes:
    """A frame as it travels."""
    body = orjson.dumps(frame)
    return LENGTH.pack(len(body)) + body


def unpack(buffer: bytearray, max_bytes: int = MAX_BYTES) -> Iterator[Frame]:
    """Whole frames at the beginning of the buffer, which they leave; ValueError when it holds no frames.

    A frame of more than ``max_bytes`` is refused as soon as its length is known.
    """
    while len(buffer) >= LENGTH.size:
        size = LENGTH.unpack_from(buffer)[0]
        if size > max_bytes:
            raise ValueError(f"a frame of {size} bytes, where at most {max_bytes} are expected")
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
        self._sending = threading.Lock()  # a handler reports progress from threads of its own

    def fileno(self) -> int:
        """Its descriptor."""
        return self._sock.fileno()

    def send(self, *frames: object) -> None:
        """Write frames, however long the engine takes to read them."""
        data = b"".join(map(pack, frames))
        with self._sending:
            self._sock.sendall(data)

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
