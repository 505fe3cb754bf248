"""Random numbers: a fork has its parent's generators, so all slots would draw the same without new seeds.

Found when the applications are imported: the generators of ``random`` and ``numpy.random``, and every other instance
of ``random.Random``, ``numpy.random.Generator`` and ``numpy.random.RandomState``, wherever it is kept. One that the
application seeded on purpose keeps its seed; the two that everybody shares never do.
"""

import array
import contextlib
import gc
import os
import random
import sys
from collections.abc import Iterator
from typing import Any

_seeded: set[int] = set()
_found: list[Any] = []

# numpy draws 128 bits when it is not given a seed; nobody writes one of more than 64 bits by hand.
_BY_HAND = 1 << 64


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """While applications are imported: remember which generators of ``random`` were given a seed."""
    original = random.Random.seed

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        (_seeded.discard if a is None else _seeded.add)(id(self))
        original(self, a, version)

    random.Random.seed = seed  # type: ignore[method-assign]
    try:
        yield
    finally:
        random.Random.seed = original  # type: ignore[method-assign]


def find() -> None:
    """Look for generators; after the import and before the collector is told to leave all that alone."""
    numpy = sys.modules.get("numpy.random")
    others = () if numpy is None else (numpy.Generator, numpy.RandomState)
    for each in gc.get_objects():
        kind = type(each)
        if (
            issubclass(kind, random.Random) and not issubclass(kind, random.SystemRandom) and id(each) not in _seeded
        ) or (others and issubclass(kind, others) and not _seeded_by_hand(each)):
            _found.append(each)


def _seeded_by_hand(generator: Any) -> bool:
    bits = getattr(generator, "bit_generator", None) or getattr(generator, "_bit_generator", None)
    entropy = getattr(getattr(bits, "seed_seq", None) or getattr(bits, "_seed_seq", None), "entropy", None)
    return not isinstance(entropy, int) or entropy < _BY_HAND


def refresh() -> None:
    """New seeds for the generators that everybody shares: a job may have given them one, for itself."""
    random.seed(int.from_bytes(os.urandom(16)))
    if (numpy := sys.modules.get("numpy.random")) is not None:
        # Four words of entropy: numpy's own way costs as much as a job.
        numpy.seed(list(array.array("I", os.urandom(16))))


def reseed() -> None:
    """New seeds from the system, in a new slot."""
    refresh()
    for each in _found:
        if isinstance(each, random.Random):
            each.seed()
        else:
            bits = getattr(each, "bit_generator", None) or each._bit_generator
            bits.state = type(bits)().state
