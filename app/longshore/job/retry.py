"""Whether a failed attempt is worth another one, and how long to wait for it."""

from collections.abc import Callable, Iterable, Sequence

from longshore.job.spec import Retry
from longshore.job.status import NEVER_RETRIED

Random = Callable[[], float]
"""Uniform in [0, 1), as ``random.random``."""


def backoff(retry: Retry, retries: int, random: Random) -> float:
    """Seconds to wait before retry number ``retries`` (1 for the first).

    Exponential with jitter: the longest wait is ``initial × factor^(retries-1)``, at most ``maxSeconds``; ``jitter``
    of it is drawn at random. 1 is "full jitter" (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
    """
    try:
        longest = min(retry.max_seconds, retry.initial_seconds * retry.factor ** (retries - 1))
    except OverflowError:
        longest = retry.max_seconds
    return longest * (1.0 - retry.jitter + retry.jitter * random())


def worth_retrying(
    retry: Retry, *, error_type: str, reason: str, exit_code: int | None, error_names: Sequence[str] = ()
) -> bool:
    """Whether ``on`` and ``except`` let such a failure be repeated; ``except`` wins.

    ``error_names`` are the classes that the error belongs to beside its own: bases, and the members of a group.
    """
    if reason in NEVER_RETRIED:
        return False
    names = {error_type, error_type.rpartition(".")[2], reason, *error_names}
    if exit_code is not None:
        names.add(f"exit:{exit_code}")
    names.discard("")
    return not _meets(names, retry.except_) and (not retry.on or _meets(names, retry.on))


def _meets(names: set[str], patterns: Iterable[str]) -> bool:
    return not names.isdisjoint(patterns)
