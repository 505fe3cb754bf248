"""An attempt ended, or a job without one: what that means, as rows of the current turn."""

from collections.abc import Callable, Mapping

from longshore.engine.attempt import AttemptKey, Ended
from longshore.engine.board import Board
from longshore.engine.events import Events
from longshore.engine.live import Live, Spec
from longshore.engine.policies import Policies
from longshore.engine.turn import Turn
from longshore.engine.webhooks import delivery
from longshore.job.items import ArrayState
from longshore.job.lifecycle import Course, End, Verdict, finish
from longshore.job.limits import Policy
from longshore.job.output import last_text
from longshore.job.status import MAX_LOG_TAIL_BYTES, Outcome, Phase
from longshore.store.ledger import ChangeRow, EndRow, ItemRow, LogRow, Standing

END_EVENT = {Phase.SUCCEEDED: "succeeded", Phase.FAILED: "failed", Phase.CANCELLED: "cancelled"}


class Recorder:
    """Applies the pure rules of ``longshore.job`` to live jobs."""

    def __init__(self, board: Board, turn: Turn, events: Events, policies: Policies, *, worker: str,
                 random: Callable[[], float], ended: Callable[[Live], None]) -> None:  # fmt: skip
        self._board, self._turn, self._events, self._policies = board, turn, events, policies
        self._worker, self._random, self._ended = worker, random, ended

    # -- attempts --------------------------------------------------------------------------------------------

    def attempt_ended(self, ended: Ended, now: float) -> Live | None:
        """Record the end; None when the job is unknown (a stranger's voice, or one that was too late)."""
        live = self._board.by_uid.get(ended.key.uid)
        if live is None or ended.key not in live.running:
            return None
        spec = live.spec()
        self._board.end(live, ended.key, spec)
        live.progress = None
        if live.array is None:
            verdict = self._verdict(live, ended, _course(live), now)
            item = None
        else:
            verdict, item = self._item(live, live.array, ended, now)
        self._settle(live, ended, verdict, item, spec, now)
        return live

    def _verdict(self, live: Live, ended: Ended, course: Course, now: float) -> Verdict:
        end = End(
            course.attempts, ended.outcome, ended.reason, ended.error_type, ended.error_message, ended.exit_code,
            ended.error_names,
        )  # fmt: skip
        # A success asks for no budget; looking one up costs as much as the rest.
        policy = Policy() if ended.outcome is Outcome.SUCCEEDED else self._policies.of(live)
        return finish(course, end, policy, now=now, random=self._random)

    def _item(self, live: Live, array: ArrayState, ended: Ended, now: float) -> tuple[Verdict, ItemRow]:
        """What the end of an item means for the item and, by it, for the job."""
        index = ended.key.index
        assert index is not None
        retries, disruptions = live.item_budgets.get(index, (0, 0))
        course = Course(Phase.RUNNING, ended.key.number, retries, disruptions, cancel=live.standing.cancel)
        verdict = self._verdict(live, ended, course, now)
        error = array.settle(index, verdict, ended.error_type, ended.error_message)
        if verdict.course.retries or verdict.course.disruptions:
            live.item_budgets[index] = (verdict.course.retries, verdict.course.disruptions)
        row = ItemRow(
            live.uid, index, verdict.course.phase.value.lower(), ended.key.number, verdict.course.retries,
            verdict.course.disruptions, verdict.not_before, error.type if error else "", error.message if error else "",
            ended.result,
        )  # fmt: skip
        return array.verdict(_course(live)), row

    def _settle(self, live: Live, ended: Ended, verdict: Verdict, item: ItemRow | None, spec: Spec, now: float) -> None:
        phase = verdict.course.phase
        failed = ended.outcome is not Outcome.SUCCEEDED
        array = live.array
        live.standing = live.standing._replace(
            phase=phase.value, reason=verdict.reason, message=verdict.message[:1024],
            retries=verdict.course.retries, disruptions=verdict.course.disruptions, not_before=verdict.not_before,
            error_type=ended.error_type or ended.reason if failed and array is None else "",
            error_message=ended.error_message if failed and array is None else "",
            log_tail=last_text(ended.output, MAX_LOG_TAIL_BYTES) if failed and ended.output.total else "",
            result=ended.result if array is None else None,
            items=array.status().model_dump_json(exclude_defaults=True).encode() if array is not None else None,
        )  # fmt: skip
        if phase.terminal:
            live.standing = self._closed(live.standing, spec, now)
        live.rev += 1
        live.dirty = True
        self._turn.batch.ends.append(self._end_row(live, ended, item))
        self._announce(live, ended, item, now)
        if phase.terminal:
            self._finish(live, spec, now, fact=True)
        else:
            live.ready_at = max(now, verdict.not_before or 0.0)
            self._board.queue(live, spec, now)

    def _end_row(self, live: Live, ended: Ended, item: ItemRow | None) -> EndRow:
        key, output = ended.key, ended.output
        log = LogRow(key.uid, key.index, key.number, output.head, output.tail, output.total) if output.total else None
        return EndRow(key.uid, key.index, key.number, self._worker, ended.started_at, ended.finished_at,
                      ended.outcome.value, ended.reason, ended.exit_code, live.standing, item, log)  # fmt: skip

    def _announce(self, live: Live, ended: Ended, item: ItemRow | None, now: float) -> None:
        state = item.state if item is not None else live.standing.phase.lower()
        if item is None and live.standing.phase != Phase.PENDING:
            return  # the end of the job says it all
        data: dict[str, object] = {"attempt": ended.key.number, "outcome": ended.outcome.value}
        if ended.key.index is not None:
            data["index"] = ended.key.index
        if state == "pending":
            self._events.add("retrying", live.uid, live.id, now, data | {"reason": ended.reason}, fact=True)
        elif item is not None:
            self._events.add(f"item-{state}", live.uid, live.id, now, data, fact=True)

    # -- jobs ------------------------------------------------------------------------------------------------

    def change(self, live: Live, standing: Standing, event: str, now: float) -> None:
        """A change without an attempt; an end if the new phase is one."""
        before, spec = live.standing, live.spec()
        phase = Phase(standing.phase)
        if phase.terminal:
            standing = self._closed(standing, spec, now)
        was_dirty = live.dirty
        live.standing, live.dirty = standing, True
        live.rev += 1
        self._turn.change(
            ChangeRow(live.uid, before.phase, standing),
            lambda: self._restore(live, before, dirty=was_dirty, spec=spec, now=now),
        )
        if phase.terminal:
            self._finish(live, spec, now, fact=False)
        else:
            self._events.add(event, live.uid, live.id, now)

    def _restore(self, live: Live, before: Standing, *, dirty: bool, spec: Spec, now: float) -> None:
        live.standing, live.dirty = before, dirty
        live.rev -= 1
        if before.phase == Phase.PENDING or live.array is not None:
            self._board.queue(live, spec, now)

    def fail(self, live: Live, reason: str, message: str, now: float) -> None:
        """The job fails without another attempt."""
        standing = live.standing._replace(phase=Phase.FAILED.value, reason=reason, message=message)
        self.change(live, standing, "failed", now)

    def _closed(self, standing: Standing, spec: Spec, now: float) -> Standing:
        return standing._replace(finished_at=now, not_before=None, expires_at=self._policies.expires_at(spec, now))

    def _finish(self, live: Live, spec: Spec, now: float, *, fact: bool) -> None:
        phase = Phase(live.standing.phase)
        self._board.line(live).remove(live.uid)
        reason: Mapping[str, object] = {"reason": live.standing.reason} if live.standing.reason else {}
        self._events.add(END_EVENT[phase], live.uid, live.id, now, reason, fact=fact)
        row = delivery(live, spec, now)
        if row is not None:
            self._turn.deliver(row, fact=fact)
        self._ended(live)


def _course(live: Live) -> Course:
    s = live.standing
    return Course(Phase(s.phase), live.attempts, s.retries, s.disruptions, s.redrives, s.cancel)


def lost(live: Live, key: AttemptKey, now: float, reason: str, message: str) -> Ended:
    """The end of an attempt whose worker is gone."""
    started = live.standing.started_at or now
    return Ended(key, Outcome.LOST, started, now, max(0.0, now - started), reason, reason, message)
