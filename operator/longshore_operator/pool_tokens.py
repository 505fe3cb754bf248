"""The bearer tokens that workers take attempts with: one for each pool namespace, derived from one root secret.

The operator alone holds the root secret. A pool namespace's Secret holds a value derived from it, so whoever can read
that Secret reaches the workers of that namespace and no others. A rotation raises the generation (or puts a new root
secret above the old one): a worker takes both values of its file, and the operator offers the older value to a worker
that does not take the newer one yet, so the order in which files arrive does not matter.

The derivation is HMAC-SHA256 (RFC 2104) with the root secret as key, over the purpose, the namespace and the
generation, one a line: none of them can hold a newline.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

from longshore_operator.errors import ConfigError

PURPOSE = "longshore.dev/worker-token/v1"
SHORTEST_ROOT = 32
LONGEST_FILE = 4096
AT_MOST = 2  # values in a file: during a rotation the new and the old one


def derive(root: str, namespace: str, generation: int) -> str:
    """The token of a pool namespace: 43 characters of URL-safe base64."""
    message = f"{PURPOSE}\n{namespace}\n{generation}".encode()
    digest = hmac.digest(root.encode(), message, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def read(path: Path, what: str) -> list[str]:
    """The one or two values of a file, the newer first; raises ConfigError."""
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_FILE + 1)
        values = text.decode("ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise ConfigError(f"cannot read {what} {path}: {reason}") from None
    if len(text) > LONGEST_FILE or not 1 <= len(values) <= AT_MOST:
        raise ConfigError(f"{path} should hold one or two values of {what}, not {len(values)}")
    return values


def roots(path: Path) -> list[str]:
    """The root secrets of a file; raises ConfigError."""
    found = read(path, "the root secret")
    if any(len(value) < SHORTEST_ROOT for value in found):
        raise ConfigError(f"{path}: a root secret has at least {SHORTEST_ROOT} characters")
    return found


@dataclass(frozen=True, slots=True)
class PoolTokens:
    """Where tokens come from. Files are read for every request, so that they can be rotated."""

    own: str
    """The operator's own namespace."""
    own_file: Path | None
    """File with the token of the own namespace; without one it is derived like those of others."""
    root_file: Path | None
    generation: int = 1

    def of(self, namespace: str) -> list[str]:
        """Values to try in turn at workers of the namespace; raises ConfigError when there is none to be had.

        Without any file there are no tokens at all: ``[""]`` for the own namespace, as for workers started by hand.
        """
        if namespace in ("", self.own) and self.own_file is not None:
            return read(self.own_file, "the workers' token")
        if self.root_file is not None:
            # `dict.fromkeys`: the newest first, each once.
            generations = dict.fromkeys((self.generation, max(1, self.generation - 1)))
            found = roots(self.root_file)
            return [derive(root, namespace or self.own, n) for root in found for n in generations]
        if namespace in ("", self.own):
            return [""]
        raise ConfigError(
            f"the workers of the namespace {namespace} need a token derived from the root secret: set root_secret_file"
        )
