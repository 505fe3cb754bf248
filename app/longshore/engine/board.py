"""What lives now: jobs that have not ended, the lines that they wait in, the attempts that run.

Everything here is rebuilt from the store at start; limits and depths are read off, never kept as counters.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from longshore.engine.attempt import Attempt, AttemptKey
from longshore.engine.live import Live, Spec
from longshore.job.lane import Entry
from longshore.job.limits import QueuePolicy
from longshore.job.line import Line
from longshore.job.status import Phase
from longshore.job.waiting import Held, Prerequisites, enter, obstacle


@dataclass(frozen=True, slots=True)
class Pick:
    """The next attempt that may start."""

    live: Live
    index: int | None
    number: int


class Board:
    """Live jobs by identity and by name, and one line per queue."""

    def __init__(self, policies: dict[str, QueuePolicy], now: float) -> None:
        self.lines = {name: Line(policy, now) for name, policy in policies.items()}
        self.by_uid: dict[str, Live] = {}
        self.by_id: dict[str, Live] = {}
        self._turns = deque(self.lines)
        self.prerequisites: Prerequisites[str] = Prerequisites()
        self.runnable: Callable[[str], bool] = lambda _handler: True
        """Whether some worker knows the handler; '' is a command."""

    # -- jobs ------------------------------------------------------------------------------------------------

    def add(self, live: Live) -> None:
        """A job that has not ended."""
        self.by_uid[live.uid] = live
        self.by_id[live.id] = live

    def drop(self, live: Live) -> None:
        """It ended, or never was."""
        self.by_uid.pop(live.uid, None)
        if self.by_id.get(live.id) is live:
            del self.by_id[live.id]
        self.line(live).remove(live.uid)
        self.prerequisites.expect(live.uid, ())

    def line(self, live: Live) -> Line:
        """The line of its queue; a queue that is not configured any more keeps its jobs until they are gone."""
        line = self.lines.get(live.row.queue)
        if line is None:
            line = self.lines[live.row.queue] = Line(QueuePolicy(), live.row.created_at)
            self._turns.append(live.row.queue)
        return line

    def dependents(self, id: str) -> list[Live]:
        """Jobs that wait for the one of that name."""
        return [self.by_uid[uid] for uid in self.prerequisites.behind(id) if uid in self.by_uid]

    # -- waiting ---------------------------------------------------------------------------------------------

    def queue(self, live: Live, spec: Spec, now: float) -> None:
        """Put a waiting job where it belongs in its line."""
        why = obstacle(
            cancel=live.standing.cancel, suspend=live.standing.suspend,
            waits=bool(self.prerequisites.of(live.uid)), runnable=self.runnable(live.row.handler),
        )  # fmt: skip
        enter(self.line(live), _entry(live, spec), why, live.array, now)

    def pick(self, now: float) -> Pick | None:
        """The next attempt that may start, out of its line; queues take turns."""
        for _ in range(len(self._turns)):
            entry = self.lines[self._turns[0]].pop(now)
            self._turns.rotate(-1)
            if entry is not None:
                return self._picked(self.by_uid[entry.uid], now)
        return None

    def _picked(self, live: Live, now: float) -> Pick | None:
        if live.array is None:
            return Pick(live, None, live.attempts + 1)
        index = live.array.next_index(now)
        assert index is not None
        return Pick(live, index, live.item_attempts.get(index, 0) + 1)

    def next_wake(self, now: float) -> float | None:
        """When a job may become able to start by time alone."""
        times = [wake for line in self.lines.values() if (wake := line.next_wake(now)) is not None]
        return min(times, default=None)

    # -- running ---------------------------------------------------------------------------------------------

    def begin(self, live: Live, key: AttemptKey, attempt: Attempt, spec: Spec, now: float) -> None:
        """An attempt lives; an array goes back in line for its next item."""
        live.running[key] = attempt
        self.line(live).begin(key, _concurrency_key(spec))
        if live.array is not None and key.index is not None:
            live.array.begin(key.index)
            live.item_attempts[key.index] = key.number
            self.queue(live, spec, now)

    def end(self, live: Live, key: AttemptKey, spec: Spec) -> None:
        """The attempt is gone."""
        live.running.pop(key, None)
        self.line(live).end(key, _concurrency_key(spec))

    def take_back(self, live: Live, key: AttemptKey, spec: Spec, now: float) -> None:
        """The attempt never began after all."""
        self.end(live, key, spec)
        if live.array is not None and key.index is not None:
            live.array.again(key.index, 0.0)
            live.item_attempts[key.index] -= 1
        self.queue(live, spec, now)

    def requeue_held(self, why: Held, now: float) -> None:
        """What held these may be over: look again."""
        for line in self.lines.values():
            for uid in line.held(why):
                live = self.by_uid[uid]
                self.queue(live, live.spec(), now)

    def hold_unknown(self, handlers: Iterable[str], now: float) -> None:
        """These handlers are gone: who waits for one is held until it is back."""
        gone = set(handlers)
        for live in list(self.by_uid.values()) if gone else ():
            phase = Phase(live.standing.phase)
            if live.row.handler in gone and (phase is Phase.PENDING or (live.array is not None and not phase.terminal)):
                self.queue(live, live.spec(), now)

    # -- depth -----------------------------------------------------------------------------------------------

    def waiting(self) -> int:
        """How many jobs are in a line."""
        return sum(len(line) for line in self.lines.values())

    def counts(self) -> dict[str, int]:
        """Live jobs by phase."""
        running = sum(1 for live in self.by_uid.values() if live.standing.phase == Phase.RUNNING)
        return {Phase.PENDING.value: len(self.by_uid) - running, Phase.RUNNING.value: running}


def _entry(live: Live, spec: Spec) -> Entry:
    start_after = start_after_seconds(spec)
    return Entry(
        live.uid, since=max(live.row.created_at, start_after), priority=live.row.priority,
        fairness_key=cast("str", spec.get("fairnessKey") or ""), concurrency_key=_concurrency_key(spec),
        not_before=max(start_after, live.standing.not_before or 0.0),
    )  # fmt: skip


def _concurrency_key(spec: Spec) -> str:
    return cast("str", spec.get("concurrencyKey") or "")


def start_after_seconds(spec: Spec) -> float:
    """``startAfter`` as seconds since the epoch; 0 for none."""
    text = spec.get("startAfter")
    return datetime.fromisoformat(str(text)).timestamp() if text else 0.0
