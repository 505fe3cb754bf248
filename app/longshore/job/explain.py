"""Why a job stands where it stands: its line, read aloud. Computed when asked, never written down."""

from longshore.job.lane import Entry
from longshore.job.line import Line
from longshore.job.spec import Frozen, Time, rfc3339_at, utc
from longshore.job.waiting import Held

HELD = {
    Held.ENDING: ("Ending", "it is being cancelled"),
    Held.SUSPENDED: ("Suspended", "it is suspended; resume it"),
    Held.DEPENDENCIES: ("Dependencies", "it waits for other jobs to succeed"),
    Held.HANDLER: ("UnknownHandler", "no worker knows its handler"),
    Held.ITEMS: ("Items", "all its items are running or have ended, or parallelism is reached"),
}


class Explanation(Frozen):
    """Why a job does not run now."""

    reason: str
    """In one word: Next, InLine, NotBefore, Paused, ConcurrencyReached, KeyConcurrencyReached, RateLimited, NoFreeSlot,
    Suspended, Dependencies, UnknownHandler, Items, Running, Ending, Ended; in a cluster also NoWorker, Starting."""
    message: str
    """In a sentence."""
    position: int | None = None
    """Place in the line of its queue, from 1; exact for the first, an estimate behind it, because turns go by key."""
    waits_until: Time | None = None
    """When time alone may change that."""
    waits_for: tuple[str, ...] = ()
    """Jobs that have to succeed first."""


def explain(
    line: Line, uid: str, *, now: float, free_slots: int, waits_for: tuple[str, ...] = ()
) -> Explanation | None:
    """Why the waiting job does not start now; None when it is not in this line.

    Says ``Next`` exactly when ``line.pop(now)`` would return it and a slot is free.
    """
    entry = line.entry(uid)
    if entry is None:
        return None
    line.peek(now)  # lets those in whose time has come
    if entry.place == "held":
        return _held(entry, waits_for)
    if entry.place == "delayed":
        return Explanation(reason="NotBefore", message=f"it does not start before {rfc3339_at(entry.not_before)}",
                           waits_until=_time(entry.not_before))  # fmt: skip
    if free_slots and line.peek(now, [lane for lane in line.lanes if lane != entry.lane]) is entry:
        return Explanation(reason="Next", message="it is next", position=1)
    return _blocked(line, entry, now=now, free_slots=free_slots)


def _held(entry: Entry, waits_for: tuple[str, ...]) -> Explanation:
    reason, message = HELD[Held(entry.why)]
    if waits_for:
        message = f"it waits for {', '.join(waits_for)} to succeed"
    return Explanation(reason=reason, message=message, waits_for=waits_for)


def _blocked(line: Line, entry: Entry, *, now: float, free_slots: int) -> Explanation:
    policy, position = line.policy, _position(line, entry)
    if policy.paused:
        return Explanation(reason="Paused", message="its queue is paused", position=position)
    if line.full():
        text = f"its queue runs {line.running} of {policy.concurrency} at a time"
        return Explanation(reason="ConcurrencyReached", message=text, position=position)
    if entry.place == "key":
        text = f"{line.key_running(entry.concurrency_key)} of {policy.key_concurrency} jobs of its concurrencyKey run"
        return Explanation(reason="KeyConcurrencyReached", message=text)
    if (ready := line.rate_ready_at(now)) > now:
        return Explanation(reason="RateLimited", message=f"the rate of its queue lets the next job start at {rfc3339_at(ready)}",
                           position=position, waits_until=_time(ready))  # fmt: skip
    if not free_slots and position == 1:
        return Explanation(reason="NoFreeSlot", message="it is next; all slots are busy", position=1)
    text = "1 job is before it" if position == 2 else f"{position - 1} jobs are before it"
    return Explanation(reason="InLine", message=text, position=position)


def _position(line: Line, entry: Entry) -> int:
    if entry.place == "key" or line.next_in(entry.lane) is entry:
        return 1
    before = sum(1 for other in line.beside(entry) if other is not entry and _before(other, entry))
    return max(2, before + 1)


def _before(other: Entry, entry: Entry) -> bool:
    return (-other.priority, other.since) < (-entry.priority, entry.since)


def _time(when: float) -> Time:
    return utc(when)
