"""A Secret as the kubelet mounts it, with certificates of an authority that the test makes."""

import itertools
import os
import socket
import ssl
from pathlib import Path

from cryptography import x509

from kube.certificates import Authority


class MountedSecret:
    """A folder whose files are links into another, which one rename replaces: all files change at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._turns = itertools.count()
        folder.mkdir(parents=True)
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (folder / name).symlink_to(Path("..data") / name)

    def update(self, **files: bytes) -> None:
        """What cert-manager writes is there; ``tls_crt=`` is ``tls.crt``. Files that are not said stay."""
        current = self.folder / "..data"
        before = {path.name: path.read_bytes() for path in current.iterdir()} if current.exists() else {}
        version = self.folder / f"..version-{next(self._turns)}"
        version.mkdir()
        for name, data in (before | {name.replace("_", "."): data for name, data in files.items()}).items():
            (version / name).write_bytes(data)
        link = self.folder / "..data-new"
        link.symlink_to(version.name)
        os.replace(link, current)

    def issue(self, authority: Authority, *names: str) -> int:
        """A new certificate for these names, and its authority; its serial number."""
        path = authority.server(f"server-{next(self._turns)}-{self.folder.name}", ["127.0.0.1"], names)
        self.update(
            tls_crt=path.read_bytes(),
            tls_key=path.with_suffix(".key").read_bytes(),
            ca_crt=authority.certificate.read_bytes(),
        )
        return serial_of(path.read_text())


def trusting(authority: Authority) -> ssl.SSLContext:
    """What a test's own requests are made with: they call an address, so only the chain is checked."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.check_hostname = False
    return context


def serial_of(certificate: str) -> int:
    """Of a certificate in PEM."""
    return x509.load_pem_x509_certificate(certificate.encode()).serial_number


def shown(port: int, context: ssl.SSLContext, host: str = "127.0.0.1") -> int:
    """Serial number of the certificate that a new connection is shown."""
    with (
        socket.create_connection((host, port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=None) as sock,
    ):
        found = sock.getpeercert(binary_form=True)
    assert found is not None
    return serial_of(ssl.DER_cert_to_PEM_cert(found))
