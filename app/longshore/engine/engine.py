"""The engine: everything that lives in the parent process, wired together, and its one loop."""

import random
import time
from collections.abc import Callable, Mapping

import orjson
from prometheus_client.metrics_core import Metric

from longshore.engine.attempt import Attempt, AttemptKey, Ended
from longshore.engine.board import Board
from longshore.engine.commands import Commands
from longshore.engine.dispatch import Dispatcher
from longshore.engine.events import Events
from longshore.engine.hello import HandlerInfo
from longshore.engine.host import SlotHost
from longshore.engine.intake import Intake
from longshore.engine.journal import Journal
from longshore.engine.live import Live
from longshore.engine.loop import Loop, Timer
from longshore.engine.metrics import gauge
from longshore.engine.policies import Policies
from longshore.engine.record import Recorder
from longshore.engine.reload import Answer
from longshore.engine.retention import Retention
from longshore.engine.schedules import Schedules
from longshore.engine.turn import Refused, Turn
from longshore.engine.webhooks import Outbox
from longshore.errors import Conflict, NotFound, StoreUnavailable
from longshore.job.limits import QueuePolicy
from longshore.job.schedule_rules import MADE_BY_SCHEDULE
from longshore.job.status import Phase, Reason, disrupted
from longshore.job.waiting import Held
from longshore.job.webhook import Delivered, DeliveryState, state_after
from longshore.settings import Settings
from longshore.store.document import document
from longshore.store.ledger import AttemptRow, Batch, DeliveryRow, Ledger, StoredJob, ToldRow, kept_of
from longshore.store.port import JobDoc

CLOCK_SECONDS = 30.0  # while a job waits for a time of day, the clock is looked at so often: somebody may set it


def _cannot_reload(_answer: Answer) -> None:
    raise Conflict("this service cannot be reloaded")


