"""What is said of the end of a job, how it is signed, to whom it may be said and when to try again.

Standard Webhooks 1.0. Pure: sending is the courier's work on a laptop and the operator's in a cluster.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import orjson

# Standard Webhooks 1.0, "Deliverability and reliability": seconds before each attempt.
SCHEDULE_SECONDS = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
TIMEOUT_SECONDS = 20.0  # of one delivery in all; Standard Webhooks recommends 15 to 30
MAX_BODY_BYTES = 20_000  # as the standard asks
MAX_IN_FLIGHT = 64
MAX_PER_RECEIVER = 8  # one that hangs keeps only so many senders waiting


class Refused(Exception):
    """This delivery can never work; trying again is useless."""


class Delivered(StrEnum):
    """What became of one try."""

    DELIVERED = "delivered"  # a status of 2xx
    REFUSED = "refused"  # never to be tried again
    FAILED = "failed"  # worth another try


def outcome(status: int) -> Delivered:
    """What the receiver's HTTP status means; a redirect is not followed, so it is a failure."""
    if 200 <= status < 300:
        return Delivered.DELIVERED
    # 410 is the receiver's way to say: never again.
    return Delivered.REFUSED if status == 410 else Delivered.FAILED


def next_attempt(attempts: int, now: float, random: Callable[[], float]) -> float | None:
    """When to try again after so many attempts, up to a tenth later at random; ``None`` means give up."""
    if attempts >= len(SCHEDULE_SECONDS):
        return None
    return now + SCHEDULE_SECONDS[attempts] * (1 + 0.1 * random())


def message_id(uid: str, redrives: int) -> str:
    """The same for every try to tell of one end, by which the receiver knows repeats."""
    return f"msg_{uid}_{redrives}"


def receiver_of(url: str) -> str:
    """Whose share of the senders a delivery takes."""
    return url.split("/")[2].lower()  # whatever stands there: not every URL that is accepted can be parsed


def body(phase: str, at: str, data: Mapping[str, Any]) -> bytes:
    """``type``, ``timestamp``, ``data``; a result that makes it too large is left out."""
    whole = {"type": f"job.{phase.lower()}", "timestamp": at, "data": data}
    text = orjson.dumps(whole)
    if len(text) <= MAX_BODY_BYTES:
        return text
    return orjson.dumps({**whole, "data": {**data, "result": None, "resultOmitted": True}})


def headers(message: str, timestamp: int, data: bytes, keys: Sequence[bytes], agent: str) -> dict[str, str]:
    """Those of one try, at ``timestamp`` in whole seconds since the epoch; signed when there are keys."""
    found = {
        "Content-Type": "application/json", "User-Agent": agent,
        "webhook-id": message, "webhook-timestamp": str(timestamp),
    }  # fmt: skip
    return found | ({"webhook-signature": sign(keys, message, timestamp, data)} if keys else {})


def sign(keys: Iterable[bytes], message: str, timestamp: int, data: bytes) -> str:
    """The ``webhook-signature`` header: one ``v1,`` entry per key."""
    content = f"{message}.{timestamp}.".encode() + data
    digests = (hmac.new(key, content, hashlib.sha256).digest() for key in keys)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def signing_keys(name: str, text: str) -> list[bytes]:
    """Keys of a secret, one per line (several while they are being rotated); raises Refused."""
    try:
        keys = [base64.b64decode(line.removeprefix("whsec_"), validate=True) for line in text.split()]
    except (ValueError, binascii.Error) as error:
        raise Refused(f"secret {name} cannot be read: {type(error).__name__}") from error
    if not keys:
        raise Refused(f"secret {name} has no key")
    return keys


def check_address(text: str, *, allow_local: bool) -> None:
    """Refuse an address that only this machine or this link can reach; raises Refused."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    local = address.is_loopback or address.is_link_local
    if address.is_multicast or address.is_unspecified or (local and not allow_local):
        raise Refused(f"{address} is a loopback, link-local or multicast address")
