"""Who is connected to a listener, and who has to go when a limit is reached.

A listener has a limit of connections in all and one for each address. At a limit a new connection is let in and an old
one is closed: of the address that holds most, the one that has rested longest, an unfinished request before a kept
connection without one. So thousands of silent connections compete with each other, never with an honest caller whose
request comes at once; and to refuse the newcomer instead would let the silent ones shut everybody out.

Connections whose request is being answered do not rest: they are never chosen.
"""

import ipaddress
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)

IPV6_NETWORK_BYTES = 8  # a household or a machine has a whole /64 to call from


def caller_address(address: object) -> str:
    """What a connection is counted by: its IPv4 address, the /64 of its IPv6 address, or ``unix``."""
    if not isinstance(address, tuple) or not address:
        return "unix"
    host = str(address[0])
    if ":" not in host:
        return host
    found = ipaddress.IPv6Address(host.partition("%")[0])
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return found.packed[:IPV6_NETWORK_BYTES].hex()


def is_loopback(address: str) -> bool:
    """Whether a ``caller_address`` is this machine's own."""
    return address == "unix" or address.startswith("127.") or address == "0" * (2 * IPV6_NETWORK_BYTES)


class _Caller(Generic[C]):
    """What one address holds; both dictionaries are in the order in which the connections came to rest."""

    __slots__ = ("idle", "open", "unfinished")

    def __init__(self) -> None:
        self.open = 0
        self.unfinished: dict[C, None] = {}
        self.idle: dict[C, None] = {}

    @property
    def resting(self) -> int:
        return len(self.unfinished) + len(self.idle)


class ConnectionTable(Generic[C]):
    """The open connections of a listener by caller. Every operation is O(1), a choice O(addresses)."""

    def __init__(self, limit: int, per_address: int, exempt: Callable[[str], bool] = is_loopback) -> None:
        """``exempt`` names the addresses that speak for many: the machine's own, and those of trusted proxies."""
        self._limit, self._per_address, self._exempt = limit, per_address, exempt
        self._callers: dict[str, _Caller[C]] = {}
        self._addresses: dict[C, str] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[C]:
        return iter(list(self._addresses))

    def in_the_way(self, address: str) -> tuple[bool, C | None]:
        """Whether a limit stands against one more connection of ``address``, and the one that has to go for it.

        ``(True, None)`` means that none can go: all are being answered.
        """
        caller = self._callers.get(address)
        if caller is not None and caller.open >= self._per_address and not self._exempt(address):
            return True, _longest(caller)
        if len(self._addresses) < self._limit:
            return False, None
        return True, self.victim()

    def victim(self) -> C | None:
        """The connection to close when there is no room, of whatever kind; None when all are being answered."""
        most = max(self._callers.values(), key=lambda caller: caller.resting, default=None)
        return _longest(most) if most is not None else None

    def add(self, connection: C, address: str) -> None:
        """A new connection, whose request has yet to come."""
        caller = self._callers.setdefault(address, _Caller())
        caller.open += 1
        caller.unfinished[connection] = None
        self._addresses[connection] = address

    def busy(self, connection: C) -> None:
        """Its request is being answered."""
        caller = self._callers[self._addresses[connection]]
        caller.unfinished.pop(connection, None)
        caller.idle.pop(connection, None)

    def unfinished(self, connection: C) -> None:
        """A request of it has begun, or an answer is not taken."""
        caller = self._callers[self._addresses[connection]]
        caller.idle.pop(connection, None)
        caller.unfinished.setdefault(connection, None)

    def idle(self, connection: C) -> None:
        """It is kept for another request."""
        caller = self._callers[self._addresses[connection]]
        caller.unfinished.pop(connection, None)
        caller.idle[connection] = None

    def remove(self, connection: C) -> None:
        """It is closed; harmless when it was already."""
        address = self._addresses.pop(connection, None)
        if address is None:
            return
        caller = self._callers[address]
        caller.open -= 1
        caller.unfinished.pop(connection, None)
        caller.idle.pop(connection, None)
        if not caller.open:
            del self._callers[address]


def _longest(caller: _Caller[C]) -> C | None:
    return next(iter(caller.unfinished or caller.idle), None)
