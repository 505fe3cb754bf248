"""One caller's connection, and where it stands."""

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING

from longshore.api.connections.framing import IncomingRequest
from longshore.api.connections.hangups import Hangups
from longshore.api.connections.outgoing import Outgoing

if TYPE_CHECKING:
    import socket


class State(enum.Enum):
    """Where a connection stands."""

    HANDSHAKE = "handshake"
    """TLS is being negotiated."""
    READING = "reading"
    """The next request has begun, or is the first."""
    IDLE = "idle"
    """It is kept for another request."""
    ANSWERING = "answering"
    """A thread has its request."""
    SENDING = "sending"
    """The caller has yet to take the answer."""
    LINGERING = "lingering"
    """The answer was the last; the caller may be reading it."""


class Connection:
    """One caller's connection. The poller owns it, but while it is ANSWERING its ``out`` is the thread's."""

    __slots__ = (
        "began", "client", "counted", "deadline", "events", "keep", "on_ready", "out", "request", "server", "sock", "state",
        "thanked",
    )  # fmt: skip

    def __init__(self, sock: "socket.socket", client: object, server: object, hangups: Hangups) -> None:
        self.sock, self.client, self.server = sock, client, server
        self.out = Outgoing(sock, hangups)
        self.request: IncomingRequest
        self.state = State.READING
        self.deadline = self.began = 0.0
        self.events = 0
        self.counted = 0
        self.keep = self.thanked = False
        self.on_ready: Callable[[object], None]
