"""Numbers from headers, queries and files: the one way that text becomes a number.

``str.isdigit`` is true for ``²`` and for the digits of other scripts, ``int`` takes ``1_0``, `` 5 `` and ``٣`` and raises on
five thousand digits, and ``float`` takes ``nan``. Here a number is written in ASCII, as JSON writes it, and is short
enough that no program behind us (SQLite, the API server) overflows.
"""

import math
import re

MAX_DIGITS = 18  # the longest run of nines that fits in 64 bits with a sign

_WHOLE = re.compile(rf"[0-9]{{1,{MAX_DIGITS}}}")
_SIGNED = re.compile(rf"-?[0-9]{{1,{MAX_DIGITS}}}")
_DECIMAL = re.compile(rf"-?[0-9]{{1,{MAX_DIGITS}}}(\.[0-9]{{1,{MAX_DIGITS}}})?([eE][+-]?[0-9]{{1,3}})?")


def whole(text: str) -> int | None:
    """The number that 1 to 18 ASCII digits write; None for any other text."""
    return int(text) if _WHOLE.fullmatch(text) else None


def signed(text: str) -> int | None:
    """The same with a minus sign allowed before it."""
    return int(text) if _SIGNED.fullmatch(text) else None


def decimal(text: str) -> float | None:
    """The finite number that the text writes as JSON would; None for any other text."""
    value = float(text) if _DECIMAL.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None
