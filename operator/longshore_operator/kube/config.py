"""Where the API server is and who we are: a kubeconfig, or the account of the pod that we run in."""

import base64
import os
import ssl
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from longshore_operator.errors import ConfigError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_SECONDS = 60.0  # a projected token is rotated by the kubelet; the file is read again so often


@dataclass(slots=True)
class KubeConfig:
    """One API server and one identity."""

    server: str
    namespace: str = "default"
    ca_path: str | None = None
    ca_data: str | None = None
    certificate: tuple[str, str] | None = None
    """Paths of the client certificate and its key."""
    token: str | None = None
    token_path: Path | None = None
    insecure: bool = False
    _read_at: float = 0.0

    def bearer(self) -> str | None:
        """The token to send now; read again from its file every minute."""
        if self.token_path is not None and time.monotonic() - self._read_at > TOKEN_SECONDS:
            self.token, self._read_at = self.token_path.read_text().strip(), time.monotonic()
        return self.token

    def refresh(self) -> None:
        """The API server did not take the token: look at the file before the next request."""
        self._read_at = 0.0

    def ssl_context(self) -> ssl.SSLContext | bool:
        """For aiohttp; raises ConfigError for certificates that cannot be read."""
        if not self.server.startswith("https"):
            return True
        try:
            context = ssl.create_default_context(cafile=self.ca_path, cadata=self.ca_data)
            if self.certificate is not None:
                context.load_cert_chain(*self.certificate)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"the certificates for {self.server} cannot be used: {error}") from None
        if self.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


def load(kubeconfig: str = "") -> KubeConfig:
    """``kubeconfig`` or ``$KUBECONFIG``, else the pod's account, else ``~/.kube/config``; raises ConfigError."""
    path = kubeconfig or os.environ.get("KUBECONFIG", "")
    if not path and (ACCOUNT / "token").exists():
        return _in_cluster()
    file = Path(path).expanduser() if path else Path.home() / ".kube" / "config"
    try:
        whole = yaml.safe_load(file.read_text())
        return _from_kubeconfig(whole, file.parent)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the kubeconfig {file}: {error}") from None
    except (KeyError, TypeError, StopIteration) as error:
        raise ConfigError(f"the kubeconfig {file} lacks {error}") from None


def _in_cluster() -> KubeConfig:
    try:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    except KeyError as error:
        raise ConfigError(f"there is a service account, but no {error.args[0]} in the environment") from None
    return KubeConfig(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=(ACCOUNT / "namespace").read_text().strip(),
        ca_path=str(ACCOUNT / "ca.crt"),
        token_path=ACCOUNT / "token",
    )


def _from_kubeconfig(whole: Any, folder: Path) -> KubeConfig:
    context = _named(whole["contexts"], whole["current-context"])["context"]
    cluster = _named(whole["clusters"], context["cluster"])["cluster"]
    user = _named(whole["users"], context["user"])["user"]
    if "exec" in user or "auth-provider" in user:
        raise ConfigError("a kubeconfig that asks another program for its credentials is not supported")
    ca = cluster.get("certificate-authority")
    data = cluster.get("certificate-authority-data")
    return KubeConfig(
        server=cluster["server"].rstrip("/"),
        namespace=context.get("namespace", "default"),
        ca_path=str(folder / ca) if ca else None,
        ca_data=base64.b64decode(data).decode() if data else None,
        certificate=_certificate(user, folder),
        token=user.get("token"),
        token_path=folder / user["tokenFile"] if "tokenFile" in user else None,
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
    )


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _certificate(user: dict[str, Any], folder: Path) -> tuple[str, str] | None:
    if "client-certificate" in user:
        return str(folder / user["client-certificate"]), str(folder / user["client-key"])
    if "client-certificate-data" not in user:
        return None
    # Python's ssl takes a certificate from a file alone; this one is readable by us only, and gone with its folder.
    place = Path(tempfile.mkdtemp(prefix="longshore-"))
    for name in ("client-certificate", "client-key"):
        (place / name).touch(mode=0o600, exist_ok=False)
        (place / name).write_bytes(base64.b64decode(user[f"{name}-data"]))
    return str(place / "client-certificate"), str(place / "client-key")
