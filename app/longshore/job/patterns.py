"""Patterns that every reader of our schemas takes alike: pydantic (Rust), an API server (Go), OpenAPI clients (ECMAScript).

A shorthand such as ``\\s`` means ASCII to one of them and Unicode to another, so what one takes the next refuses. Written out, a
class means the same everywhere; ``portable`` is asked for each pattern that is published.
"""

import re
from typing import Final

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

# Five words of printable ASCII, or a macro. The fields themselves are checked by ``cron`` and by the operator.
_BLANK, _WORD = r"[ \t]", r"[!-?A-~]"
CRON_SHAPE: Final = rf"^{_BLANK}*(@[A-Za-z]+|{_WORD}+({_BLANK}+{_WORD}+){{4}}){_BLANK}*$"

# RFC 3339, section 5.6, with the T and without the leap second and the year 0, which Python does not know. The days of a
# month are checked by whoever reads the date.
_YEAR = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
TIME: Final = (
    rf"^{_YEAR}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]{_CLOCK}:[0-5][0-9]([.][0-9]{{1,9}})?([Zz]|[+-]{_CLOCK})$"
)

# Kubernetes' own. Of a key the prefix is a DNS subdomain.
LABEL_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
LABEL_KEY: Final = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
MAX_LABEL_KEY: Final = 317  # a prefix of 253 and a name of 63

# RFC 3986, section 3.2.2, without the forms that URL libraries disagree about: no user, no zone, no name that ends in a number.
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"({_OCTET}\.){{3}}{_OCTET}"
_H16 = "[0-9A-Fa-f]{1,4}"
_LS32 = f"({_H16}:{_H16}|{_IPV4})"
_IPV6 = "|".join(
    [f"({_H16}:){{6}}{_LS32}", f"::({_H16}:){{5}}{_LS32}", f"({_H16})?::({_H16}:){{4}}{_LS32}"]
    + [f"(({_H16}:){{0,{4 - left}}}{_H16})?::({_H16}:){{{left}}}{_LS32}" for left in (3, 2)]
    + [f"(({_H16}:){{0,3}}{_H16})?::{_H16}:{_LS32}", f"(({_H16}:){{0,4}}{_H16})?::{_LS32}"]
    + [f"(({_H16}:){{0,5}}{_H16})?::{_H16}", f"(({_H16}:){{0,6}}{_H16})?::"]
)
_LABEL = "[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?"
_LAST = "([0-9]{0,62}[A-Za-z_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?|[0-9]{1,31}-[-A-Za-z0-9_]{0,30}[A-Za-z0-9_])"
_PORT = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-3][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
# As it stands in a request: nothing that would have to be escaped first, no quotes and no backslash.
_TARGET = r"[/?][!$-;=?-\[\]^_a-~]*"
WEB_ADDRESS: Final = rf"^(https?)://(({_LABEL}\.)*{_LAST}\.?|{_IPV4}|\[({_IPV6})\])(:{_PORT})?({_TARGET})?$"

# RFC 1035: a name, written out, has 253 characters at most. Beside the pattern: it would have to look ahead to say so.
MAX_HOST: Final = 253
LONG_HOST: Final = rf"^https?://[^:/?\[\]]{{{MAX_HOST + 1}}}"


def portable(pattern: str) -> str:
    """The pattern itself; raises ValueError when engines would read it differently."""
    if not (pattern.startswith("^") and pattern.endswith("$")):
        raise ValueError(f"{pattern!r} is not anchored at both ends")
    if found := re.search(r"\\[A-Za-wyz0-9]|\[\[:|\(\?", pattern.replace(r"\t", "")):
        raise ValueError(f"{pattern!r} has {found[0]!r}, which engines read differently; write the class out")
    if not pattern.isascii():
        raise ValueError(f"{pattern!r} has letters beyond ASCII")
    return pattern


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text fits; Python's own ``$`` would let a newline follow."""
    return re.fullmatch(pattern.removeprefix("^").removesuffix("$"), text) is not None
