"""gunicorn's threaded worker, with a reader in front of the threads.

gunicorn gives a new connection a thread, and the thread waits for the request: as many half-sent requests as there are
threads stop the service, without a token. Here the poller (the main thread) reads each request, line, headers and body,
until it is whole, and only then is a thread taken, which never reads from a socket. Requests have a deadline for their
head and a least rate for their body; bytes on their way have a budget; connections are limited in all and by address.
The way out is the same: what a caller does not take at once the poller sends, at a least rate too.

Probes and the operator's polls have threads of their own, so no number of other requests delays them.

The parser gets exactly the bytes of one request. What follows them on the connection is the next request only when the
parser agrees where this one ended (``_agrees``); otherwise the connection ends after the answer.
"""

import errno
import resource
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.http import errors
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.workers import gthread

from longshore.api.connections import refusals
from longshore.api.connections.caller_poller import READ, CallerPoller
from longshore.api.connections.connection import Connection
from longshore.api.connections.framing import IncomingRequest
from longshore.api.connections.limits import Limits
from longshore.api.connections.outgoing import Outgoing
from longshore.connection_table import caller_address
from longshore.tls import server_context

if TYPE_CHECKING:
    import socket

SPARE_DESCRIPTORS = 256  # for everything that is no caller's connection
_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})


class _Handover:
    """What gunicorn's ``handle_request`` wants of a connection."""

    __slots__ = ("client", "server", "sock")

    def __init__(self, connection: Connection) -> None:
        self.sock, self.client, self.server = connection.out, connection.client, connection.server


class _Request(Request):  # type: ignore[misc]  # gunicorn ships no types
    def should_close(self) -> bool:
        """Also when the body could not be read: nobody knows where the next request begins."""
        return bool(self.body.failed or super().should_close())


class _Parser(RequestParser):  # type: ignore[misc]  # gunicorn ships no types
    mesg_class = _Request


class ReadAheadWorker(gthread.ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """See the module."""

    limits = Limits()
    tls_dir: Path | None = None
    """Folder of the certificate, where the service speaks TLS."""

    def init_process(self) -> None:
        """Make room for the connections, then serve until the end."""
        _allow_descriptors(self.limits.max_connections + SPARE_DESCRIPTORS)
        self.express_pool = ThreadPoolExecutor(self.limits.express_threads, thread_name_prefix="express")
        super().init_process()

    def run(self) -> None:
        """Until told to stop; then until the last answer is taken, or ``graceful_timeout`` is over."""
        tls = server_context(self.tls_dir) if self.tls_dir is not None else None
        self.callers = CallerPoller(self.cfg, self.log, self.poller, self.limits, self._hand_over, tls)
        self.poller.register(self.method_queue.fileno(), READ, self.method_queue.run_callbacks)
        self.set_accept_enabled(True)
        while self.alive and self.is_parent_alive():
            self._turn(1.0)
        self.set_accept_enabled(False)
        self.callers.stop()
        limit = time.monotonic() + self.cfg.graceful_timeout
        while len(self.callers) and time.monotonic() < limit:
            self._turn(self.callers.until_deadline())
        self._close()

    def _turn(self, seconds: float) -> None:
        self.notify()
        self.wait_for_and_dispatch_events(timeout=seconds)
        self.callers.sweep()

    def _close(self) -> None:
        self.callers.close()
        self.tpool.shutdown(wait=False)
        self.express_pool.shutdown(wait=False)
        self.poller.close()
        self.method_queue.close()
        for listener in self.sockets:
            listener.close()

    def accept(self, listener: "socket.socket") -> None:
        """Called by the poller when somebody waits there."""
        self.callers.accept(listener)

    def _hand_over(self, connection: Connection) -> None:
        pool = self.express_pool if connection.request.data.startswith(self.limits.express) else self.tpool
        pool.submit(self.handle, connection).add_done_callback(
            lambda done: self.method_queue.defer(self.finish_request, connection, done)
        )

    def handle(self, connection: Connection) -> bool:
        """Answer the request; whether the connection can be used again. Runs in a thread."""
        request = None
        try:
            request = next(_Parser(self.cfg, _pieces(connection.request), connection.client))
            request._expected_100_continue = False  # answered when the body was waited for
            if request.method not in refusals.METHODS:
                raise refusals.UnknownMethod(request.method)
            if connection.request.cut or not _agrees(request, connection.request):
                request.force_close()
            keep = self.handle_request(request, _Handover(connection))
            return bool(keep)
        except StopIteration:
            pass  # an answer that had begun failed: its caller sees that it is cut off
        except OSError as error:
            if isinstance(error, errors.NoMoreData):
                self.handle_error(request, connection.out, connection.client, error)
            elif error.errno not in _GONE:
                self.log.exception("Socket error processing request.")
        except Exception as error:
            self.handle_error(request, connection.out, connection.client, error)
        return False

    def handle_error(self, req: Any, client: Outgoing, addr: object, exc: BaseException) -> None:  # noqa: ARG002 - gunicorn's
        """A request that the parser refuses, or that failed outside of the application: the answer is a problem too."""
        status = refusals.status_of(exc)
        detail, identity = refusals.detail_of(exc, status), refusals.new_request_id()
        if status == 500:
            self.log.exception("Error handling request")
        self.log.refused(status, detail, caller_address(addr), identity)
        try:
            client.sendall(refusals.answer(status, detail, identity))
        except OSError:
            pass  # the caller did not wait for it

    def finish_request(self, connection: Connection, done: "Future[bool]") -> None:
        """Back in the poller: what is left of the answer goes out, then the next request may come."""
        keep = not done.cancelled() and done.exception() is None and done.result()
        self.callers.answered(connection, keep=keep)


def _pieces(request: IncomingRequest) -> Iterator[bytes]:
    """The request's bytes, head and body apart: the parser copies what comes with the head several times."""
    head = request.head_end or request.end
    if request.end <= head:
        return iter((bytes(request.data[:head]),))
    with memoryview(request.data) as view:
        return iter((bytes(view[:head]), bytes(view[head : request.end])))


def _agrees(parsed: Any, found: IncomingRequest) -> bool:
    """Whether gunicorn's parser sees the request's end where it was found."""
    reader = parsed.body.reader
    if isinstance(reader, ChunkedReader):
        return found.chunked
    return isinstance(reader, LengthReader) and not found.chunked and reader.length == found.length


def _allow_descriptors(wanted: int) -> None:
    """Raise this process's limit of open files as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
