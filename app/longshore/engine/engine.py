"""The engine: everything that lives in the parent process, wired together, and its one loop."""

import random
import secrets
import socket
import time
from collections.abc import Callable

import orjson
from prometheus_client.metrics_core import Metric

from longshore.engine.attempt import Attempt, AttemptKey, Ended
from longshore.engine.board import HANDLER, Board
from longshore.engine.commands import Commands
from longshore.engine.dispatch import Dispatcher
from longshore.engine.events import Events
from longshore.engine.intake import Intake
from longshore.engine.journal import Journal
from longshore.engine.live import Live
from longshore.engine.loop import Loop, Timer
from longshore.engine.metrics import EngineMetrics, gauge
from longshore.engine.policies import Policies
from longshore.engine.record import Recorder
from longshore.engine.slots import SlotPool, SlotSettings
from longshore.engine.template import HandlerInfo
from longshore.engine.turn import Refused, Turn
from longshore.engine.waiters import Waiters
from longshore.engine.webhooks import Outbox
from longshore.errors import AppError, StoreUnavailable
from longshore.job.limits import QueuePolicy
from longshore.job.spec import rfc3339_at
from longshore.job.status import Outcome, Phase, Reason
from longshore.settings import Settings
from longshore.store.document import document
from longshore.store.ledger import AttemptRow, Batch, DeliveryRow, Ledger, StoredJob
from longshore.store.port import JobDoc
from longshore.version import __version__

CLOCK_SECONDS = 30.0  # while a job waits for a time of day, the clock is looked at so often: somebody may set it
SWEEP_SECONDS = 600.0  # old keys, tombstones and events go so often
REMOVE_SECONDS = 0.05  # between two rounds of removing expired jobs


