"""Who is told by a webhook: the one reading of its URL, and which addresses may be connected to.

Every other room takes the parts from here. URL libraries disagree about what they are lenient with, so nothing that needs
leniency is let in, and no library is asked.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from longshore.job.patterns import MAX_HOST, WEB_ADDRESS, matches

MAX_URL: Final = 2048

# An IPv4 address may hide in an IPv6 one, and a gateway on the way unpacks it.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215: chosen by the network's owner, so the place varies
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291, deprecated
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214: the upper half of the interface identifier

# Where AWS, Google, Alibaba and Azure hand out what a machine, or a pod, may do: to nobody, `allow_local` or not.
METADATA: Final = frozenset(
    ipaddress.ip_address(one)
    for one in (
        "169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
        "100.100.100.200", "168.63.129.16",
    )
)  # fmt: skip

_THIS_NETWORK, _BROADCAST = ipaddress.IPv4Network("0.0.0.0/8"), ipaddress.IPv4Address("255.255.255.255")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PARTS = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[^\]]+\]|[^:/?\[\]]+)(:(?P<port>[0-9]+))?(?P<target>[/?].*)?", re.DOTALL
)


class Refused(Exception):
    """This delivery can never work; trying again is useless."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """A URL taken apart."""

    scheme: str
    host: str
    """A name, or an address without brackets."""
    port: int
    target: str
    """Path and query, as they go into the first line of the request."""

    @property
    def origin(self) -> str:
        """What goes into the ``Host`` header; the port when it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _port_of(self.scheme) else f"{host}:{self.port}"


def receiver(url: str) -> Receiver:
    """The parts of a URL; raises ValueError, which says what is wrong with it."""
    if not matches(WEB_ADDRESS, url):
        raise ValueError(_fault(url))
    parts = _PARTS.fullmatch(url)
    assert parts is not None
    scheme, host, target = parts["scheme"], parts["host"].strip("[]").lower(), parts["target"] or "/"
    if len(host) > MAX_HOST:
        raise ValueError(f"has a host of {len(host)} characters; at most {MAX_HOST} are a name")
    port = int(parts["port"] or _port_of(scheme))
    return Receiver(scheme, host, port, target if target.startswith("/") else f"/{target}")


def check_url(url: str) -> str:
    """For the model of a job; raises ValueError."""
    receiver(url)
    return url


def _port_of(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _fault(url: str) -> str:
    """Why it is no address that a webhook can be sent to; credentials are never repeated."""
    rest = re.split(r"[/?#\\]", url.partition("://")[2], maxsplit=1)[0]
    if not url.startswith(("http://", "https://")):
        return "must begin with http:// or https://"
    if "@" in rest:
        return "must not carry credentials (user@host): anybody who may read the job could read them; sign by secretRef"
    if not url.isascii():
        return "has letters beyond ASCII; write the host in punycode (xn--…) and the rest in percent-encoding"
    if "#" in url:
        return "has a fragment (#…), which is never sent"
    if found := re.search(r'[\x00-\x20\x7f"<>\\`]', url):
        return f"has {found[0]!r}, which has to be percent-encoded"
    return f"has no host and port that can be connected to ({rest[:80]!r})"


def embedded(address: Address) -> list[Address]:
    """The address, and every IPv4 address that a gateway could make of it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    found: list[Address] = [address]
    found += [inner for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if inner is not None]
    number = int(address)
    low = ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if address in _NAT64 or (address in _COMPATIBLE and number > 1) or (number >> 32 & 0xFFFFFFFF) in _ISATAP:
        found.append(low)
    if address in _NAT64_LOCAL:
        bits = number & ((1 << 80) - 1)
        # RFC 6052, section 2.2: prefixes of /48 and /56 leave the octet from bit 64 free; behind /96 it is the end.
        guesses = (
            (bits >> 64 & 0xFFFF) << 16 | (bits >> 40 & 0xFFFF),
            (bits >> 64 & 0xFF) << 24 | (bits >> 32 & 0xFFFFFF),
        )
        found += [low, *(ipaddress.IPv4Address(one) for one in (*guesses, bits >> 24 & 0xFFFFFFFF) if one >> 24)]
    return found


def check_address(text: str, *, allow_local: bool, own: Callable[[str], bool]) -> None:
    """Refuse an address that only this machine or this link can reach, or that hands out credentials; raises Refused.

    ``own``: whether this machine has the address; what listens here can be reached by it as by loopback.
    """
    for address in embedded(ipaddress.ip_address(text.partition("%")[0])):
        never = address.is_multicast or address.is_unspecified or address in METADATA or address == _BROADCAST
        if never or (not allow_local and (_local(address) or own(str(address)))):
            raise Refused(
                f"{text} is an address that only this machine or link can reach, or that hands out credentials"
            )


def _local(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        return address.is_loopback or address.is_link_local or address.is_site_local
    return address.is_loopback or address.is_link_local or address in _THIS_NETWORK
