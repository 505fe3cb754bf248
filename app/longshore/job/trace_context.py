"""W3C Trace Context: what of a caller's ``traceparent`` and ``tracestate`` is kept with a job.

A header that breaks the rules is dropped as if it had not come, as the recommendation says (Trace Context, 3.3 and 4.3):
tracing never refuses a job. Without a valid ``traceparent`` there is no ``tracestate``.
"""

import hashlib
import re
from typing import Final

MAX_MEMBERS: Final = 32
MAX_LENGTH: Final = 512
"""Characters that are passed on; longer ones are shortened by whole members."""
LONG_MEMBER: Final = 128
"""Members above this go first when something has to go (3.3.1.5)."""

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_KEY = r"[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(f"({_KEY})=({_VALUE})")


def traceparent(text: str) -> str:
    """The header when it is one; else empty."""
    return text if _TRACEPARENT.fullmatch(text) else ""


def trace_id(parent: str, uid: str = "") -> str:
    """Of a valid ``parent``, else of the job itself, for one that came without: 32 digits; empty without either."""
    if traceparent(parent):
        return parent.split("-")[1]
    digits = uid.replace("-", "").lower()
    if re.fullmatch(r"(?!0{32})[0-9a-f]{32}", digits) or not uid:
        return digits
    return hashlib.sha256(uid.encode()).hexdigest()[:32]


def tracestate(text: str, parent: str) -> str:
    """The header's members, joined by commas and at most 512 characters; empty when it is none, or ``parent`` is.

    Several headers come joined by commas. Members may be empty, and have spaces around them; one that is malformed, or
    a key that comes twice, voids the whole.
    """
    members = [member.strip(" \t") for member in text.split(",")]
    members = [member for member in members if member]
    found = [_MEMBER.fullmatch(member) for member in members]
    keys = [match[1] for match in found if match is not None]
    valid = len(keys) == len(members) == len(set(keys)) and len(members) <= MAX_MEMBERS
    return _shortened(members) if valid and traceparent(parent) else ""


def _shortened(members: list[str]) -> str:
    if len(",".join(members)) > MAX_LENGTH:
        members = [member for member in members if len(member) <= LONG_MEMBER]
    while len(",".join(members)) > MAX_LENGTH:
        members = members[:-1]
    return ",".join(members)