class Engine:
    """Implements what the turn, the pool and the socket call back."""

    def __init__(self, loop: Loop, settings: Settings, ledger: Ledger, journal: Journal,
                 children: Callable[[], list[int]]) -> None:  # fmt: skip
        self.loop, self.settings, self.ledger, self.journal = loop, settings, ledger, journal
        self.boot = secrets.token_hex(4)
        self.worker = f"{socket.gethostname()}-{self.boot}"[:253]
        self.metrics = EngineMetrics()
        self.overrides = {name: orjson.loads(body) for name, body in ledger.queues().items()}
        self.board = Board(self._policies_of_queues(), self.now())
        self.board.runnable = self._runnable
        self.turn = Turn(ledger, self, lambda seconds: self.metrics.store.labels("commit").observe(seconds))
        self.waiters = Waiters(loop)
        self.events = Events(ledger, lambda: self.turn, self.waiters)
        self.policies = Policies(self.board.lines, settings.retention_seconds)
        self.recorder = Recorder(self.board, self.turn, self.events, self.policies, worker=self.worker,
                                 random=random.random, ended=self._job_ended)  # fmt: skip
        self.intake = Intake(
            self.board, self.turn, self.events, self.recorder, ledger, max_pending=settings.max_pending,
            max_pending_bytes=settings.max_pending_bytes, now=self.now, deadline=self._start_deadline,
            submitted=lambda handler, source: self.metrics.submitted.labels(self.metrics.label(handler), source).inc(),
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            self.board, self.turn, self.events, self.policies, worker=self.worker,
            max_result_bytes=settings.max_result_bytes,
            waited=lambda handler, seconds: self.metrics.wait.labels(self.metrics.label(handler)).observe(seconds),
        )  # fmt: skip
        self.outbox = Outbox(
            loop, secrets_dir=str(settings.secrets_dir or ""), allow_local=settings.webhook_allow_local,
            settle=self._webhook_settled, log=journal,
        )  # fmt: skip
        self.pool = SlotPool(loop, _slot_settings(settings), self, journal,
                             lambda: [*children(), *self.outbox.pids()])  # fmt: skip
        self.commands = Commands(self)
        self.draining = False
        self.just_ended: dict[str, tuple[StoredJob, list[AttemptRow]]] = {}
        self.started = time.time()
        self.ready = False
        self.failure: AppError | None = None
        self._stirred = False
        self._ended_now: list[Live] = []
        self._echoed: dict[AttemptKey, int] = {}
        self._wake: Timer | None = None
        self._wake_at = 0.0
        self._expiry: Timer | None = None
        self._expiry_at = 0.0
        self._idle: Callable[[], None] | None = None

    @staticmethod
    def now() -> float:
        """Seconds since the epoch."""
        return time.time()

    def _policies_of_queues(self) -> dict[str, QueuePolicy]:
        policies = self.settings.queue_policies()
        for name, overrides in self.overrides.items():
            if name in policies and overrides:
                whole = {**policies[name].model_dump(mode="json"), **overrides}
                policies[name] = QueuePolicy.model_validate_json(orjson.dumps(whole), by_alias=True, by_name=False)
        return policies

    def _runnable(self, handler: str) -> bool:
        return handler in self.policies.handlers if handler else self.settings.commands

    # -- the loop --------------------------------------------------------------------------------------------

    def restore(self) -> int:
        """Take over what the store holds; returns how many attempts were lost with the last engine."""
        now = self.now()
        lost = self.intake.restore(list(self.ledger.live()), self.ledger.rev, now)
        self.outbox.add(self.ledger.deliveries())
        self.turn.urgent()
        self.turn.settle(quiet=True)
        self._remove_expired()
        self.loop.after(SWEEP_SECONDS, self._sweep)
        return lost

    def run(self, stop: Callable[[], bool]) -> None:
        """Turn after turn until ``stop`` says so."""
        while not stop():
            # A commit may have made jobs ready or places free: look again before sleeping.
            stirred, self._stirred = self._stirred, False
            ran = self.loop.turn(block=not stirred and not self._something_to_settle())
            if self.ready and not self.draining:
                self._dispatch()
            if self._something_to_settle():
                self.turn.settle(quiet=ran == 0)

    def _something_to_settle(self) -> bool:
        return bool(self.turn) and time.monotonic() >= self.turn.failing_until

    def _dispatch(self) -> None:
        if time.monotonic() < self.turn.failing_until:
            return
        free = self.free_slots()
        now = self.now()
        if free > 0:
            self.dispatcher.fill(free, now)
        if self.free_slots() > 0:
            self._set_wake(now)

    def free_slots(self) -> int:
        """Places that could take a job and are not promised to one."""
        return self.pool.free() - self.turn.starting

    def _set_wake(self, now: float) -> None:
        wake = self.board.next_wake(now)
        if wake is None:
            return
        if self._wake is not None and self._wake.call is not None:
            if self._wake_at == wake:
                return
            self._wake.cancel()
        self._wake_at = wake
        self._wake = self.loop.after(min(CLOCK_SECONDS, max(0.0, wake - now)), lambda: None)

    # -- what the turn calls ---------------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """The claim is kept: hand the attempt over."""
        self.pool.run(attempt)
        live = self.board.by_uid.get(attempt.key.uid)
        if live is not None:
            self.waiters.wake(("change", live.uid))
            self.waiters.wake(("log", live.uid))

    def committed(self, batch: Batch, refused: Refused) -> None:
        """The turn holds: tell everybody."""
        self._stirred = True
        for uid, index, number in refused:
            self.journal("store_refused", level="error", uid=uid, index=index, attempt=number)
        for row in batch.ends:
            if (live := self.board.by_uid.get(row.uid)) is not None:
                live.dirty = False
            self.waiters.wake(("log", row.uid))
            self.waiters.wake(("change", row.uid))
        for rows in (batch.jobs, batch.changes):
            for uid in {row.uid for row in rows}:
                if (live := self.board.by_uid.get(uid)) is not None:
                    live.dirty = False
                self.waiters.wake(("change", uid))
        self._tell_ended()
        self.events.committed(batch.events)
        if batch.deliveries:
            self.outbox.add(row for row in batch.deliveries if row.next_at is not None and not row.attempts)
        self._check_idle()

    def _tell_ended(self) -> None:
        ended, self._ended_now = self._ended_now, []
        for live in ended:
            self.metrics.ended.labels(live.standing.phase).inc()
            self.intake.forget(live)
        for live in ended:
            if ("end", live.uid) in self.waiters:
                attempts = self.ledger.attempts(live.uid)
                self.just_ended[live.uid] = (live.stored(), attempts)
                self.waiters.wake(("end", live.uid))
                del self.just_ended[live.uid]
            self.waiters.wake(("change", live.uid))
            self.intake.dependency_ended(live, self.now())
        self._plan_expiry(min((live.standing.expires_at or 0.0 for live in ended), default=None))

    def store_failed(self, error: StoreUnavailable) -> None:
        """The disk refuses."""
        self.journal("store_failed", level="error", detail=error.message)
        self.loop.after(max(0.0, self.turn.failing_until - time.monotonic()), lambda: None)

    def taken_back(self) -> None:
        """What had ended by a wish has not."""
        self._ended_now = [live for live in self._ended_now if Phase(live.standing.phase).terminal]

    # -- what the pool calls ---------------------------------------------------------------------------------

    def pool_ready(self, handlers: list[HandlerInfo]) -> None:
        """The template knows these handlers."""
        self.policies.know(handlers)
        self.metrics.know(self.policies.handlers)
        self.board.requeue_held(HANDLER, self.now())
        self.ready = True
        self.journal("ready", handlers=len(handlers), slots=self.pool.size, worker=self.worker)

    def pool_failed(self, error: AppError) -> None:
        """The applications do not import."""
        self.cannot_start(error)

    def cannot_start(self, error: AppError) -> None:
        """A fault of the start, told to whoever started us; the first one, when there are several."""
        self.failure = self.failure or error

    def place_free(self) -> None:
        """The next turn sees it."""

    def slot_restarted(self, reason: str) -> None:
        """Counted."""
        self.metrics.slot_restarts.labels(reason).inc()

    def progress(self, key: AttemptKey) -> None:
        """A job said how far it is: kept in memory, told to followers, never written."""
        place = self.pool.place_of(key)
        live = self.board.by_uid.get(key.uid)
        if live is None or place is None or place.progress is None:
            return
        live.progress = place.progress
        self.waiters.wake(("change", key.uid))

    def output(self, attempt: Attempt, data: bytes) -> None:
        """A job printed: echoed as far as allowed, and told to followers."""
        self.metrics.log_bytes.inc(len(data))
        echoed = self._echoed.get(attempt.key, 0)
        room = self.settings.log_echo_bytes - echoed
        if room > 0:
            self.journal.job_output(attempt.job, attempt.key.uid, attempt.key.number, data[:room])
            self._echoed[attempt.key] = echoed + len(data)
            if echoed + len(data) >= self.settings.log_echo_bytes:
                self.journal("output_cut", job=attempt.job, kept_bytes=self.settings.log_echo_bytes)
        self.waiters.wake(("log", attempt.key.uid))

    def ended(self, ended: Ended) -> None:
        """An attempt is over."""
        self._echoed.pop(ended.key, None)
        live = self.recorder.attempt_ended(ended, self.now())
        if live is None:
            return
        handler = self.metrics.label(live.row.handler)
        self.metrics.finished.labels(handler, ended.outcome.value).inc()
        trace = live.row.traceparent.split("-")
        exemplar = {"trace_id": trace[1]} if len(trace) == 4 else None
        self.metrics.run.labels(handler, ended.outcome.value).observe(ended.run_seconds, exemplar)
        self.metrics.log_dropped.inc(ended.output.dropped)
        if ended.outcome.disruption:
            self.metrics.disruptions.labels(ended.reason).inc()
        elif live.standing.phase == Phase.PENDING:
            self.metrics.retries.labels(handler).inc()
        if ended.traceback:
            self.journal("attempt_failed", level="warning", job=live.id, attempt=ended.key.number,
                         error=ended.error_type, traceback=ended.traceback)  # fmt: skip

    def _job_ended(self, live: Live) -> None:
        self._ended_now.append(live)

    def _webhook_settled(self, row: DeliveryRow, result: str) -> None:
        self.metrics.deliveries.labels(result).inc()
        if row.next_at is None:
            self.turn.batch.delivered.append(row.id)
        else:
            self.turn.batch.deliveries.append(row)

    # -- time ------------------------------------------------------------------------------------------------

    def _start_deadline(self, live: Live) -> None:
        seconds = live.spec().get("startDeadlineSeconds")
        if isinstance(seconds, int | float) and not live.attempts:
            self._watch_start(live, live.ready_at + seconds)

    def _watch_start(self, live: Live, when: float) -> None:
        def look() -> None:
            if live.attempts or self.board.by_uid.get(live.uid) is not live or Phase(live.standing.phase).terminal:
                return
            if self.now() < when:
                self._watch_start(live, when)
                return
            text = f"it had not started {when - live.ready_at:g} seconds after it could have"
            self.recorder.fail(live, Reason.STARTED_TOO_LATE, text, self.now())
            self.turn.urgent()

        self.loop.after(min(CLOCK_SECONDS, max(0.0, when - self.now())), look)

    def _plan_expiry(self, when: float | None) -> None:
        """Look at expired jobs at ``when``, unless that is planned for earlier."""
        if when is None or (self._expiry is not None and self._expiry_at <= when):
            return
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry_at = when
        self._expiry = self.loop.after(min(SWEEP_SECONDS, max(0.0, when - self.now())), self._remove_expired)

    def _remove_expired(self) -> None:
        self._expiry = None
        now = self.now()
        found = self.ledger.expired(now)
        self.turn.batch.removed += [(uid, id, now) for uid, id in found]
        if found:
            self.turn.urgent()
            self._plan_expiry(now + REMOVE_SECONDS)
        else:
            self._plan_expiry(self.ledger.next_expiry())

    def _sweep(self) -> None:
        try:
            while self.ledger.trim(self.now()) >= 500:
                pass
        except StoreUnavailable as error:
            self.journal("trim_failed", level="warning", detail=error.message)
        self._remove_expired()
        self.loop.after(SWEEP_SECONDS, self._sweep)

    # -- drain -----------------------------------------------------------------------------------------------

    def drain(self, *, on: bool) -> None:
        """Take no new jobs and start none; running ones go on."""
        if on != self.draining:
            self.draining = self.intake.closed = on
            self.journal("draining" if on else "undrained", running=len(self.pool.running()))
            if on:
                self.waiters.wake_all()

    def finish(self, seconds: float, idle: Callable[[], None]) -> None:
        """Drain, and call ``idle`` once nothing runs and everything is recorded; what takes too long is stopped."""
        self.drain(on=True)
        self._idle = idle
        self.loop.after(seconds, self._stop_running)
        self._check_idle()

    def _stop_running(self) -> None:
        for place in self.pool.running():
            attempt = place.attempt or place.next
            if attempt is not None:
                text = "its worker had to stop before it was done"
                self.pool.stop(attempt.key, Outcome.DRAINED, Reason.DRAINED, text)

    def hurry(self) -> None:
        """Somebody is impatient: stop what runs now."""
        for place in self.pool.running():
            attempt = place.attempt or place.next
            if attempt is not None:
                self.pool.stop(attempt.key, Outcome.DRAINED, Reason.DRAINED, "its worker had to stop at once", 0.0)

    def _check_idle(self) -> None:
        if self._idle is not None and not self.pool.running() and not self.turn.batch.ends:
            idle, self._idle = self._idle, None
            idle()

    # -- what it says of itself ------------------------------------------------------------------------------

    def document(self, live: Live) -> JobDoc:
        """A live job as everybody reads it."""
        attempts = self.ledger.attempts(live.uid) if live.attempts > len(live.running) else []
        return document(live.stored(), attempts, live.progress if live.array is None else None)

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether jobs are taken now, and why not."""
        reasons = [
            reason for reason, true in (
                ("draining", self.draining), ("starting", not self.ready), ("store", self.turn.failing),
            ) if true
        ]  # fmt: skip
        return not reasons, {"reasons": reasons} if reasons else {}

    def running_docs(self) -> list[dict[str, object]]:
        """What runs now."""
        return [
            {"job": place.attempt.job, "attempt": place.attempt.key.number, "index": place.attempt.key.index,
             "handler": place.attempt.handler, "slot": place.number, "startedAt": rfc3339_at(place.started_at),
             "seconds": round(time.monotonic() - place.started, 3)}
            for place in self.pool.running() if place.attempt is not None
        ]  # fmt: skip

    def status(self, *, details: bool) -> dict[str, object]:
        """Capacity, counts, age, version."""
        now = self.now()
        oldest = [since for line in self.board.lines.values() if (since := line.oldest(now)) is not None]
        ready, detail = self.health()
        whole: dict[str, object] = {
            "version": __version__, "worker": self.worker, "boot": self.boot, "startedAt": rfc3339_at(self.started),
            "ready": ready, "draining": self.draining, **detail,
            "slots": {"total": self.pool.size, "busy": len(self.pool.running())},
            "waiting": {"count": self.board.waiting(), "max": self.settings.max_pending,
                        "oldestAgeSeconds": round(now - min(oldest), 3) if oldest else 0.0},
            "jobs": {phase.value: 0 for phase in Phase} | self.ledger.counts(),
            "webhooks": {"pending": self.outbox.depth},
        }  # fmt: skip
        if details:
            whole["running"] = self.running_docs()
        return whole

    def metric_families(self) -> list[dict[str, object]]:
        """Everything that is counted, and what is read off now."""
        return self.metrics.families(self._gauges())

    def _gauges(self) -> list[Metric]:
        now = self.now()
        lines = self.board.lines.items()
        counts = self.board.counts()
        return [
            gauge("engine_up", "Whether the engine answers.", [({}, 1)]),
            gauge("build_info", "Release.", [({"version": __version__}, 1)]),
            gauge("slots", "Jobs that can run at a time.", [({}, self.pool.size)]),
            gauge("slots_busy", "Jobs that run.", [({}, len(self.pool.running()))]),
            gauge("queue_depth", "Jobs that could run if there were room.", [({"queue": n}, q.depth(now)) for n, q in lines]),
            gauge("queue_jobs", "Jobs that wait, delayed and held ones included.", [({"queue": n}, len(q)) for n, q in lines]),
            gauge("queue_running", "Attempts that run.", [({"queue": n}, q.running) for n, q in lines]),
            gauge("queue_oldest_age_seconds", "Age of the job that waits longest.",
                  [({"queue": n}, max(0.0, now - (q.oldest(now) or now))) for n, q in lines]),
            gauge("queue_capacity", "Jobs that may wait in all.", [({}, self.settings.max_pending)]),
            gauge("jobs_active", "Jobs that have not ended.", [({"phase": phase}, n) for phase, n in counts.items()]),
            gauge("webhooks_pending", "Webhooks that are not delivered yet.", [({}, self.outbox.depth)]),
            gauge("waiting_requests", "Requests that wait for a job.", [({}, len(self.waiters))]),
            gauge("draining", "Whether new jobs are refused.", [({}, int(self.draining))]),
        ]  # fmt: skip


def _slot_settings(settings: Settings) -> SlotSettings:
    return SlotSettings(
        count=settings.slot_count, apps=settings.apps, token_seconds=settings.token_seconds,
        grace_seconds=settings.grace_seconds, max_jobs=settings.slot_max_jobs,
        max_age_seconds=settings.slot_max_age_seconds, max_growth_bytes=settings.slot_max_growth_bytes,
        log_head_bytes=settings.log_head_bytes, log_ring_bytes=settings.log_ring_bytes,
    )  # fmt: skip