class Engine(SlotHost):
    """Implements what the turn, the pool and the socket call back."""

    commands: Commands

    def __init__(self, loop: Loop, settings: Settings, ledger: Ledger, journal: Journal,
                 children: Callable[[], list[int]]) -> None:  # fmt: skip
        super().__init__(loop, settings, journal, lambda: [*children(), *self.outbox.pids()])
        self.ledger = ledger
        self.overrides = {name: orjson.loads(body) for name, body in ledger.queues().items()}
        self.board = Board(self._policies_of_queues(), self.now())
        self.board.runnable = self.runnable
        self.turn = Turn(
            ledger, self, lambda seconds: self.metrics.series(self.metrics.store, "commit").observe(seconds)
        )
        self.events = Events(ledger, lambda: self.turn, self.waiters)
        self.policies = Policies(self.board.lines, settings.retention_seconds)
        self.recorder = Recorder(self.board, self.turn, self.events, self.policies, worker=self.worker,
                                 random=random.random, ended=self._job_ended)  # fmt: skip
        self.intake = Intake(
            self.board, self.turn, self.events, self.recorder, ledger, max_pending=settings.max_pending,
            max_pending_bytes=settings.max_pending_bytes, now=self.now, deadline=self._start_deadline,
            submitted=lambda handler, source: self.metrics.series(self.metrics.submitted, self.metrics.label(handler), source).inc(),
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            self.board, self.turn, self.events, self.policies, worker=self.worker,
            max_result_bytes=settings.max_result_bytes,
            waited=lambda handler, seconds: self.metrics.series(self.metrics.wait, self.metrics.label(handler)).observe(seconds),
        )  # fmt: skip
        self.outbox = Outbox(
            loop, secrets_dir=str(settings.secrets_dir or ""), allow_local=settings.webhook_allow_local,
            settle=self._webhook_settled, log=journal,
        )  # fmt: skip
        self.commands = Commands(self)
        self.reload: Callable[[Answer], None] = _cannot_reload
        """How new code comes in; the process around this engine says it."""
        self.code_fault = ""
        """Why the code that was saved last does not start, traceback and all; empty while the newest code runs."""
        self.just_ended: dict[str, tuple[StoredJob, list[AttemptRow]]] = {}
        self._stirred = False
        self._ended_now: list[Live] = []
        self._wake: Timer | None = None
        self._wake_at = 0.0
        self.retention = Retention(loop, self.turn, ledger, journal)
        self.schedules = Schedules(self)

    def _policies_of_queues(self) -> dict[str, QueuePolicy]:
        policies = self.settings.queue_policies()
        for name, overrides in self.overrides.items():
            if name in policies and overrides:
                whole = {**policies[name].model_dump(mode="json"), **overrides}
                policies[name] = QueuePolicy.model_validate_json(orjson.dumps(whole), by_alias=True, by_name=False)
        return policies

    def runnable(self, handler: str) -> bool:
        """Whether jobs of the handler run here; of an empty one: whether commands do."""
        return handler in self.policies.handlers if handler else self.settings.commands

    # -- the loop --------------------------------------------------------------------------------------------

    def restore(self) -> int:
        """Take over what the store holds; returns how many attempts were lost with the last engine."""
        now = self.now()
        lost = self.intake.restore(list(self.ledger.live()), self.ledger.rev, now)
        self.outbox.add(self.ledger.deliveries())
        self.schedules.restore()
        self.turn.urgent()
        self.turn.settle(quiet=True)
        self.retention.start()
        return lost

    def run(self, stop: Callable[[], bool]) -> None:
        """Turn after turn until ``stop`` says so."""
        while not stop():
            # A commit may have made jobs ready or places free: look again before sleeping.
            stirred, self._stirred = self._stirred, False
            self.loop.turn(at_most=0.0 if stirred else self._patience())
            if self.ready and not self.draining and not self.holding:
                self._dispatch()
            if self._something_to_settle():
                self.turn.settle(quiet=not self.pool.running())

    def _patience(self) -> float | None:
        """How long nothing may happen, in seconds, before something has to be settled; None for ever."""
        if not self._something_to_settle():
            return None
        return self.turn.due_in if self.pool.running() else 0.0

    def _something_to_settle(self) -> bool:
        return bool(self.turn) and time.monotonic() >= self.turn.failing_until

    def _dispatch(self) -> None:
        if self.turn.failing:
            return  # what is waiting may stand on what was taken back, until that is looked at again
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
        self._run(attempt)
        live = self.board.by_uid.get(attempt.key.uid)
        if live is not None:
            self.waiters.wake(("change", live.uid))
            self.waiters.wake(("log", live.uid))
            if self.code_fault and not attempt.command:
                self._note_older_code(live, attempt.key)

    def _note_older_code(self, live: Live, key: AttemptKey) -> None:
        """In development mode: what runs is not what was saved, and whoever reads the job shall not wonder."""
        self.pool.note(key, f"longshore: this attempt runs the code before the last save: {self.code_fault}\n")
        data: dict[str, object] = {"attempt": key.number, "message": self.code_fault}
        self.events.add("code-outdated", live.uid, live.id, self.now(), data)

    def committed(self, batch: Batch, refused: Refused) -> None:
        """The turn holds: tell everybody."""
        self._stirred = True
        for uid, index, number in refused:
            self.journal("store_refused", level="error", uid=uid, index=index, attempt=number)
        batch = kept_of(batch, refused)
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
        self._tell_ended(batch)
        self.events.committed(batch.events)
        if batch.deliveries:
            self.outbox.add(row for row in batch.deliveries if row.next_at is not None and not row.attempts)
        self._check_idle()

    def _tell_ended(self, batch: Batch) -> None:
        ended, self._ended_now = self._ended_now, []
        for live in ended:
            self.metrics.series(self.metrics.ended, live.standing.phase).inc()
            self.intake.forget(live)
            if live.row.source == MADE_BY_SCHEDULE:
                self.schedules.ended(live)
        for live in ended:
            if ("end", live.uid) in self.waiters:
                self.just_ended[live.uid] = (live.stored(), self._attempts(live, batch))
                self.waiters.wake(("end", live.uid))
                del self.just_ended[live.uid]
            self.waiters.wake(("change", live.uid))
            self.intake.dependency_ended(live, self.now())
        self.retention.ended(min((live.standing.expires_at or 0.0 for live in ended), default=None))

    def _attempts(self, live: Live, batch: Batch) -> list[AttemptRow]:
        if live.attempts == 1 and live.array is None:  # most jobs: the end that was just committed says it all
            return [AttemptRow(*row[1:9], *row.error) for row in batch.ends if row.uid == live.uid]
        return self.ledger.attempts(live.uid)

    def store_failed(self, error: StoreUnavailable) -> None:
        """The disk refuses."""
        self.journal("store_failed", level="error", detail=error.message)
        self.loop.after(max(0.0, self.turn.failing_until - time.monotonic()), self.turn.probe)

    def taken_back(self) -> None:
        """What had ended by a wish has not."""
        self._ended_now = [live for live in self._ended_now if Phase(live.standing.phase).terminal]
        if not self.turn.failing:  # a request broke, not the disk
            self.loop.after(0.0, self.store_works)

    def store_works(self) -> None:
        """What follows by itself from what is kept, and was taken back, follows now."""
        if not self.turn.failing:
            self.intake.again.look(self.now())
            self.schedules.wake()

    # -- what the pool calls ---------------------------------------------------------------------------------

    def pool_ready(self, handlers: list[HandlerInfo]) -> None:
        """The template knows these handlers."""
        before = set(self.policies.handlers)
        self.policies.know(handlers)
        super().pool_ready(handlers)
        self.board.requeue_held(Held.HANDLER, self.now())
        self.schedules.declare(handlers)
        self.board.hold_unknown(before.difference(self.policies.handlers), self.now())

    def progress(self, key: AttemptKey) -> None:
        """A job said how far it is: kept in memory, told to followers, never written."""
        place = self.pool.place_of(key)
        live = self.board.by_uid.get(key.uid)
        if live is None or place is None or place.progress is None:
            return
        live.progress = place.progress
        self.waiters.wake(("change", key.uid))
        if (topic := ("events", key.uid)) in self.waiters:
            self.waiters.wake(topic)

    def ended(self, ended: Ended) -> None:
        """An attempt is over."""
        if self.turn.after_wish(ended.key.uid, lambda: self.ended(ended)):
            return
        live = self.recorder.attempt_ended(ended, self.now())
        if live is None:
            self._echoed.pop(ended.key, None)
            return
        self._count(ended, live.id, live.row.handler, live.row.traceparent)
        if live.standing.phase == Phase.PENDING and not disrupted(ended.outcome, ended.reason):
            self.metrics.retries.labels(self.metrics.label(live.row.handler)).inc()

    def _job_ended(self, live: Live) -> None:
        self._ended_now.append(live)

    def _webhook_settled(self, row: DeliveryRow, result: str) -> None:
        self.metrics.deliveries.labels(result).inc()
        state = state_after(Delivered(result), again=row.next_at is not None)
        body = b"" if state is DeliveryState.DELIVERED else row.body
        self.turn.batch.told.append(ToldRow(
            row.uid, row.id, state.value, row.attempts, self.now(), row.last_error, row.url, row.secret_ref, body
        ))  # fmt: skip
        if row.next_at is None:
            self.turn.batch.delivered.append(row.id)
        else:
            self.turn.deliver(row, fact=True)

    def retry_webhooks(self, names: Mapping[str, str] | None) -> int:
        """Try deliveries about these jobs (names by uid), or all, again now: how many; raises NotFound when one has none."""
        given_up = self.ledger.given_up()
        there = self.outbox.uids() | {told.uid for told in given_up}
        if missing := [name for uid, name in (names or {}).items() if uid not in there]:
            raise NotFound(f"no webhook about job {missing[0]} waits or was given up")
        tried = self.outbox.hurry(uids := there if names is None else names)
        for told in given_up:
            if told.uid in uids:
                tried += 1
                self.turn.batch.told.append(told._replace(state=DeliveryState.RETRYING.value))
                # From the beginning of the schedule; a fact like the row above, so that neither is kept alone.
                self.turn.deliver(DeliveryRow(
                    told.id, told.uid, told.url, told.secret_ref, told.body, 0, self.now(), told.detail
                ), fact=True)  # fmt: skip
        return tried

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
            if self.turn.failing:  # nothing starts meanwhile, and nothing can be decided
                self.intake.again.add(lambda _now: look())
                return
            text = f"it had not started {when - live.ready_at:g} seconds after it could have"
            self.turn.undo(lambda: self.intake.again.add(lambda _now: look()))
            self.recorder.fail(live, Reason.STARTED_TOO_LATE, text, self.now())
            self.turn.urgent()

        self.loop.after(min(CLOCK_SECONDS, max(0.0, when - self.now())), look)

    # -- drain -----------------------------------------------------------------------------------------------

    def drain(self, *, on: bool) -> None:
        """Take no new jobs and start none; running ones go on."""
        super().drain(on=on)
        self.intake.closed = self.draining
        self.schedules.wake()

    def _settled(self) -> bool:
        return not self.turn.unsettled

    # -- what it says of itself ------------------------------------------------------------------------------

    def document(self, live: Live) -> JobDoc:
        """A live job as everybody reads it."""
        attempts = self.ledger.attempts(live.uid) if live.attempts > len(live.running) else []
        if live.array is None:
            return document(live.stored(), attempts, live.progress)
        # What is stored of the items is as of the last end: items that began since are counted here.
        items = live.array.status().model_dump_json(exclude_defaults=True).encode()
        progress = live.array.progress()
        stored = live.stored()._replace(standing=live.standing._replace(items=items))
        return document(stored, attempts, (0, progress.percent, progress.message))

    def _obstacles(self) -> list[tuple[str, bool]]:
        return [*super()._obstacles(), ("store", self.turn.failing)]

    def _counts(self) -> dict[str, object]:
        now = self.now()
        oldest = [since for line in self.board.lines.values() if (since := line.oldest(now)) is not None]
        return {
            "waiting": {"count": self.board.waiting(), "max": self.settings.max_pending,
                        "oldestAgeSeconds": round(now - min(oldest), 3) if oldest else 0.0},
            "jobs": {phase.value: 0 for phase in Phase} | self.ledger.counts(),
            "webhooks": {"pending": self.outbox.depth},
        }  # fmt: skip

    def _gauges(self) -> list[Metric]:
        now = self.now()
        lines = self.board.lines.items()
        counts = self.board.counts()
        return [
            *super()._gauges(),
            gauge("queue_depth", "Jobs that could run if there were room.", [({"queue": n}, q.depth(now)) for n, q in lines]),
            gauge("queue_jobs", "Jobs that wait, delayed and held ones included.", [({"queue": n}, len(q)) for n, q in lines]),
            gauge("queue_running", "Attempts that run.", [({"queue": n}, q.running) for n, q in lines]),
            gauge("queue_oldest_age_seconds", "Age of the job that waits longest.",
                  [({"queue": n}, max(0.0, now - (q.oldest(now) or now))) for n, q in lines]),
            gauge("queue_capacity", "Jobs that may wait in all.", [({}, self.settings.max_pending)]),
            gauge("jobs_active", "Jobs that have not ended.", [({"phase": phase}, n) for phase, n in counts.items()]),
            gauge("webhooks_pending", "Webhooks that are not delivered yet.", [({}, self.outbox.depth)]),
        ]  # fmt: skip
