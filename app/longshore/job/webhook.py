"""What is said of the end of a job, how it is signed, to whom it may be said and when to try again.

Standard Webhooks 1.0. Pure: sending is the courier's work on a laptop and the operator's in a cluster.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import orjson

from longshore.job.receiver import Refused

# Standard Webhooks 1.0, "Deliverability and reliability": seconds before each attempt.
SCHEDULE_SECONDS = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
# Standard Webhooks 1.0, "Signature scheme": between 24 bytes (192 bits) and 64 bytes (512 bits).
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64
_URL_SAFE = str.maketrans("-_", "+/")
TIMEOUT_SECONDS = 20.0  # of one delivery in all; Standard Webhooks recommends 15 to 30
MAX_SECRET_BYTES = 64 * 1024  # of a secret's file; beyond it is no key
MAX_BODY_BYTES = 20_000  # as the standard asks
MAX_IN_FLIGHT = 64
MAX_ASKED_SECONDS = 86_400.0  # of a Retry-After; as long as the longest pause of the schedule
MAX_PER_RECEIVER = 8  # one that hangs keeps only so many senders waiting


class Delivered(StrEnum):
    """What became of one try."""

    DELIVERED = "delivered"  # a status of 2xx
    REFUSED = "refused"  # never to be tried again
    FAILED = "failed"  # worth another try


class DeliveryState(StrEnum):
    """How a delivery stands; all but the first are reasons of the condition `WebhookDelivered` of its job."""

    PENDING = "Pending"  # not tried yet
    RETRYING = "Retrying"  # failed, and tried again
    DELIVERED = "Delivered"  # the receiver took it
    REFUSED = "Refused"  # the receiver said never again, or it cannot be sent at all
    GIVEN_UP = "GivenUp"  # failed as often as the schedule allows


CONDITION = "WebhookDelivered"
_STATES = {Delivered.DELIVERED: DeliveryState.DELIVERED, Delivered.REFUSED: DeliveryState.REFUSED}


def state_after(result: Delivered, *, again: bool) -> DeliveryState:
    """How a delivery stands after a try; ``again`` says that another one follows."""
    return DeliveryState.RETRYING if again else _STATES.get(result, DeliveryState.GIVEN_UP)


def outcome(status: int) -> Delivered:
    """What the receiver's HTTP status means; a redirect is not followed, so it is a failure."""
    if 200 <= status < 300:
        return Delivered.DELIVERED
    # 410 is the receiver's way to say: never again.
    return Delivered.REFUSED if status == 410 else Delivered.FAILED


def next_attempt(attempts: int, now: float, random: Callable[[], float], *, asked: float = 0.0) -> float | None:
    """When to try again after so many attempts, up to a tenth later at random; ``None`` means give up.

    ``asked``: seconds for which the receiver asked to be left alone, which counts when it is longer than ours.
    """
    if attempts >= len(SCHEDULE_SECONDS):
        return None
    return now + max(SCHEDULE_SECONDS[attempts], min(asked, MAX_ASKED_SECONDS)) * (1 + 0.1 * random())


def retry_after(text: str, now: float) -> float:
    """Seconds that a ``Retry-After`` asks for, written as seconds or as a date (RFC 9110, section 10.2.3); 0 for no sense."""
    text = text.strip()[:64]
    if text.isascii() and text.isdigit():
        return float(text[:10])
    try:
        when = parsedate_to_datetime(text)
        return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def message_id(uid: str, redrives: int) -> str:
    """The same for every try to tell of one end, by which the receiver knows repeats."""
    return f"msg_{uid}_{redrives}"


def receiver_of(url: str) -> str:
    """Whose share of the senders a delivery takes; never fails, because what was stored once may be anything."""
    return url.lower().partition("://")[2].partition("/")[0]


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
    """Keys of a secret, one per line (several while they are being rotated); raises Refused, which names the line.

    Base64 with or without its padding, in either alphabet; ``whsec_`` before it, empty lines, ``#`` comments and a byte order
    mark are passed over. What is too short to be a key is refused: a signature with it proves nothing.
    """
    lines = [line.partition("#")[0].strip() for line in text.removeprefix("\ufeff").splitlines()]
    keys = [_key(f"secret {name}, line {number}", line) for number, line in enumerate(lines, 1) if line]
    if not keys:
        raise Refused(f"secret {name} has no key")
    return keys


def _key(where: str, line: str) -> bytes:
    letters = line.removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(letters.translate(_URL_SAFE) + "=" * (-len(letters) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise Refused(f"{where}: is no base64") from None
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise Refused(f"{where}: a key of {len(key)} bytes; from {MIN_KEY_BYTES} to {MAX_KEY_BYTES} are allowed")
    return key
