"""How jobs come to life: from a submit, from a redrive, from the store after a restart."""

from collections.abc import Callable, Sequence
from typing import cast

import orjson

from longshore.engine.again import Again
from longshore.engine.attempt import AttemptKey
from longshore.engine.board import Board, start_after_seconds
from longshore.engine.events import Events
from longshore.engine.live import Live, Spec, new_row
from longshore.engine.record import Recorder, lost
from longshore.engine.turn import Turn
from longshore.errors import Conflict, Draining, InvalidRequest, QueueFull, QuotaExceeded, UnknownQueue
from longshore.job.dependencies import Prospect, obstructed, obstruction, prospect
from longshore.job.items import ArrayState
from longshore.job.status import ItemsStatus, Outcome, Phase, Reason
from longshore.store.ledger import ChangeRow, ItemRow, JobRow, Ledger, LiveRow, Standing, StoredJob

FULL_RETRY_SECONDS = 5
_LOST = "its worker was killed while it ran"


class Intake:
    """Checks, inserts, puts in line."""

    def __init__(self, board: Board, turn: Turn, events: Events, recorder: Recorder, ledger: Ledger, *,
                 max_pending: int, max_pending_bytes: int, now: Callable[[], float],
                 deadline: Callable[[Live], None], submitted: Callable[[str, str], None]) -> None:  # fmt: skip
        self._board, self._turn, self._events = board, turn, events
        self._recorder, self._ledger = recorder, ledger
        self._max_pending, self._max_bytes = max_pending, max_pending_bytes
        self._now, self._deadline, self._submitted = now, deadline, submitted
        self.closed = False
        """Whether the service drains and takes nothing new."""
        self.pending_bytes = 0
        self.again = Again()

    # -- submit ----------------------------------------------------------------------------------------------

    def accept(self, jobs: Sequence[list[object]], *, batch: bool = False) -> list[tuple[Live | None, str]]:
        """All of them or none, as ``(job, id)``; no job where a name led to one that was there already.

        Jobs of a batch may name each other in ``after`` in any order; a name that nobody has is refused there, while a job by
        itself is accepted and fails with DependencyMissing. Raises Draining, QueueFull, QuotaExceeded, UnknownQueue,
        InvalidRequest, Conflict.
        """
        if self.closed:
            raise Draining(retry_after=FULL_RETRY_SECONDS)
        if len(self._board.by_uid) + len(jobs) > self._max_pending or self.pending_bytes > self._max_bytes:
            raise QueueFull(retry_after=FULL_RETRY_SECONDS)
        now = self._now()
        rows = [new_row(job, now) for job in jobs]
        known = [self._existing(row, named=bool(job[1])) for row, job in zip(rows, jobs, strict=True)]
        self._check_names(rows)
        self._check_queues([row for row, found in zip(rows, known, strict=True) if not found])
        if batch:
            self._check_after(jobs)
        answers: list[tuple[Live | None, str]] = []
        for row, job, found in zip(rows, jobs, known, strict=True):
            answers.append((None if found else self._insert(row, cast("Spec", job[2]), now), row.id))
        # Only now that all of them are there: one may wait for another that stands behind it.
        for (live, _), job in zip(answers, jobs, strict=True):
            if live is not None:
                self._enter(live, cast("Spec", job[2]), now)
        return answers

    def _existing(self, row: JobRow, *, named: bool) -> bool:
        if not named:
            return False
        live = self._board.by_id.get(row.id)
        stored = live.stored() if live is not None else self._ledger.job(row.id)
        if stored is None:
            return False
        if stored.job.fingerprint != row.fingerprint:
            raise Conflict(f"there is another job named {row.id}")
        return True

    @staticmethod
    def _check_names(rows: Sequence[JobRow]) -> None:
        if len(rows) > 1 and len({row.id for row in rows}) < len(rows):
            raise InvalidRequest(
                "two jobs of the batch have the same name", errors=[{"pointer": "/jobs", "detail": "names must differ"}]
            )

    def _check_after(self, jobs: Sequence[list[object]]) -> None:
        """Every name that a job of the batch waits for is that of another one, or of a job that is kept."""
        members = {str(job[0]) for job in jobs}
        for place, job in enumerate(jobs):
            for at, name in enumerate(cast("list[str]", cast("Spec", job[2]).get("after") or ())):
                if name in members or name in self._board.by_id or self._ledger.job(name) is not None:
                    continue
                pointer, detail = f"/jobs/{place}/after/{at}", f"there is no job {name} to wait for"
                raise InvalidRequest(f"{pointer}: {detail}", errors=[{"pointer": pointer, "detail": detail}])

    def _check_queues(self, rows: Sequence[JobRow]) -> None:
        wanted: dict[str, int] = {}
        for row in rows:
            wanted[row.queue] = wanted.get(row.queue, 0) + 1
        for name, count in wanted.items():
            line = self._board.lines.get(name)
            if line is None:
                known = ", ".join(sorted(self._board.lines))
                raise UnknownQueue(f"there is no queue {name!r}; there are: {known}",
                                   errors=[{"pointer": "/queue", "detail": f"no such queue; there are: {known}"}])  # fmt: skip
            limit = line.policy.max_pending
            if limit is not None and len(line) + count > limit:
                raise QuotaExceeded(
                    f"queue {name} holds {len(line)} of {limit} waiting jobs", retry_after=FULL_RETRY_SECONDS
                )

    def _insert(self, row: JobRow, spec: Spec, now: float) -> Live:
        live = Live(row)
        live.ready_at = max(now, start_after_seconds(spec))
        live.standing = live.standing._replace(cancel=bool(spec.get("cancel")), suspend=bool(spec.get("suspend")))
        self._arrange(live, spec)
        self._board.add(live)
        self.pending_bytes += len(row.spec)
        self._turn.batch.jobs.append(row)
        self._turn.undo(lambda: self.forget(live))
        self._events.add("submitted", row.uid, row.id, now)
        self._submitted(row.handler, row.source)
        if live.standing.cancel or live.standing.suspend:
            live.rev += 1
            self._turn.batch.changes.append(ChangeRow(row.uid, Phase.PENDING.value, live.standing))
        return live

    def _enter(self, live: Live, spec: Spec, now: float, *, resumed: bool = False) -> None:
        if live.standing.cancel:
            standing = live.standing._replace(phase=Phase.CANCELLED.value, reason=Reason.CANCELLED,
                                              message="cancelled before it ran")  # fmt: skip
            self._recorder.change(live, standing, "cancelling", now)
            return
        after = cast("list[str]", spec.get("after") or ())
        if after and not self._depend(live, after, now, resumed=resumed):
            return
        if not self._board.prerequisites.of(live.uid):
            self._look_at_deadline(live)
        self._board.queue(live, spec, now)

    def _look_at_deadline(self, live: Live) -> None:
        if not live.standing.redrives:  # a redrive does not ask how late it is
            self._deadline(live)

    def forget(self, live: Live) -> None:
        """The job is not kept after all, or no longer."""
        self._board.drop(live)
        self.pending_bytes -= len(live.row.spec)

    @staticmethod
    def _arrange(live: Live, spec: Spec) -> None:
        if live.row.array:
            items = cast("list[object] | None", spec.get("items"))
            size = len(items) if items is not None else cast("int", spec["count"])
            live.array = ArrayState(size, cast("int | None", spec.get("parallelism")))

    # -- dependencies ----------------------------------------------------------------------------------------

    def _depend(self, live: Live, names: Sequence[str], now: float, *, resumed: bool) -> bool:
        """Wait for the named jobs; False when the job failed because one of them never will succeed."""
        waiting = []
        for name in names:
            if name in self._board.by_id:
                waiting.append(name)
                continue
            stored = self._ledger.job(name)
            phase = Phase(stored.standing.phase) if stored is not None else None
            # After a restart: it was there at the submit and was removed since. Had it failed, this job would have too.
            what = prospect(phase, ran=resumed or live.attempts > 0)
            if what in (Prospect.FAILED, Prospect.MISSING):
                reason = Reason.DEPENDENCY_FAILED if what is Prospect.FAILED else Reason.DEPENDENCY_MISSING
                self._recorder.fail(live, reason, obstruction(name, phase), now)
                return False
            if stored is not None:
                live.ready_at = max(live.ready_at, stored.standing.finished_at or 0.0)
        self._board.prerequisites.expect(live.uid, waiting)
        return True

    def obstructed(self, stored: StoredJob) -> tuple[str, Phase | None] | None:
        """Which of the jobs that an ended one names would not let it start, with its phase; None when all would."""
        after = cast("list[str]", orjson.loads(stored.job.spec).get("after") or ())
        return obstructed(after, self._phase_of, ran=stored.attempts > 0)

    def _phase_of(self, name: str) -> tuple[Phase | None, bool]:
        if name in self._board.by_id:
            return (
                Phase.PENDING,
                False,
            )  # also one whose end is on its way into the store: that end is told to who waits
        stored = self._ledger.job(name)
        return (Phase(stored.standing.phase) if stored is not None else None), False

    def dependency_ended(self, ended: Live, now: float) -> None:
        """Jobs that waited for this one may go on, or never will."""
        if ended.id in self._board.by_id:
            return  # it was redriven meanwhile: they wait for how that ends
        dependents = self._board.dependents(ended.id)
        if dependents and ended.standing.phase != Phase.SUCCEEDED:
            self._turn.undo(lambda: self.again.add(lambda now: self.dependency_ended(ended, now)))
        for live in dependents:
            if ended.standing.phase == Phase.SUCCEEDED:
                self._board.prerequisites.met(live.uid, ended.id)
                if not self._board.prerequisites.of(live.uid) and not live.running:
                    spec = live.spec()
                    live.ready_at = max(now, start_after_seconds(spec))
                    self._look_at_deadline(live)
                    self._board.queue(live, spec, now)
            elif not Phase(live.standing.phase).terminal:
                text = obstruction(ended.id, Phase(ended.standing.phase))
                self._recorder.fail(live, Reason.DEPENDENCY_FAILED, text, now)

    # -- redrive ---------------------------------------------------------------------------------------------

    def redrive(self, stored: StoredJob) -> Live:
        """A failed job lives again with fresh budgets and waits for what it names; attempt numbers go on."""
        if self.closed:
            raise Draining(retry_after=FULL_RETRY_SECONDS)
        now = self._now()
        old = stored.standing
        live = Live(stored.job, attempts=stored.attempts, rev=stored.rev + 1)
        spec = live.spec()
        live.ready_at = now
        live.standing = Standing(Phase.PENDING.value, redrives=old.redrives + 1, redrive=old.redrive + 1)
        self._arrange(live, spec)
        if live.array is not None:
            live.standing = live.standing._replace(items=self._reopen_items(live, live.array, old))
        self._board.add(live)
        self.pending_bytes += len(live.row.spec)
        self._turn.change(ChangeRow(live.uid, Phase.FAILED.value, live.standing), lambda: self.forget(live))
        self._events.add("redriven", live.uid, live.id, now)
        self._enter(live, spec, now)
        return live

    def _reopen_items(self, live: Live, array: ArrayState, old: Standing) -> bytes:
        array.restore(ItemsStatus.model_validate_json(old.items or b"{}", by_alias=True))
        for item in self._ledger.live_items(live.uid):
            live.item_attempts[item.idx] = item.attempts
        again = array.reopen_failed()
        self._turn.batch.items += [
            ItemRow(live.uid, index, "pending", live.item_attempts.get(index, 0), 0, 0) for index in again
        ]
        return array.status().model_dump_json(exclude_defaults=True).encode()

    # -- restart ---------------------------------------------------------------------------------------------

    def restore(self, rows: Sequence[LiveRow], revs: Callable[[str], int], now: float) -> int:
        """Take over what lived before; attempts that ran are lost. Returns how many those were."""
        found: list[tuple[Live, Spec]] = []
        for row in rows:
            live = Live.restored(row)
            live.rev = revs(live.uid)
            spec = live.spec()
            live.ready_at = max(live.ready_at, start_after_seconds(spec))
            self._arrange(live, spec)
            self._board.add(live)
            self.pending_bytes += len(live.row.spec)
            found.append((live, spec))
        return sum(self._resume(live, spec, now) for live, spec in found)

    def _resume(self, live: Live, spec: Spec, now: float) -> int:
        if live.array is not None:
            return self._resume_array(live, live.array, spec, now)
        if live.standing.phase == Phase.RUNNING:
            key = AttemptKey(live.uid, None, live.attempts)
            live.running[key] = None  # type: ignore[assignment]  # it runs nowhere any more; the end takes it out
            self._recorder.attempt_ended(lost(live, key, now, Reason.WORKER_LOST, _LOST), now)
            return 1
        self._take_up(live, spec, now)
        return 0

    def _take_up(self, live: Live, spec: Spec, now: float) -> None:
        """Put a job of before the restart where it belongs; when that is its end, and the disk refuses it, once more."""
        if self._board.by_uid.get(live.uid) is not live or Phase(live.standing.phase).terminal:
            return
        self._enter(live, spec, now, resumed=True)
        if Phase(live.standing.phase).terminal:
            self._turn.undo(lambda: self.again.add(lambda now: self._take_up(live, spec, now)))

    def _resume_array(self, live: Live, array: ArrayState, spec: Spec, now: float) -> int:
        array.restore(ItemsStatus.model_validate_json(live.standing.items or b"{}", by_alias=True))
        running = []
        for item in self._ledger.live_items(live.uid):
            live.item_attempts[item.idx] = item.attempts
            live.item_budgets[item.idx] = (item.retries, item.disruptions)
            if item.state == "running":
                running.append(AttemptKey(live.uid, item.idx, item.attempts))
            elif item.state == Outcome.SUCCEEDED.value:
                array.succeed(item.idx)
            elif item.state == "pending":
                array.again(item.idx, item.not_before or 0.0)
        for key in running:
            array.begin(key.index or 0)
            live.running[key] = None  # type: ignore[assignment]  # it runs nowhere any more; the end takes it out
        for key in running:
            self._recorder.attempt_ended(lost(live, key, now, Reason.WORKER_LOST, _LOST), now)
        if not running:
            self._take_up(live, spec, now)
        return len(running)
