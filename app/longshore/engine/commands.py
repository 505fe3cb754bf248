"""What the api asks of the engine: one method per operation of the socket.

Writes are applied to memory and answered after the turn's commit. Reads see what is committed: they wait for the
turn when it has something to write.
"""

from collections.abc import Callable
from typing import cast

import orjson

from longshore.engine.attempt import AttemptKey
from longshore.engine.live import Live
from longshore.engine.operations import Doc
from longshore.engine.rpc import Peer, Request
from longshore.engine.schedule_commands import ScheduleCommands
from longshore.errors import (
    Conflict,
    Gone,
    LongshoreError,
    NotFound,
)
from longshore.job import preconditions
from longshore.job.dependencies import redrive_refusal
from longshore.job.explain import explain
from longshore.job.items import array_size
from longshore.job.output import Output, check_asked, chunk
from longshore.job.spec import rfc3339_at
from longshore.job.status import Outcome, Phase, Reason
from longshore.store.document import asks_to_be_told, document
from longshore.store.ledger import KeyRow, StoredJob


class Commands(ScheduleCommands):
    """The operations of a service that keeps its own jobs."""

    def _refused(self, request: Request, error: LongshoreError) -> None:
        if request.get("op") == "submit":
            self._engine.metrics.rejected.labels(_rejection(error)).inc()

    def _abandon(self) -> None:
        self._engine.turn.abandon()

    # -- submit ----------------------------------------------------------------------------------------------

    def _op_submit(self, peer: Peer, request: Request) -> None:
        engine = self._engine
        jobs = cast("list[list[object]]", request["jobs"])
        wait = cast("float", request.get("wait") or 0.0)
        key = self._known_key(request)
        if isinstance(key, KeyRow):
            self._after(peer, lambda: self._submitted(peer, [(id, False) for id in key.ids], wait))
            return
        accepted = engine.intake.accept(jobs, batch=bool(request.get("batch")))
        answers = [(live.id if live else id, live is not None) for live, id in accepted]
        if key is not None:
            self._keep(key, tuple(id for id, _ in answers))
        self._after(peer, lambda: self._submitted(peer, answers, wait))

    def _submitted(self, peer: Peer, answers: list[tuple[str, bool]], wait: float) -> None:
        if len(answers) > 1:
            peer.reply([[id, created, None] for id, created in answers])
            return
        id, created = answers[0]
        live = self._engine.board.by_id.get(id)
        if live is not None and wait:
            peer_reply = self._when_ended(peer, live.uid, id, lambda doc: peer.reply([[id, created, doc]]))
            self._engine.waiters.park(("end", live.uid), peer, wait, peer_reply)
        else:
            peer.reply([[id, created, self._doc(id)]])

    # -- one job ---------------------------------------------------------------------------------------------

    def _op_get(self, peer: Peer, request: Request) -> None:
        id = str(request["id"])
        wait = cast("float", request.get("wait") or 0.0)
        rev = cast("int | None", request.get("rev"))
        self._read(peer, lambda: self._get(peer, id, wait, rev))

    def _get(self, peer: Peer, id: str, wait: float, rev: int | None) -> None:
        doc = self._doc(id)
        live = self._engine.board.by_id.get(id)
        if not wait or live is None or (rev is not None and doc["rev"] != rev):
            peer.reply(doc)
            return
        topic = ("end", live.uid) if rev is None else ("change", live.uid)
        self._engine.waiters.park(topic, peer, wait, self._when_ended(peer, live.uid, id, peer.reply))

    def _when_ended(self, peer: Peer, uid: str, id: str, reply: Callable[[Doc], None]) -> Callable[[bool], None]:
        def answer(_expired: bool) -> None:
            ended = self._engine.just_ended.get(uid)
            try:
                reply(document(ended[0], ended[1]) if ended else self._doc(id))
            except LongshoreError as error:  # removed while somebody waited
                peer.fail(error)

        return answer

    def _doc(self, id: str) -> Doc:
        live = self._engine.board.by_id.get(id)
        if live is not None:
            return self._engine.document(live)
        stored = self._stored(id)
        told = self._engine.ledger.told(stored.job.uid) if asks_to_be_told(stored) else None
        return document(stored, self._engine.ledger.attempts(stored.job.uid), told=told)

    def _stored(self, id: str) -> StoredJob:
        stored = self._engine.ledger.job(id)
        if stored is not None:
            return stored
        if self._engine.ledger.removed(id):
            raise Gone(f"job {id} was removed")
        raise NotFound(f"there is no job {id}")

    def _live(self, id: str, verb: str) -> Live:
        live = self._engine.board.by_id.get(id)
        if live is not None and not Phase(live.standing.phase).terminal:
            return live
        phase = live.standing.phase if live is not None else self._stored(id).standing.phase
        raise Conflict(f"job {id} has ended ({phase}) and cannot be {verb}")

    def _act(self, peer: Peer, request: Request, action: Callable[[str], None]) -> None:
        """Something that changes one job; under an idempotency key it is done once."""
        id = str(request["id"])
        key = self._known_key(request)
        if not isinstance(key, KeyRow):
            self._check(request, id)
            action(id)
            if key is not None:
                self._keep(key, (id,))
        self._after(peer, lambda: peer.reply(self._doc(id)))

    def _check(self, request: Request, id: str) -> None:
        """Raise PreconditionFailed when the job is not as the request wants it, in the same step as the change."""
        only = preconditions.from_wire(request.get("only"))
        if only != preconditions.NONE:
            only.check(preconditions.job_tag(self._doc(id)), f"job {id}")

    def _op_cancel(self, peer: Peer, request: Request) -> None:
        grace = cast("float | None", request.get("grace"))
        self._act(peer, request, lambda id: self.cancel(self._live(id, "cancelled"), grace))

    def cancel(self, live: Live, grace: float | None = None) -> None:
        """Ask a job that has not ended to end, with this turn's commit; what runs of it is stopped after that.

        ``grace`` is the time between SIGTERM and SIGKILL in seconds, None: the service's.
        """
        engine, now = self._engine, self._engine.now()
        standing = live.standing._replace(cancel=True)
        if not live.running:
            standing = standing._replace(
                phase=Phase.CANCELLED.value, reason=Reason.CANCELLED, message="cancelled before it ran"
            )
        if not live.standing.cancel or not live.running:
            engine.recorder.change(live, standing, "cancelling", now)
        engine.board.line(live).remove(live.uid)
        for key in list(live.running):
            engine.turn.then(lambda error, key=key: None if error else self._stop(key, grace))  # type: ignore[misc]  # a default binds now

    def _stop(self, key: AttemptKey, grace: float | None) -> None:
        self._engine.pool.stop(key, Outcome.CANCELLED, Reason.CANCELLED, "cancelled while it ran", grace)

    def _op_suspend(self, peer: Peer, request: Request) -> None:
        self._act(peer, request, lambda id: self._suspend(self._live(id, "suspended"), on=True))

    def _op_resume(self, peer: Peer, request: Request) -> None:
        self._act(peer, request, lambda id: self._suspend(self._live(id, "resumed"), on=False))

    def _suspend(self, live: Live, *, on: bool) -> None:
        if live.standing.suspend == on:
            return
        engine, now = self._engine, self._engine.now()
        engine.recorder.change(live, live.standing._replace(suspend=on), "suspended" if on else "resumed", now)
        if live.standing.phase == Phase.PENDING or live.array is not None:
            engine.board.queue(live, live.spec(), now)

    def _op_redrive(self, peer: Peer, request: Request) -> None:
        """``chain``: jobs that failed with this one, as the api found them, each behind those that it waits for."""
        id, chain = str(request["id"]), cast("list[str] | None", request.get("chain"))
        key = self._known_key(request)
        if isinstance(key, KeyRow):
            redriven = list(key.ids)
        else:
            self._check(request, id)
            self._redrive(id)
            redriven = [id, *(name for name in chain or () if self._redrive_dependent(name))]
            if key is not None:
                self._keep(key, tuple(redriven))
        told: Doc = {} if chain is None else {"redriven": redriven}
        self._after(peer, lambda: peer.reply(self._doc(id) | told))

    def _redrive(self, id: str) -> None:
        live = self._engine.board.by_id.get(id)
        stored = self._stored(id) if live is None else None
        if stored is None or stored.standing.phase != Phase.FAILED:
            phase = live.standing.phase if live is not None else self._stored(id).standing.phase
            raise Conflict(f"only a failed job can be redriven; {id} is {phase}")
        if (found := self._engine.intake.obstructed(stored)) is not None:
            raise Conflict(redrive_refusal(id, *found))
        self._engine.intake.redrive(stored)

    def _redrive_dependent(self, name: str) -> bool:
        """False when it is left as it is: it is failed no more, or waits for another job that has failed too."""
        stored = self._engine.ledger.job(name) if name not in self._engine.board.by_id else None
        if stored is None or stored.standing.phase != Phase.FAILED or self._engine.intake.obstructed(stored):
            return False
        self._engine.intake.redrive(stored)
        return True

    def _op_delete(self, peer: Peer, request: Request) -> None:
        id = str(request["id"])
        live = self._engine.board.by_id.get(id)
        if live is not None and not Phase(live.standing.phase).terminal:
            raise Conflict(f"job {id} is {live.standing.phase}; cancel it first")

        def remove() -> None:
            stored = self._stored(id)
            self._check(request, id)
            self._engine.turn.batch.removed.append((stored.job.uid, id, self._engine.now()))
            self._after(peer, lambda: peer.reply(None))

        self._read(peer, remove)

    # -- what a job says -------------------------------------------------------------------------------------

    def _op_logs(self, peer: Peer, request: Request) -> None:
        self._read(peer, lambda: self._logs(peer, request))

    def _logs(self, peer: Peer, request: Request) -> None:
        engine, id = self._engine, str(request["id"])
        index = cast("int | None", request.get("index"))
        number = cast("int | None", request.get("attempt"))
        offset = cast("int", request.get("offset") or 0)
        wait = cast("float", request.get("wait") or 0.0)
        live = engine.board.by_id.get(id)
        found = live if live is not None else self._stored(id)
        row = found.row if isinstance(found, Live) else found.job
        uid = row.uid
        check_asked(id, size=array_size(orjson.loads(row.spec)) if row.array else 0, index=index, number=number,
                           attempts=None if number is None else self._attempts(found, index))  # fmt: skip
        output, complete, number = self._output(live, uid, index, number)
        answer = chunk(output, offset, complete=complete, number=number)
        if not answer["data"] and not complete and wait:
            engine.waiters.park(("log", uid), peer, wait, lambda _expired: self._guarded(
                peer, lambda: self._logs(peer, {**request, "wait": 0.0, "attempt": number})))  # fmt: skip
            return
        peer.reply(answer)

    def _attempts(self, job: Live | StoredJob, index: int | None) -> int:
        """How many attempts the job, or that item of it, has had."""
        if index is None:
            return job.attempts
        if isinstance(job, Live):
            return job.item_attempts.get(index, 0)
        return self._engine.ledger.item_attempts(job.job.uid, index)

    def _output(self, live: Live | None, uid: str, index: int | None, number: int | None) -> tuple[Output, bool, int]:
        engine = self._engine
        running = [key for key in live.running if key.index == index] if live is not None else []
        for key in running:
            if number in (None, key.number) and (output := engine.pool.output(key)) is not None:
                return output, False, key.number
        row = engine.ledger.log(uid, index, number)
        if row is not None:
            return Output(row.head, row.tail, row.total), True, row.number
        waiting = live is not None and not running and number is None
        return Output(), not waiting, number or 0

    def _op_events(self, peer: Peer, request: Request) -> None:
        self._read(peer, lambda: self._events(peer, request))

    def _events(self, peer: Peer, request: Request) -> None:
        engine, id = self._engine, cast("str | None", request.get("id"))
        uid, live, after = None, None, cast("int", request.get("after") or 0)
        if id is not None:
            live = engine.board.by_id.get(id)
            uid = live.uid if live is not None else self._stored(id).job.uid
        found = engine.events.after(after, uid=uid, limit=cast("int", request.get("limit") or 500))
        if live is not None and live.progress is not None and request.get("progress") not in (None, live.progress[0]):
            count, percent, message = live.progress
            # It is kept nowhere, so it has no number of its own: who resumes by number misses none of the others.
            data = {"report": count, "percent": percent, "message": message}
            found.append([found[-1][0] if found else after, id, "progress", rfc3339_at(engine.now()), data])
        wait = cast("float", request.get("wait") or 0.0)
        if found or not wait:
            peer.reply(found)
            return
        engine.waiters.park(("events", uid or ""), peer, wait, lambda _expired: self._guarded(
            peer, lambda: self._events(peer, {**request, "wait": 0.0})))  # fmt: skip

    def _op_explain(self, peer: Peer, request: Request) -> None:
        self._read(peer, lambda: peer.reply(self._explain(str(request["id"]))))

    def _explain(self, id: str) -> Doc:
        engine = self._engine
        live = engine.board.by_id.get(id)
        if live is None:
            phase = self._stored(id).standing.phase
            return {"id": id, "phase": phase, "reason": "Ended", "message": f"it has ended: {phase}"}
        whole: Doc = {"id": id, "phase": live.standing.phase, "queue": live.row.queue}
        if live.running:
            text = f"it runs on {live.standing.worker}, {len(live.running)} attempt(s)"
            return whole | {"reason": "Running", "message": text}
        if engine.holding:
            return whole | {"reason": "Draining", "message": "the service starts no jobs until it has its new code"}
        if engine.draining:
            return whole | {"reason": "Draining", "message": "the service is draining and starts no jobs"}
        found = explain(
            engine.board.line(live), live.uid, now=engine.now(), free_slots=engine.free_slots(),
            waits_for=tuple(sorted(engine.board.prerequisites.of(live.uid))),
        )  # fmt: skip
        if found is not None and engine.code_fault and live.row.handler:
            text = f"{found.message}; the code that was saved last does not start: {engine.code_fault}"
            found = found.model_copy(update={"message": text})
        if found is None:  # the disk does not take its end yet
            return whole | {"reason": "Ended", "message": f"it has ended: {live.standing.phase}"}
        return whole | found.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)

    def _op_retry_deliveries(self, peer: Peer, request: Request) -> None:
        names = cast("list[str] | None", request.get("jobs"))
        uids = {self._uid(name): name for name in names} if names is not None else None

        def retry() -> None:
            count = self._engine.retry_webhooks(uids)
            self._after(peer, lambda: peer.reply(count))

        self._read(peer, retry)

    def _uid(self, id: str) -> str:
        live = self._engine.board.by_id.get(id)
        return live.uid if live is not None else self._stored(id).job.uid

    # -- the service -----------------------------------------------------------------------------------------

    def _op_status(self, peer: Peer, request: Request) -> None:
        self._read(peer, lambda: peer.reply(self._engine.status(details=bool(request.get("details")))))

    def _op_reload(self, peer: Peer, _request: Request) -> None:
        def answer(error: LongshoreError | None) -> None:
            if error is None:
                peer.reply(self._engine.status(details=False))
            else:
                peer.fail(error)

        self._engine.reload(answer)

    # -- answering -------------------------------------------------------------------------------------------

    def _read(self, peer: Peer, answer: Callable[[], None]) -> None:
        """Answer now, unless something is on its way into the store; then right after it."""
        if self._engine.turn and not self._engine.turn.failing:
            self._engine.turn.then(lambda _error: self._guarded(peer, answer))
        else:
            self._guarded(peer, answer)


def _rejection(error: LongshoreError) -> str:
    known = {"queue-full": "full", "quota-exceeded": "quota", "draining": "draining", "store-unavailable": "store"}
    return known.get(error.code, "invalid")
