"""Bearer tokens: a file of hashes, one ``role name hash`` per line, read again when it changes."""

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

from longshore.errors import SettingsError, Unavailable

ROLES = ("read", "submit", "admin")
"""Each may do what the ones before it may."""
PREFIX = "lsh_"  # lets secret scanners recognise one
RETRY_SECONDS = 5
_DIGEST = re.compile("[0-9a-f]{64}")
_FORM = f"`role name sha256`, role one of {', '.join(ROLES)}"
_log = logging.getLogger("longshore.tokens")


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
    """The lines of a file; raises SettingsError that names the first one that is malformed."""
    found, malformed = read_lines(text)
    if malformed:
        raise SettingsError(f"{where}, line {malformed[0]}: expected {_FORM}")
    return found


def read_lines(text: str) -> tuple[tuple[Token, ...], tuple[int, ...]]:
    """The tokens of a file, and the numbers of the lines that are none."""
    found, malformed = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) == 3 and words[0] in ROLES and _DIGEST.fullmatch(words[2]):
            found.append(Token(*words))
        else:
            malformed.append(number)
    return tuple(found), tuple(malformed)


class TokenFile:
    """The file, as it is now: what cannot be read admits nobody, a malformed line admits nobody but costs no other its right."""

    def __init__(self, path: Path) -> None:
        """Raises SettingsError when the file cannot be read at the start."""
        self._path = path
        self._stamp: tuple[int, ...] = ()
        self._tokens: tuple[Token, ...] = ()
        self._lock = threading.Lock()
        self.malformed: tuple[int, ...] = ()
        """Numbers of the lines that are skipped."""
        self.readable = True
        try:
            self._read()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot read the tokens file {path}: {_reason(error)}") from error
        warn_if_open(path)

    def find(self, token: str) -> Token | None:
        """Whose token it is, compared with every line in constant time; raises Unavailable when the file cannot be read."""
        with self._lock:
            self._refresh()
            lines = self._tokens
        wanted = digest(token)
        found = None
        for line in lines:
            if hmac.compare_digest(line.digest, wanted):
                found = line
        return found

    def _refresh(self) -> None:
        try:
            self._read()
        except (OSError, UnicodeDecodeError) as error:
            # Whoever took the file away may have meant to take all rights away.
            self._stamp, self._tokens = (), ()
            if self.readable:
                self.readable = False
                _log.error(
                    "the tokens file %s cannot be read (%s): no token is valid until it can", self._path, _reason(error)
                )
            raise Unavailable("this service cannot read its tokens now", retry_after=RETRY_SECONDS) from None
        if not self.readable:
            self.readable = True
            _log.warning("the tokens file %s can be read again", self._path)

    def _read(self) -> None:
        found = os.stat(self._path)
        stamp = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
        if stamp == self._stamp:
            return
        self._tokens, self.malformed = read_lines(self._path.read_text(encoding="utf-8"))
        self._stamp = stamp
        if self.malformed:
            numbers = ", ".join(map(str, self.malformed[:10]))
            _log.error("the tokens file %s: skipped %d malformed line(s), first at %s: expected %s",
                       self._path, len(self.malformed), numbers, _FORM)  # fmt: skip


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else "it is not UTF-8"


def warn_if_open(path: Path) -> None:
    """Say at the start that others on this machine can read a file of tokens, or write one of their own into it.

    Not refused: the file may have been so for long, and a service that does not start after an upgrade helps nobody. Of a
    file that belongs to another user the group may read: so Kubernetes mounts a Secret (0440, root, the pod's fsGroup).
    """
    try:
        found = os.stat(path)
    except OSError:
        return  # said where the file is read
    mode = stat.S_IMODE(found.st_mode)
    others = 0o037 | (0o040 if found.st_uid == os.geteuid() else 0)
    if mode & others:
        _log.warning("the tokens file %s is open to others (mode %04o): chmod 600 %s, and make new tokens if they are not meant to know them",
                     path, mode, path)  # fmt: skip


class SharedSecret:
    """A file with one or two values, a line each: during a rotation both are valid."""

    def __init__(self, path: Path) -> None:
        self._path = path
        warn_if_open(path)

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
