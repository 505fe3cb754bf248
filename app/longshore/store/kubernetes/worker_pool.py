"""Connections to workers, whose answers may take as long as a caller waits: they end when that caller leaves.

The worker notices the end of its connection in the same way, and gives its own place back.
"""

import contextlib
import socket
import ssl

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

from longshore.store.waiting_caller import cut_short


class _EndsEarly(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 itself does
        """As urllib3's; raises ProtocolError when the caller of this thread has left."""
        with cut_short(self._hang_up):
            return super().getresponse()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # it has ended already
            self.sock.shutdown(socket.SHUT_RDWR)


class _EndsEarlyTls(_EndsEarly, HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _EndsEarly


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _EndsEarlyTls


def worker_pool(
    maxsize: int, ssl_context: ssl.SSLContext | None = None, server_hostname: str | None = None
) -> urllib3.PoolManager:
    """A pool whose waiting requests end with the caller of their thread."""
    pool = urllib3.PoolManager(maxsize=maxsize, ssl_context=ssl_context, server_hostname=server_hostname)
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return pool
