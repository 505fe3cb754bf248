"""The engine of a worker: runs what the operator hands it, and tells how it ended until somebody has written that down.

Nothing is durable here. The operator keeps the jobs; a worker that dies takes its attempts along, and its next process
says so by another boot id.
"""

import socket
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import cast

import orjson
from prometheus_client.metrics_core import Metric

from longshore.engine.attempt import Attempt, AttemptKey, Ended
from longshore.engine.feed import TOPIC, Feed, KeptLogs
from longshore.engine.hello import HandlerInfo
from longshore.engine.host import SlotHost
from longshore.engine.journal import Journal
from longshore.engine.keeper import Keeper
from longshore.engine.loop import Loop, Timer
from longshore.engine.metrics import gauge
from longshore.engine.place import Place
from longshore.engine.worker_commands import WorkerCommands
from longshore.job.attempts import VERSION, Taken
from longshore.job.output import last_text
from longshore.job.spec import rfc3339_at
from longshore.job.status import MAX_LOG_TAIL_BYTES, Outcome, Reason
from longshore.settings import Settings
from longshore.store.results import Results
from longshore.version import __version__

PROGRESS_SECONDS = 0.5  # progress is told so often at most, whatever jobs report
PATIENCE_SECONDS = 10.0  # at the end: so long an outcome waits for its acknowledgement when nothing runs any more
HELD_BYTES = 64 * 1024 * 1024  # of outcomes that nobody acknowledges; beyond it nothing new is taken
REMEMBERED = 50_000  # jobs (or items) whose latest number is known, running ones beside

Doc = dict[str, object]


