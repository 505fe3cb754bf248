"""Who a webhook may be sent to: URLs that every library reads alike, addresses that are nobody's own."""

import ipaddress
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from longshore.addresses import is_own
from longshore.job.patterns import WEB_ADDRESS, matches, portable
from longshore.job.receiver import Receiver, Refused, check_address, receiver

MACHINE = ipaddress.ip_address("192.0.2.7")


def _own(address: str) -> bool:
    return ipaddress.ip_address(address) == MACHINE


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://a/", Receiver("http", "a", 80, "/")),
        ("https://Hooks.example.com:8443/in?x=[1]", Receiver("https", "hooks.example.com", 8443, "/in?x=[1]")),
        ("http://h?x", Receiver("http", "h", 80, "/?x")),
        ("http://[2001:DB8::1]", Receiver("http", "2001:db8::1", 80, "/")),
        ("http://a_b.svc.:65535/", Receiver("http", "a_b.svc.", 65535, "/")),
        ("http://2024-receiver/", Receiver("http", "2024-receiver", 80, "/")),
    ],
)
def test_a_url_is_taken_apart(url: str, parts: Receiver) -> None:
    """Scheme, host, port and what stands in the first line of the request."""
    assert receiver(url) == parts


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://[]@/", "credentials"), ("http://user:word@host/", "credentials"), ("http://a\\@b/", "percent-encoded"),
        ("http://[:::]/", "host"), ("http://[fe80::1%25eth0]/", "host"), ("http://[1.2.3.4]/", "host"),
        ("http://h:0/", "host"), ("http://h:65536/", "host"), ("http://h:/", "host"), ("http://h:080/", "host"),
        ("http://127.1/", "host"), ("http://2130706433/", "host"), ("http://a..b/", "host"), ("http:///x", "host"),
        ("http://" + "a." * 130 + "b/", "254|261"), ("http://b\u00fccher.example/", "punycode"), ("http://h/\u00a0", "ASCII"),
        ("http://h/a b", "percent-encoded"), ("http://h/\n", "percent-encoded"), ("http://h\n", "percent-encoded"),
        ("http://h/#x", "fragment"), ("ftp://h/", "http"), ("HTTP://h/", "http"), ("h/", "http"), ("", "http"),
    ],
)  # fmt: skip
def test_a_url_that_cannot_work_is_refused_with_its_reason(url: str, why: str) -> None:
    """Or that libraries disagree about."""
    with pytest.raises(ValueError, match=why):
        receiver(url)


def test_a_refusal_does_not_repeat_credentials() -> None:
    """It ends in logs and in statuses."""
    with pytest.raises(ValueError, match="credentials") as refused:
        receiver("https://user:hunter2@host/")
    assert "hunter2" not in str(refused.value)


@given(st.from_regex(WEB_ADDRESS.removesuffix("$") + r"\Z"))
def test_libraries_agree_about_what_is_taken(url: str) -> None:
    """The host and port that we connect to are those that anybody else reads there."""
    try:
        ours = receiver(url)
    except ValueError as error:
        assert "characters" in str(error)  # noqa: PT017  # a pattern cannot count the whole name
        return
    theirs, yarl = urllib.parse.urlsplit(url), URL(url, encoded=True)
    assert (theirs.hostname, theirs.port or ours.port) == (ours.host, ours.port)
    assert (yarl.raw_host or "").lower() == ours.host
    assert yarl.port == ours.port


@given(st.text(alphabet=st.sampled_from("htps:/[]@.%\\#? \t\u00a0x1:")))
def test_reading_a_url_never_fails_otherwise(rest: str) -> None:
    """Whatever stands there."""
    for url in (rest, f"http://{rest}", f"https://[{rest}"):
        try:
            receiver(url)
        except ValueError:
            continue
        assert matches(WEB_ADDRESS, url)


@pytest.mark.parametrize(
    "pattern",
    [r"^\s$", r"^\w+$", r"^\d$", r"^[^\s]$", r"^a\b$", r"^(?i)a$", "a$", "^a", "^\u00e4$", r"^\pL$", "^[[:alpha:]]$"],
)
def test_a_pattern_that_engines_read_differently_is_not_published(pattern: str) -> None:
    """ASCII to an API server, Unicode to pydantic."""
    with pytest.raises(ValueError, match="engines|anchored|ASCII"):
        portable(pattern)


ANYWHERE = ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::", "100.100.100.200", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"]  # fmt: skip
HERE = ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1",
        "2002:7f00:1::", "169.254.1.1", "fe80::1", "0.1.2.3", "fe80::5efe:7f00:1", "fec0::1", "192.0.2.7",
        "::ffff:192.0.2.7", "64:ff9b::c000:207", "2002:c000:207::1"]  # fmt: skip


@pytest.mark.parametrize("address", ANYWHERE)
def test_an_address_that_gives_credentials_away_is_refused_always(address: str) -> None:
    """`webhook_allow_local` is for receivers, and these are none."""
    for allow_local in (False, True):
        with pytest.raises(Refused):
            check_address(address, allow_local=allow_local, own=_own)


@pytest.mark.parametrize("address", HERE)
def test_a_local_address_is_refused_however_it_is_written(address: str) -> None:
    """Packed into IPv6 by a gateway, or one of the machine's own."""
    with pytest.raises(Refused):
        check_address(address, allow_local=False, own=_own)
    check_address(address, allow_local=True, own=_own)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "10.0.0.1", "192.168.1.1", "2001:db8::1", "fd12::1", "64:ff9b::808:808"]
)
def test_other_addresses_pass(address: str) -> None:
    """Private ones too: receivers live there."""
    check_address(address, allow_local=False, own=_own)


def test_a_machine_knows_its_own_addresses() -> None:
    """By whether a socket can be bound to them."""
    assert is_own("127.0.0.1")
    assert not is_own("192.0.2.1")
    assert not is_own("2001:db8::1")
