"""The same request twice is one job: digests of requests, names from keys, names from time."""

import hashlib

import orjson

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case: valid in a DNS name, sorts by value
_TIME_DIGITS, _RANDOM_DIGITS = 10, 16


def fingerprint(method: str, path: str, body: object) -> str:
    """Digest of a request whose body is parsed JSON: key order and white space make no difference."""
    canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(f"{method} {path}\n".encode() + canonical).hexdigest()


def name_from_key(key: str) -> str:
    """The name of the object that an idempotency key stands for: equal keys, equal names; 35 characters."""
    return "key-" + hashlib.sha256(key.encode()).hexdigest()[:31]


def name_from_time(now: float, random_bits: int) -> str:
    """A name that sorts by time (milliseconds) and is unique by 80 random bits; 26 characters, as a ULID in lower case."""
    return _base32(int(now * 1000), _TIME_DIGITS) + _base32(random_bits, _RANDOM_DIGITS)


def _base32(value: int, digits: int) -> str:
    return "".join([_ALPHABET[(value >> shift) & 31] for shift in range(5 * (digits - 1), -1, -5)])
