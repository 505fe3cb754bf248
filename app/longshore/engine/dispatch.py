"""Waiting jobs × free slots → claims. A claim is kept by the store before its attempt starts."""

from collections.abc import Callable
from typing import cast

import orjson

from longshore.engine.attempt import Attempt, AttemptKey
from longshore.engine.board import Board, Pick
from longshore.engine.events import Events
from longshore.engine.live import Live, Spec
from longshore.engine.policies import Policies, memory_bytes
from longshore.engine.turn import Turn
from longshore.job.status import Phase
from longshore.store.ledger import ClaimRow


class Dispatcher:
    """Fills free places, best job first."""

    def __init__(self, board: Board, turn: Turn, events: Events, policies: Policies, *, worker: str,
                 max_result_bytes: int, waited: Callable[[str, float], None]) -> None:  # fmt: skip
        self._board, self._turn, self._events, self._policies = board, turn, events, policies
        self._worker, self._max_result, self._waited = worker, max_result_bytes, waited

    def fill(self, places: int, now: float) -> None:
        """Claim for at most so many places."""
        for _ in range(places):
            pick = self._board.pick(now)
            if pick is None:
                return
            self._claim(pick, now)

    def _claim(self, pick: Pick, now: float) -> None:
        live, before = pick.live, pick.live.standing
        spec = live.spec()
        key = AttemptKey(live.uid, pick.index, pick.number)
        attempt = self._attempt(live, spec, key)
        committed = not live.dirty
        live.attempts += 1
        live.rev += 1
        live.standing = before._replace(
            phase=Phase.RUNNING.value, reason="", message="", not_before=None, worker=self._worker,
            started_at=before.started_at or now,
        )  # fmt: skip
        self._board.begin(live, key, attempt, spec, now)

        def undo() -> None:
            live.attempts -= 1
            live.rev -= 1
            live.standing = before
            self._board.take_back(live, key, spec, now)

        row = ClaimRow(live.uid, pick.index, pick.number, self._worker, now)
        data: dict[str, object] = {"attempt": pick.number, "worker": self._worker}
        if pick.index is not None:
            data["index"] = pick.index
        event = self._events.row("started", live.uid, live.id, now, data)
        self._turn.claim(row, attempt, event, undo, committed=committed)
        self._waited(live.row.handler, max(0.0, now - live.ready_at))

    def _attempt(self, live: Live, spec: Spec, key: AttemptKey) -> Attempt:
        return Attempt(
            key=key, job=live.id, handler=live.row.handler, args=_args(spec, key.index),
            command=tuple(cast("list[str]", spec.get("command") or ())),
            env=cast("dict[str, str]", spec.get("env") or {}),
            runner=self._policies.runner(live), timeout_seconds=self._policies.timeout_seconds(live, spec),
            memory_bytes=memory_bytes(spec), max_result_bytes=self._max_result,
            idempotency_key=live.uid if key.index is None else f"{live.uid}/{key.index}",
            traceparent=live.row.traceparent, tracestate=live.row.tracestate, ready_at=live.ready_at,
        )  # fmt: skip


def _args(spec: Spec, index: int | None) -> bytes:
    args = cast("dict[str, object]", spec.get("args") or {})
    if index is not None and (items := spec.get("items")):
        args = {**args, **cast("list[dict[str, object]]", items)[index]}
    return orjson.dumps(args)