class WorkerEngine(SlotHost):
    """Takes attempts, runs each at once or not at all, holds outcomes."""

    commands: WorkerCommands

    def __init__(self, loop: Loop, settings: Settings, journal: Journal, children: Callable[[], list[int]],
                 results: Results | None = None) -> None:  # fmt: skip
        super().__init__(loop, settings, journal, children)
        self.worker = socket.gethostname()[:253]
        self.feed = Feed(self.boot)
        self.logs = KeptLogs()
        self.keeper = Keeper(loop, results, journal) if results is not None else None
        self.commands = WorkerCommands(self)
        self._running: dict[AttemptKey, Attempt] = {}
        self._latest: OrderedDict[tuple[str, int | None], int] = OrderedDict()
        self._handlers_seq = 0
        self._told = 0
        self._free = 0
        self._moved: set[AttemptKey] = set()
        self._progress_timer: Timer | None = None
        self._patience: Timer | None = None
        self._impatient = False

    def run(self, stop: Callable[[], bool]) -> None:
        while not stop():
            self.loop.turn()
            self._publish()

    def _publish(self) -> None:
        """Once a turn, so that what happened in one turn is one answer."""
        free = self.free_slots()
        if free > self._free:  # fewer is told to whoever took them
            self.feed.touch()
        self._free = free
        if self._told != self.feed.seq:
            self._told = self.feed.seq
            self.waiters.wake(TOPIC)

    def free_slots(self) -> int:
        held, keeper = self.feed.held_bytes, self.keeper
        if keeper is not None:
            held += keeper.result_bytes
        able = self.ready and held < HELD_BYTES and (keeper is None or not keeper.failing)
        return self.pool.free() if able else 0

    # -- taking ----------------------------------------------------------------------------------------------

    def take(self, offer: Doc) -> Taken:
        """Start an attempt now, or say why not; ``offer`` is a validated ``job.attempts.Offer`` as JSON."""
        attempt = self._attempt(offer)
        key = attempt.key
        said = self._objection(attempt)
        self.metrics.offered.labels(said.value).inc()
        if self.journal.debugging:
            self.journal("attempt_offered", level="debug", job=attempt.job, namespace=attempt.namespace, uid=key.uid,
                         attempt=key.number, index=key.index, answer=said.value, free=self.free_slots())  # fmt: skip
        if said is not Taken.ACCEPTED:
            return said
        for other in [other for other in self._running if (other.uid, other.index) == (key.uid, key.index)]:
            # The operator has given that one up; two at a time would be worse than one too few.
            self.pool.stop(other, Outcome.LOST, Reason.WORKER_LOST, f"attempt {key.number} took its place")
        self._running[key] = attempt
        self._remember(key)
        self._run(attempt)
        return said

    def _objection(self, attempt: Attempt) -> Taken:
        key = attempt.key
        if key in self._running or key in self.feed:
            return Taken.KNOWN
        if key.number <= self._number(key):
            return Taken.STALE
        if self.draining:
            return Taken.DRAINING
        if self.ready and not (attempt.handler in self.handlers if attempt.handler else self.settings.commands):
            return Taken.UNKNOWN_HANDLER
        return Taken.ACCEPTED if self.free_slots() else Taken.FULL

    def _number(self, key: AttemptKey) -> int:
        """The highest number that was taken for the job (or item) of an attempt; 0 for none."""
        running = [other.number for other in self._running if (other.uid, other.index) == (key.uid, key.index)]
        return max([self._latest.get((key.uid, key.index), 0), *running])

    def _remember(self, key: AttemptKey) -> None:
        self._latest[key.uid, key.index] = key.number
        self._latest.move_to_end((key.uid, key.index))
        if len(self._latest) > REMEMBERED:
            self._latest.popitem(last=False)

    def _attempt(self, offer: Doc) -> Attempt:
        handler = str(offer.get("handler") or "")
        info = self.handlers.get(handler, {})
        command = tuple(cast("list[str]", offer.get("command") or ()))
        return Attempt(
            AttemptKey(str(offer["uid"]), cast("int | None", offer.get("index")), cast("int", offer["number"])),
            job=str(offer["job"]), namespace=str(offer["namespace"]), handler=handler, args=orjson.dumps(offer.get("args") or {}),
            command=command, env=cast("dict[str, str]", offer.get("env") or {}),
            runner="command" if command else str(offer.get("runner") or info.get("runner") or "slot"),
            timeout_seconds=cast("float | None", offer.get("timeoutSeconds") or info.get("timeoutSeconds")),
            memory_bytes=cast("int | None", offer.get("memoryBytes")),
            max_result_bytes=self.settings.max_result_bytes,
            idempotency_key=str(offer.get("idempotencyKey") or ""), traceparent=str(offer.get("traceparent") or ""),
            tracestate=str(offer.get("tracestate") or ""),
        )  # fmt: skip

    def acknowledge(self, position: int) -> None:
        """The operator has everything up to there on record."""
        self.feed.acknowledge(position)
        self._check_idle()

    # -- what the pool calls ---------------------------------------------------------------------------------

    def pool_ready(self, handlers: list[HandlerInfo]) -> None:
        first, before = not self.ready, self.handlers
        super().pool_ready(handlers)
        if first or self.handlers != before:
            self._handlers_seq = self.feed.touch()

    def progress(self, key: AttemptKey) -> None:
        """Kept with its place; told with the others', now and then."""
        self._moved.add(key)
        if self._progress_timer is None:
            self._progress_timer = self.loop.after(PROGRESS_SECONDS, self._tell_progress)

    def _tell_progress(self) -> None:
        self._progress_timer = None
        moved, self._moved = self._moved, set()
        for key in moved:
            place = self.pool.place_of(key)
            if place is not None and (found := _progress(place)) is not None:
                self.feed.progress(key, {"kind": "progress", **_name(key), "progress": found})

    def ended(self, ended: Ended) -> None:
        self.logs.keep(ended.key, ended.output)
        if self.keeper is None:
            self._tell(ended)
        else:
            self.keeper.ended(ended, self._running[ended.key].namespace, self.boot, self._tell)

    def _tell(self, ended: Ended, result_ref: str = "") -> None:
        key = ended.key
        attempt = self._running.pop(key)
        self._count(ended, attempt.job, attempt.handler, attempt.traceparent)
        entry: Doc = {
            "kind": "ended", **_name(key), "outcome": ended.outcome.value, "reason": ended.reason[:200],
            "startedAt": rfc3339_at(ended.started_at), "finishedAt": rfc3339_at(ended.finished_at),
        }  # fmt: skip
        if ended.exit_code is not None:
            entry["exitCode"] = ended.exit_code
        if result_ref:
            entry["resultRef"] = result_ref
        elif ended.outcome is Outcome.SUCCEEDED:
            entry["result"] = orjson.Fragment(ended.result or b"null")
        else:
            kind = ended.error_type or ended.reason or "Error"
            entry["error"] = {"type": kind[:200], "message": ended.error_message[:1024]}
            if ended.error_names:
                entry["errorNames"] = ended.error_names
            entry["logTail"] = last_text(ended.output, MAX_LOG_TAIL_BYTES)
        self.feed.ended(key, entry, 0 if result_ref else len(ended.result or b""))
        self.waiters.wake(("log", key.uid))
        self._check_idle()

    # -- the end ---------------------------------------------------------------------------------------------

    def drain(self, *, on: bool) -> None:
        before = self.draining
        super().drain(on=on)
        if self.draining != before:
            self.feed.touch()

    def hurry(self) -> None:
        """Nor are acknowledgements waited for."""
        self._impatient = True
        super().hurry()
        self._check_idle()

    def _settled(self) -> bool:
        return self._impatient or not (self.feed.outcomes or self._kept())

    def _check_idle(self) -> None:
        super()._check_idle()
        if self._idle is not None and not self.pool.running() and self._patience is None:
            self._patience = self.loop.after(PATIENCE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if count := self.feed.outcomes + len(self._kept()):
            self.journal("outcomes_not_read", level="warning", count=count)
        self._impatient = True
        self._check_idle()

    # -- what it says of itself ------------------------------------------------------------------------------

    def news(self, position: int) -> Doc:
        """The answer to a poll from there: a ``job.attempts.Feed``."""
        entries, cursor, untold = self.feed.after(position)
        if self.journal.debugging:
            self.journal("feed_answered", level="debug", after=position, cursor=cursor, entries=len(entries),
                         free=self.free_slots(), unacknowledged=self.feed.outcomes)  # fmt: skip
        whole: Doc = {
            "version": VERSION, "release": __version__, "worker": self.worker, "boot": self.boot, "cursor": cursor,
            "entries": entries, "slots": {"total": self.pool.size, "free": self.free_slots()},
            "draining": self.draining,
            # Whoever reads this takes an attempt that is in neither list for lost.
            "running": [*map(_running, self.pool.running()), *map(_name, self._kept()), *map(_name, untold)],
            "commands": self.settings.commands, "accepts": ["tracestate"],
        }  # fmt: skip
        if self.ready and (position < self._handlers_seq or position < 0):
            whole["handlers"] = sorted(self.handlers)
            whole["handlerDefaults"] = {
                name: found for name, info in self.handlers.items() if (found := _defaults(info))
            }
        return whole

    def _kept(self) -> Collection[AttemptKey]:
        """Attempts that have ended, and are told of when their results are kept."""
        return self.keeper.keeping if self.keeper is not None else ()

    def _obstacles(self) -> list[tuple[str, bool]]:
        return [*super()._obstacles(), ("results directory", self.keeper is not None and self.keeper.failing)]

    def _counts(self) -> Doc:
        return {"outcomes": {"unacknowledged": self.feed.outcomes, "bytes": self.feed.held_bytes}}

    def _gauges(self) -> list[Metric]:
        return [
            *super()._gauges(),
            gauge("outcomes_unacknowledged", "Outcomes that wait for the operator.", [({}, self.feed.outcomes)]),
            *(self.keeper.gauges() if self.keeper is not None else ()),
        ]


def _name(key: AttemptKey) -> Doc:
    return {"uid": key.uid, "index": key.index, "number": key.number}


def _progress(place: Place) -> Doc | None:
    return {"percent": place.progress[1], "message": place.progress[2]} if place.progress else None


def _running(place: Place) -> Doc:
    attempt = place.attempt or place.next
    assert attempt is not None
    whole = _name(attempt.key)
    if place.attempt is not None:
        whole["startedAt"] = rfc3339_at(place.started_at)
        if (progress := _progress(place)) is not None:
            whole["progress"] = progress
    return whole


def _defaults(info: HandlerInfo) -> Doc:
    wanted = {name: info.get(name) for name in ("timeoutSeconds", "maxRetries", "retry")}
    return {name: value for name, value in wanted.items() if value is not None}
