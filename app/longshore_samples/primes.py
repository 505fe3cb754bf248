"""Counts primes: a small job that really computes."""

from math import isqrt
from typing import Annotated

from pydantic import Field

from longshore import handler


@handler
def primes(limit: Annotated[int, Field(ge=0, le=50_000_000)] = 10_000) -> dict[str, int]:
    """Count the primes up to ``limit`` with the sieve of Eratosthenes, and name the largest (0 when there is none)."""
    sieve = bytearray([1]) * (limit + 1)
    sieve[:2] = bytes(min(2, limit + 1))
    for number in range(2, isqrt(limit) + 1):
        if sieve[number]:
            start = number * number
            sieve[start::number] = bytes(len(range(start, limit + 1, number)))
    return {"count": sum(sieve), "largest": max(0, sieve.rfind(1))}
