"""Which connection goes when a limit is reached."""

import pytest

from longshore.connection_table import ConnectionTable, caller_address, is_loopback


def test_the_newest_connection_is_never_the_one_that_goes() -> None:
    table: ConnectionTable[str] = ConnectionTable(3, 100)
    for name in ("first", "second", "third"):
        table.add(name, "192.0.2.1")

    assert (True, "first") == table.in_the_way("198.51.100.7")


def test_the_address_that_holds_most_pays() -> None:
    table: ConnectionTable[str] = ConnectionTable(4, 100)
    table.add("honest", "198.51.100.7")
    for name in ("a", "b", "c"):
        table.add(name, "192.0.2.1")

    assert (True, "a") == table.in_the_way("203.0.113.5"), "the honest connection is older, and alone"


def test_unfinished_requests_go_before_idle_connections_and_answers_never() -> None:
    table: ConnectionTable[str] = ConnectionTable(3, 100)
    for name in ("idle", "busy", "unfinished"):
        table.add(name, "192.0.2.1")
    table.idle("idle")
    table.busy("busy")

    assert "unfinished" == table.victim()
    table.remove("unfinished")
    assert "idle" == table.victim()
    table.remove("idle")
    assert table.victim() is None


def test_an_address_has_its_own_limit_unless_it_speaks_for_many() -> None:
    table: ConnectionTable[int] = ConnectionTable(100, 2)
    for number in range(2):
        table.add(number, "192.0.2.1")
    for number in range(10, 15):
        table.add(number, "127.0.0.1")

    assert (True, 0) == table.in_the_way("192.0.2.1")
    assert (False, None) == table.in_the_way("127.0.0.1")
    assert (False, None) == table.in_the_way("198.51.100.7")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (("192.0.2.1", 1), ("192.0.2.1", 2), True),
        (("192.0.2.1", 1), ("192.0.2.2", 1), False),
        (("::ffff:192.0.2.1", 1, 0, 0), ("192.0.2.1", 2), True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8::ffff:2", 1, 0, 0), True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8:0:1::1", 1, 0, 0), False),
        (("fe80::1%eth0", 1, 0, 2), ("fe80::2", 1, 0, 0), True),
    ],
)
def test_callers_are_counted_by_address_and_by_network_for_ipv6(first: object, second: object, same: bool) -> None:
    assert same == (caller_address(first) == caller_address(second))


def test_a_machines_own_addresses_are_loopback() -> None:
    own = [("127.0.0.1", 1), ("127.9.9.9", 1), ("::1", 1, 0, 0), ""]

    assert all(is_loopback(caller_address(address)) for address in own)
    assert not is_loopback(caller_address(("192.0.2.1", 1)))
