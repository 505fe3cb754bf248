"""The poller's side of callers: reads requests until they are whole, sends what is left of answers, keeps the limits.

It knows sockets and bytes; threads, parser and application are the worker's (``read_ahead``), which is told of a whole
request by ``hand_over`` and says ``answered`` when a thread is done with it. Everything runs in the main thread. It is one
state machine (``State``), which is why it is larger than other modules.
"""

import errno
import selectors
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn.http import errors

from longshore.addresses import inside
from longshore.api.connections import handshakes, refusals
from longshore.api.connections.connection import Connection, State
from longshore.api.connections.framing import IncomingRequest, Need
from longshore.api.connections.handshakes import LATER
from longshore.api.connections.hangups import Hangups
from longshore.api.connections.limits import (
    ACCEPTS_AT_A_TIME,
    COUNTS,
    LINGER_SECONDS,
    MAX_BUFFERED_BYTES,
    MAX_READ_BYTES,
    MIN_BYTES_PER_SECOND,
    READ_BYTES,
    SWEEP_SECONDS,
    Limits,
)  # fmt: skip
from longshore.connection_table import ConnectionTable, caller_address, is_loopback

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class CallerPoller:
    """All connections of a worker."""

    def __init__(
        self, cfg: Any, log: Any, poller: selectors.BaseSelector, limits: Limits,
        hand_over: Callable[[Connection], None], tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        """``tls``: what each connection begins with, where the service speaks TLS."""
        self._cfg, self._log, self._poller, self._limits, self._tls = cfg, log, poller, limits, tls
        self._trusts = inside(limits.trusted_proxies)
        self._hand_over = hand_over
        self._hangups = Hangups(poller)
        self._table: ConnectionTable[Connection] = ConnectionTable(
            limits.max_connections, limits.max_connections_per_address, self._speaks_for_many
        )
        self._buffered = 0
        self._next_sweep = self._stop_at = 0.0

    def __len__(self) -> int:
        return len(self._table)

    def _speaks_for_many(self, address: str) -> bool:
        """Loopback, where all callers of a laptop are, and the proxies that are trusted."""
        return is_loopback(address) or self._trusts(address)

    # -- time ----------------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """End what is over its time."""
        now = time.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now if self._stop_at else now + SWEEP_SECONDS
        for connection in self._table:
            if connection.deadline <= now and connection.state is not State.ANSWERING:
                self._expire(connection)

    def stop(self) -> None:
        """The worker is ending: connections without a whole request get a last moment."""
        self._stop_at = time.monotonic() + self._limits.stop_linger_seconds
        self._next_sweep = 0.0
        for connection in self._table:
            if connection.state in (State.IDLE, State.READING, State.HANDSHAKE):
                connection.deadline = min(connection.deadline, self._stop_at)

    def close(self) -> None:
        """End all connections."""
        for connection in self._table:
            self._drop(connection)
        self._hangups.close()

    def until_deadline(self) -> float:
        """Seconds to the next deadline, at most one."""
        waiting = (one.deadline for one in self._table if one.state is not State.ANSWERING)
        return min(1.0, max(0.0, min(waiting, default=float("inf")) - time.monotonic()))

    def _expire(self, connection: Connection) -> None:
        if connection.state is State.READING and connection.request.data:
            self._refuse(connection, 408)
        elif connection.state in (State.IDLE, State.LINGERING):
            self._drop(connection)
        else:
            self._drop(connection, connection.state.value)

    # -- in ------------------------------------------------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Take what waits at the listener, some at a time."""
        for _ in range(ACCEPTS_AT_A_TIME):
            try:
                sock, client = listener.accept()
            except OSError as error:
                if error.errno in _FULL and (victim := self._table.victim()) is not None:
                    self._drop(victim, "descriptors")
                return  # nobody is left, or gone before we looked; the poller tells of the next
            self._admit(sock, client, listener.getsockname())

    def _admit(self, sock: socket.socket, client: object, server: object) -> None:
        address = caller_address(client)
        full, victim = self._table.in_the_way(address)
        if full and victim is None:
            sock.close()
            COUNTS.close("limit")
            return
        if victim is not None:
            self._drop(victim, "limit")
        sock.setblocking(False)
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):  # gone already
            sock.close()
            return
        connection = Connection(sock, client, server, self._hangups)
        connection.on_ready = partial(self._ready, connection)
        self._table.add(connection, address)
        COUNTS.open = len(self._table)
        self._expect(connection, bytearray(), time.monotonic())
        if self._tls is not None:
            connection.state = State.HANDSHAKE
        self._ready(connection, sock)

    def _expect(self, connection: Connection, data: bytearray, now: float) -> None:
        """A request that has begun, or should."""
        connection.request = IncomingRequest(data, self._limits.max_body_bytes)
        connection.state = State.READING
        connection.began, connection.thanked = now, False
        connection.deadline = now + self._limits.request_seconds
        if self._stop_at:
            connection.deadline = min(connection.deadline, self._stop_at)

    def _ready(self, connection: Connection, _file: object) -> None:
        """The poller's call; whatever goes wrong ends this connection, never the loop."""
        self._contained(connection, self._step)

    def _contained(self, connection: Connection, step: Callable[[Connection], None]) -> None:
        try:
            step(connection)
        except LATER:
            pass  # what the step waits for is watched already
        except OSError:
            # A handshake that cannot be had (plain HTTP, a caller who does not believe us) is counted, not logged:
            # whoever reaches the port could fill the log.
            self._drop(connection, "handshake" if connection.state is State.HANDSHAKE else "")
        except Exception:
            self._log.exception("A connection failed")
            self._drop(connection)

    def _step(self, connection: Connection) -> None:
        match connection.state:
            case State.READING | State.IDLE:
                self._read(connection)
            case State.ANSWERING:
                # The next request, or the caller's end: either waits for the answer of this one.
                self._watch(connection, 0)
            case State.SENDING:
                self._send(connection)
            case State.LINGERING:
                if not connection.sock.recv(READ_BYTES):
                    self._drop(connection)
            case State.HANDSHAKE:
                self._shake_hands(connection)

    def _shake_hands(self, connection: Connection) -> None:
        """As far as it goes now. Its time counts as the request's: both have to come within ``request_seconds``."""
        if events := handshakes.go_on(connection.sock):
            self._watch(connection, events)
            return
        connection.state = State.READING
        self._read(connection)

    def _read(self, connection: Connection) -> None:
        request = connection.request
        data = handshakes.receive(connection.sock, min(max(READ_BYTES, request.missing), MAX_READ_BYTES))
        if isinstance(data, int):
            self._watch(connection, data)
            return
        if not data:
            self._ended(connection)
            return
        if connection.state is State.IDLE:
            self._expect(connection, request.data, time.monotonic())
            request = connection.request
            self._table.unfinished(connection)
        request.data += data
        connection.counted += len(data)
        self._buffered += len(data)
        self._look(connection)

    def _ended(self, connection: Connection) -> None:
        """The caller sends no more; of half a request it may still read the answer."""
        if connection.state is State.READING and connection.request.data:
            self._refuse(connection, 400, refusals.detail_of(errors.NoMoreData(), 400))
        else:
            self._drop(connection)

    def _look(self, connection: Connection) -> None:
        """Hand the request over when it is whole."""
        request = connection.request
        need = request.look()
        if request.status:
            self._refuse(connection, request.status)
        elif need is Need.NOTHING:
            connection.state = State.ANSWERING
            self._table.busy(connection)
            self._hand_over(connection)
        else:
            self._watch(connection, READ)
            if need is Need.BODY:
                self._grant_time(connection)
            if self._buffered > MAX_BUFFERED_BYTES:
                self._make_room(connection)

    def _grant_time(self, connection: Connection) -> None:
        request = connection.request
        if not connection.thanked:
            connection.thanked, connection.began = True, time.monotonic()
            if request.expects_continue:
                connection.out.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        came = len(request.data) - request.head_end
        connection.deadline = connection.began + self._limits.request_seconds + came / MIN_BYTES_PER_SECOND
        if self._stop_at:
            connection.deadline = min(connection.deadline, self._stop_at + self._limits.request_seconds)

    def _make_room(self, newest: Connection) -> None:
        """Refuse the large request that has been on its way for the longest time: it is the least likely to be honest."""
        large = (one for one in self._table if one.state is State.READING and one.counted > READ_BYTES)
        self._refuse(min(large, key=lambda one: one.began, default=newest), 503)

    def _refuse(self, connection: Connection, status: int, detail: str = "") -> None:
        """Answer without the application, and end the connection."""
        identity = refusals.new_request_id()
        detail = detail or refusals.DETAILS[status]
        COUNTS.close({408: "timeout", 503: "bytes"}.get(status, "malformed"))
        self._log.refused(status, detail, caller_address(connection.client), identity)
        connection.keep = False
        try:
            connection.out.sendall(refusals.answer(status, detail, identity))
            self._answered(connection)
        except OSError:
            self._drop(connection)

    # -- out -----------------------------------------------------------------------------------------------------------

    def answered(self, connection: Connection, *, keep: bool) -> None:
        """A thread is done: what is left of the answer goes out, then the next request may come."""
        connection.keep = keep
        self._contained(connection, self._answered)

    def _answered(self, connection: Connection) -> None:
        self._buffered -= connection.counted
        connection.counted = 0
        if connection.out.flush():
            self._after_answer(connection)
            return
        connection.state, connection.began = State.SENDING, time.monotonic()
        connection.counted = connection.out.waiting
        self._buffered += connection.counted
        connection.deadline = connection.began + self._limits.request_seconds
        self._table.unfinished(connection)
        self._watch(connection, WRITE)
        if self._buffered > MAX_BUFFERED_BYTES:
            slow = (one for one in self._table if one.state is State.SENDING)
            self._drop(min(slow, key=lambda one: one.began), "bytes")

    def _send(self, connection: Connection) -> None:
        if connection.out.flush():
            self._buffered -= connection.counted
            connection.counted = 0
            self._after_answer(connection)
            return
        taken = connection.counted - connection.out.waiting
        connection.deadline = connection.began + self._limits.request_seconds + taken / MIN_BYTES_PER_SECOND

    def _after_answer(self, connection: Connection) -> None:
        if not connection.keep:
            self._linger(connection)
            return
        rest = connection.request.data
        del rest[: connection.request.end]
        now = time.monotonic()
        if rest:
            self._expect(connection, rest, now)
            connection.counted = len(rest)
            self._buffered += len(rest)
            self._table.unfinished(connection)
            self._look(connection)
            return
        connection.state = State.IDLE
        connection.request = IncomingRequest(rest, self._limits.max_body_bytes)
        connection.deadline = now + (self._limits.stop_linger_seconds if self._stop_at else self._cfg.keepalive)
        self._table.idle(connection)
        self._watch(connection, READ)

    def _linger(self, connection: Connection) -> None:
        """Say that no more comes, and wait in the poller for the caller to close."""
        handshakes.say_goodbye(connection.sock)
        connection.state = State.LINGERING
        connection.deadline = time.monotonic() + LINGER_SECONDS
        self._table.unfinished(connection)
        self._watch(connection, READ)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _drop(self, connection: Connection, reason: str = "") -> None:
        """Close the connection now. ``reason`` is for the metrics, where the service ends it before its time."""
        if reason:
            COUNTS.close(reason)
        self._watch(connection, 0)
        self._buffered -= connection.counted
        connection.counted = 0
        self._table.remove(connection)
        COUNTS.open = len(self._table)
        self._hangups.forget(connection.sock.fileno())
        connection.sock.close()

    def _watch(self, connection: Connection, events: int) -> None:
        if events == connection.events:
            return
        if not connection.events:
            self._poller.register(connection.sock, events, connection.on_ready)
        elif events:
            self._poller.modify(connection.sock, events, connection.on_ready)
        else:
            self._poller.unregister(connection.sock)
        connection.events = events
