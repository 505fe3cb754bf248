"""Connections of the api to workers and to the operator: plain, or TLS that checks who answers."""

import ssl
from collections.abc import Mapping
from functools import partial
from typing import Protocol

import urllib3

from longshore.tls import ClientTls


class Make(Protocol):
    """Makes the connections."""

    def __call__(
        self, maxsize: int, ssl_context: ssl.SSLContext | None = None, server_hostname: str | None = None
    ) -> urllib3.PoolManager: ...


def plain_pool(
    maxsize: int, ssl_context: ssl.SSLContext | None = None, server_hostname: str | None = None
) -> urllib3.PoolManager:
    """urllib3's own."""
    return urllib3.PoolManager(maxsize=maxsize, ssl_context=ssl_context, server_hostname=server_hostname)


class PeerPool:
    """Of one kind of peer. With ``tls``, one that cannot show ``server_name`` is not asked; safe in threads."""

    def __init__(self, make: Make, maxsize: int, tls: ClientTls | None, server_name: str) -> None:
        self._tls = tls
        self._new_pool = partial(make, maxsize, server_hostname=server_name if tls is not None else None)
        self._context = tls.context() if tls is not None else None
        self._pool = self._new_pool(ssl_context=self._context)

    def get(
        self, address: str, path: str, *, headers: Mapping[str, str], timeout: urllib3.Timeout,
        fields: Mapping[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        """An answer, whatever its status; raises urllib3's HTTPError. ``address`` is ``host:port``."""
        scheme = "http" if self._tls is None else "https"
        return self._current().request(
            "GET", f"{scheme}://{address}{path}", fields=fields, headers=headers, timeout=timeout, retries=False
        )

    def post(
        self, address: str, path: str, *, headers: Mapping[str, str], timeout: urllib3.Timeout
    ) -> urllib3.BaseHTTPResponse:
        """The same for a POST without a body."""
        scheme = "http" if self._tls is None else "https"
        return self._current().request(
            "POST", f"{scheme}://{address}{path}", headers=headers, timeout=timeout, retries=False
        )

    def _current(self) -> urllib3.PoolManager:
        if self._tls is not None and (context := self._tls.context()) is not self._context:
            # Two threads may both make one: the one that is not kept ends with its request.
            self._pool = self._new_pool(ssl_context=context)
            self._context = context
        return self._pool
