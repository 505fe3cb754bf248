"""Bearer tokens: a file of hashes, one ``role name hash`` per line, read again when it changes."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from longshore.errors import SettingsError, Unavailable

ROLES = ("read", "submit", "admin")
"""Each may do what the ones before it may."""
PREFIX = "lsh_"  # lets secret scanners recognise one


@dataclass(frozen=True, slots=True)
class Token:
    """A line of the file."""

    role: str
    name: str
    digest: str

    def allows(self, role: str) -> bool:
        """Whether it may do what needs ``role``."""
        return ROLES.index(self.role) >= ROLES.index(role)


ANYBODY = Token("admin", "anonymous", "")
"""Who calls when there are no tokens: then only this machine can."""

OPERATOR = Token("admin", "operator", "")
"""Who calls a worker with the secret that both mount."""


def new_token() -> str:
    """A fresh secret of 256 bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is stored of it; a plain SHA-256 is enough for 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def parse(text: str, where: str) -> tuple[Token, ...]:
    """The lines of a file; raises SettingsError that names the line."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 3 or words[0] not in ROLES or len(words[2]) != 64:
            raise SettingsError(f"{where}, line {number}: expected `role name sha256`, role one of {', '.join(ROLES)}")
        found.append(Token(*words))
    return tuple(found)


class TokenFile:
    """The file, as it is now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] = (0, 0)
        self._tokens: tuple[Token, ...] = ()
        self._read()

    def _read(self) -> None:
        try:
            found = os.stat(self._path)
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp != self._stamp:
                self._tokens = parse(self._path.read_text(), str(self._path))
                self._stamp = stamp
        except OSError as error:
            raise SettingsError(f"cannot read the tokens file {self._path}: {error.strerror}") from error

    def find(self, token: str) -> Token | None:
        """Whose token it is; compares with every line in constant time."""
        try:
            self._read()
        except SettingsError:
            pass  # half written: the lines that were good stay good until the file is
        wanted = digest(token)
        found = None
        for line in self._tokens:
            if hmac.compare_digest(line.digest, wanted):
                found = line
        return found


class SharedSecret:
    """A file with one or two values, a line each: during a rotation both are valid."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def matches(self, token: str) -> bool:
        """Whether it is one of the values, as they are now; raises Unavailable when the file has none to compare with."""
        # Read each time: the file is two lines, and a Secret that Kubernetes swaps in counts with the next request.
        try:
            values = self._path.read_text().split()
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"the file of the operator's token cannot be read: {type(error).__name__}") from error
        if not 1 <= len(values) <= 2:
            raise Unavailable(f"the file of the operator's token should hold one or two values, not {len(values)}")
        found = [hmac.compare_digest(value.encode(), token.encode()) for value in values]
        return any(found)
