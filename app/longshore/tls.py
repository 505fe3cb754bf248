"""TLS from a folder in the form of cert-manager's Secrets: ``tls.crt``, ``tls.key`` and ``ca.crt``.

A server shows ``tls.crt`` (its chain after it) and has the key of ``tls.key``. A client believes what ``ca.crt`` signed and
nothing else. Pods are called by their IP addresses, which no certificate names, so a client checks for the name that
belongs to the role and the namespace of who is called (``worker_name``, ``operator_name``): a certificate of another
namespace, or a worker's in the place of the operator's, is refused.

Clients show no certificate: the bearer tokens say who they are, by namespace, and one thing that says so is enough.

Certificates are renewed while the process runs (the kubelet flips a link in the mounted Secret). Each new connection looks
whether the files have changed, which costs a stat of each; nothing polls. Files that cannot be used leave the last good ones in
use, and the log says so once.
"""

import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from longshore.errors import StartError

CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"

T = TypeVar("T")
log = logging.getLogger("longshore.tls")


def worker_name(namespace: str) -> str:
    """The name that the certificate of a worker has, by the namespace of its pod."""
    return f"longshore-workers.{namespace}.svc"


def operator_name(namespace: str) -> str:
    """The name that the operator's certificate has, by the namespace of its Lease."""
    return f"longshore-operator.{namespace}.svc"


def server_context(folder: Path) -> ssl.SSLContext:
    """For a listener: each handshake has the certificate that lies in the folder then. Raises StartError when there is none."""
    certificates = _Reloaded([folder / CERTIFICATE, folder / KEY], lambda: _server(folder))
    listening = _server(folder)

    def choose(connection: "ssl.SSLSocket | ssl.SSLObject", _name: str | None, _listening: ssl.SSLContext) -> None:
        connection.context = certificates.current()

    listening.sni_callback = choose  # OpenSSL calls it for every new handshake, also when no name was asked for
    return listening


class ClientTls:
    """For clients: the context to make the next connection with."""

    def __init__(self, folder: Path) -> None:
        """Raises StartError when the folder has no authority that can be used."""
        self._authority = _Reloaded([folder / AUTHORITY], lambda: _client(folder))

    def context(self) -> ssl.SSLContext:
        """Another one when ``ca.crt`` has changed; safe in threads."""
        return self._authority.current()


class _Reloaded(Generic[T]):
    """What was made of some files, made anew when they have changed."""

    def __init__(self, paths: Sequence[Path], make: Callable[[], T]) -> None:
        self._paths, self._make = paths, make
        self._lock = threading.Lock()
        self._stamp = self._stamp_now()
        self._value = make()

    def current(self) -> T:
        """By the files as they are now, or as they were when they could be used last."""
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return self._value
        with self._lock:
            if stamp != self._stamp:
                # Before reading: what changes meanwhile (a certificate before its key) is looked at again.
                self._stamp = stamp
                self._reload()
            return self._value

    def _reload(self) -> None:
        names = " and ".join(str(path) for path in self._paths)
        try:
            self._value = self._make()
        except StartError as error:
            log.error("%s; the last good one stays in use", error.message, extra={"action": "tls_unusable"})
        else:
            log.info("%s changed: new connections use them", names, extra={"action": "tls_reloaded"})

    def _stamp_now(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _server(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # else a caller may make a write of ours wait for a read
    context.set_alpn_protocols(["http/1.1"])
    try:
        # An encrypted key would be asked for at the terminal; a pod has none.
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise StartError(f"{folder}: {CERTIFICATE} and {KEY} cannot be used: {_reason(error)}") from error
    return context


def _client(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # asks for a certificate, and looks at its name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # cert-manager writes the issuer's certificate, which need not be a root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cafile=folder / AUTHORITY)
    except (OSError, ValueError) as error:
        raise StartError(f"{folder}: {AUTHORITY} cannot be used: {_reason(error)}") from error
    return context


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "it is no PEM"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
