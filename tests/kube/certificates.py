"""A certificate authority for one test cluster, and the kubeconfig files that carry its certificates."""

import base64
import datetime
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS = 30  # longer than any test, and than a cluster by hand
SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


class Authority:
    """Signs everything in one folder: ``ca.crt``, ``ca.key``, then ``NAME.crt`` and ``NAME.key``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "longshore-test-ca")])
        usage = _key_usage(signs_certificates=True)
        certificate = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = self._write("ca", certificate, self._key)

    def server(self, name: str, addresses: Sequence[str], hosts: Sequence[str] = SERVER_NAMES) -> Path:
        """A certificate for a server at these addresses and names; path of the .crt file, the key lies beside it."""
        names: list[x509.GeneralName] = [x509.DNSName(text) for text in hosts]
        names += [x509.IPAddress(ipaddress.ip_address(text)) for text in addresses]
        return self._issue(name, name, [], ExtendedKeyUsageOID.SERVER_AUTH, x509.SubjectAlternativeName(names))

    def client(self, name: str, user: str, groups: Sequence[str]) -> Path:
        """A certificate that Kubernetes reads as this user in these groups; path of the .crt file."""
        return self._issue(name, user, groups, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self, name: str, user: str, groups: Sequence[str], use: x509.ObjectIdentifier,
        alternative: x509.SubjectAlternativeName | None,
    ) -> Path:  # fmt: skip
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        builder = (
            _builder(subject, self._name, key.public_key())
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            # Python 3.13 refuses a chain without it.
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if alternative is not None:
            builder = builder.add_extension(alternative, critical=False)
        return self._write(name, builder.sign(self._key, hashes.SHA256()), key)

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Path:
        path = self.folder / f"{name}.crt"
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        _write_key(path.with_suffix(".key"), key)
        return path


def write_key_pair(folder: Path, name: str) -> None:
    """A new ``NAME.key`` and its public ``NAME.pub``: the API server does not read the one out of the other."""
    key = ec.generate_private_key(ec.SECP256R1())
    _write_key(folder / f"{name}.key", key)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)


def write_kubeconfig(
    path: Path, server: str, authority: Path, *, certificate: Path | None = None, token: str | None = None
) -> Path:
    """A kubeconfig that needs no other file, with a client certificate or a token."""
    user: dict[str, str] = {}
    if certificate is not None:
        user |= {
            "client-certificate-data": _base64(certificate),
            "client-key-data": _base64(certificate.with_suffix(".key")),
        }
    if token is not None:
        user["token"] = token
    content = {
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [
            {"name": "test", "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}
        ],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }  # fmt: skip
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1))  # JSON is YAML
    return path


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks are set back sometimes
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
