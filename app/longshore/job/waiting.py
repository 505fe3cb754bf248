"""How a job waits: what holds it, how it enters its line, and which jobs have to succeed before it."""

from collections.abc import Hashable, Iterable
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Generic, TypeVar

from longshore.job.items import ArrayState
from longshore.job.lane import Entry
from longshore.job.line import Line

Name = TypeVar("Name", bound=Hashable)


class Held(StrEnum):
    """Why a job is in its line and cannot start; the first that holds is the one that is named."""

    ENDING = "ending"  # its cancel is asked for: an array of which some items still run
    SUSPENDED = "suspended"  # until somebody resumes it
    DEPENDENCIES = "dependencies"  # until the jobs that it waits for have succeeded
    HANDLER = "handler"  # until some worker knows its handler
    ITEMS = "items"  # an array: all items run or have ended, or parallelism is reached


def obstacle(*, cancel: bool, suspend: bool, waits: bool, runnable: bool) -> Held | None:
    """What keeps a job from starting, whatever its line says; ``waits``: for other jobs."""
    if cancel:
        return Held.ENDING
    if suspend:
        return Held.SUSPENDED
    if waits:
        return Held.DEPENDENCIES
    return None if runnable else Held.HANDLER


def enter(line: Line, entry: Entry, why: Held | None, array: ArrayState | None, now: float) -> None:
    """Put a waiting job where it belongs in its line; ``array``: its items, when it is an array."""
    if why is None and array is not None:
        if (wake := array.wake(now)) is None:
            why = Held.ITEMS
        else:
            entry.not_before = max(entry.not_before, wake)
    if why is not None:
        line.hold(entry, why)
        return
    if entry.not_before <= now:
        entry.not_before = 0.0
    line.push(entry)


class Prerequisites(Generic[Name]):
    """Which jobs, by uid, wait for which others, by name; a name is whatever is hashable."""

    def __init__(self) -> None:
        self._missing: dict[str, set[Name]] = {}
        self._behind: dict[Name, set[str]] = {}

    def expect(self, uid: str, names: Iterable[Name]) -> None:
        """The job waits for these, and for no others any more."""
        for name in list(self.of(uid)):
            self.met(uid, name)
        if missing := set(names):
            self._missing[uid] = missing
        for name in missing:
            self._behind.setdefault(name, set()).add(uid)

    def met(self, uid: str, name: Name) -> None:
        """One of those that it waited for has succeeded."""
        _discard(self._missing, uid, name)
        _discard(self._behind, name, uid)

    def of(self, uid: str) -> AbstractSet[Name]:
        """Names that still have to succeed before the job."""
        return self._missing.get(uid, frozenset())

    def behind(self, name: Name) -> list[str]:
        """The jobs that wait for that one."""
        return list(self._behind.get(name, ()))


_Key = TypeVar("_Key", bound=Hashable)
_Entry = TypeVar("_Entry", bound=Hashable)


def _discard(sets: dict[_Key, set[_Entry]], key: _Key, entry: _Entry) -> None:
    """Take one out, and the set with the last."""
    if (found := sets.get(key)) is not None:
        found.discard(entry)
        if not found:
            del sets[key]
