"""Which addresses are this machine's own."""

import socket


def is_own(address: str) -> bool:
    """Whether an interface of this machine has the address: a socket can be bound to such ones alone. Sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
