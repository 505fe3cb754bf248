"""Which addresses lie in the networks that a setting names."""

import pytest

from longshore.addresses import inside

NETWORKS = ("10.1.0.0/16", "192.0.2.7/32", "2001:db8::/64")


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("10.1.200.3", True),
        ("10.2.0.1", False),
        ("192.0.2.7", True),
        ("192.0.2.70", False),
        ("::ffff:10.1.0.9", True),
        ("::ffff:10.2.0.9", False),
        ("2001:db8::1", True),
        ("2001:db8:0:1::1", False),
        ("", False),
        ("10.1.0.0/16", False),
        ("10.1.0.²", False),
        ("/run/proxy.sock", False),
    ],
)
def test_an_address_lies_in_a_network_or_it_does_not(address: str, *, found: bool) -> None:
    assert found == inside(NETWORKS)(address)
    assert not inside(())(address)
