"""What an address is: one of this machine's own, or one of a network that a setting names."""

import ipaddress
import socket
from collections.abc import Callable, Sequence


def is_own(address: str) -> bool:
    """Whether an interface of this machine has the address: a socket can be bound to such ones alone. Sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def inside(networks: Sequence[str]) -> Callable[[str], bool]:
    """Tells of an address whether it lies in one of these networks (``10.0.0.0/8``, ``::1``); nothing else does."""
    known = [ipaddress.ip_network(text) for text in networks]

    def lies(address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped  # how a listener of both families shows a caller of the old one
        return any(found in network for network in known)

    return lies
