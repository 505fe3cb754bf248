"""What callers may cost: connections, bytes and time; and what became of those who cost more."""

from dataclasses import dataclass, field

READ_BYTES = 64 * 1024
MAX_READ_BYTES = 1024 * 1024  # of a large body at a time
ACCEPTS_AT_A_TIME = 64
MAX_BUFFERED_BYTES = 64 * 1024 * 1024
"""Requests and answers on their way, in all: four bodies of the largest size."""
MIN_BYTES_PER_SECOND = 1024
"""The least rate of a body or an answer after the first ``request_seconds``; slower lines are cut."""
LINGER_SECONDS = 2.0
"""After an answer that ends its connection: a close at once could destroy it on its way (RFC 9112, 9.6)."""
SWEEP_SECONDS = 1.0  # the precision of deadlines; gunicorn's loop wakes up as often for its heartbeat
STOP_LINGER_SECONDS = 2.0
"""At the end, kept connections wait for a request that may be on its way."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker allows; see the settings of the same names."""

    request_seconds: float = 10.0
    """For the head of a request, and before the least rate of its body counts."""
    max_connections: int = 1000
    max_connections_per_address: int = 250
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose addresses speak for many callers, so that the limit of one address is not theirs."""
    max_body_bytes: int = 16 * 1024 * 1024
    """A request that announces more is given to the application without its body, to be refused."""
    express: tuple[bytes, ...] = ()
    """How requests begin that have threads of their own."""
    express_threads: int = 2
    stop_linger_seconds: float = STOP_LINGER_SECONDS


@dataclass(slots=True)
class Counts:
    """What became of connections, for the metrics; written by the poller alone."""

    open: int = 0
    closed: dict[str, int] = field(default_factory=dict)
    """By reason, of those that the service closed before their time."""

    def close(self, reason: str) -> None:
        """One more."""
        self.closed[reason] = self.closed.get(reason, 0) + 1


COUNTS = Counts()
