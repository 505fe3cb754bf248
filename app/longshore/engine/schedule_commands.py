"""What the api may ask of schedules on one machine: read, make, change, delete, pause, and run one now."""

from typing import cast

import orjson

from longshore.engine.live import new_uid
from longshore.engine.operations import Doc
from longshore.engine.queue_commands import QueueCommands
from longshore.engine.rpc import Peer, Request
from longshore.engine.schedule_entry import Entry, document
from longshore.errors import Conflict, Draining, NotFound, PreconditionFailed, QuotaExceeded, UnknownQueue
from longshore.job import preconditions
from longshore.job.schedule import ScheduleOrigin
from longshore.job.status import TERMINAL
from longshore.store.ledger import KeyRow, ScheduleRow

MAX_SCHEDULES = 100_000
MAX_BYTES = 256 * 1024 * 1024  # of all specifications: they lie in memory


class ScheduleCommands(QueueCommands):
    """The operations on the schedules of an engine."""

    def _doc(self, id: str) -> Doc:
        """The document of a job."""
        raise NotImplementedError

    def _entry(self, request: Request, *, declared: bool = True) -> Entry:
        """The schedule that a request names, when it is in the state that the request wants.

        Raises NotFound, PreconditionFailed, and Conflict unless ``declared`` ones are meant too.
        """
        name = str(request["name"])
        entry = self._named(name)
        preconditions.from_wire(request.get("only")).check(
            preconditions.schedule_state_tag(document(entry)), f"schedule {name}"
        )
        if not declared:
            _refuse_declared(entry)
        return entry

    def _named(self, name: str) -> Entry:
        """The schedule of that name; raises NotFound."""
        entry = self._engine.schedules.entries.get(name)
        if entry is None:
            raise NotFound(f"there is no schedule {name}")
        return entry

    def _op_schedules(self, peer: Peer, request: Request) -> None:
        after, limit = str(request.get("after") or ""), cast("int", request.get("limit") or 100)
        entries = self._engine.schedules.entries
        names = sorted(name for name in entries if name > after)[: limit + 1]
        docs = [document(entries[name]) for name in names[:limit]]
        peer.reply([docs, names[limit - 1] if len(names) > limit else ""])

    def _op_schedule(self, peer: Peer, request: Request) -> None:
        peer.reply(document(self._entry(request)))

    def _op_put_schedule(self, peer: Peer, request: Request) -> None:
        """``replace`` says whether one of another specification may be there; the answer whether there was none."""
        name = str(request["name"])
        labels, spec = orjson.dumps(request.get("labels") or {}), orjson.dumps(request["spec"])
        entry = self._engine.schedules.entries.get(name)
        if entry is None:
            if preconditions.from_wire(request.get("only")).match is not None:
                raise PreconditionFailed(f"there is no schedule {name}")
            self._check_room(len(spec))
            row = ScheduleRow(name, new_uid(), ScheduleOrigin.REQUEST, labels, spec, b"{}", self._engine.now(), 1)
        else:
            self._entry(request, declared=False)
            row = entry.row._replace(labels=labels, spec=spec, generation=entry.row.generation + 1)
            same = (orjson.loads(labels), orjson.loads(spec)) == (
                orjson.loads(entry.row.labels),
                orjson.loads(entry.row.spec),
            )
            if not same and not request.get("replace"):
                raise Conflict(f"there is another schedule named {name}; PUT replaces it")
            if same:
                self._after(peer, lambda: peer.reply([False, self._schedule_doc(name)]))
                return
        self._check_queue(cast("Doc", request["spec"]))
        self._engine.schedules.put(row)
        self._after(peer, lambda: peer.reply([entry is None, self._schedule_doc(name)]))

    def _schedule_doc(self, name: str) -> Doc:
        return document(self._named(name))

    def _check_room(self, size: int) -> None:
        schedules = self._engine.schedules
        if len(schedules.entries) >= MAX_SCHEDULES or schedules.size_bytes + size > MAX_BYTES:
            text = f"there are {len(schedules.entries)} schedules with {schedules.size_bytes} bytes; delete some"
            raise QuotaExceeded(text, retry_after=60)

    def _check_queue(self, spec: Doc) -> None:
        job = cast("Doc", cast("Doc", spec["jobTemplate"])["spec"])
        queue, lines = str(job.get("queue") or "default"), self._engine.board.lines
        if queue not in lines:
            detail = f"there is no queue {queue!r}; there are: {', '.join(sorted(lines))}"
            raise UnknownQueue(detail, errors=[{"pointer": "/jobTemplate/spec/queue", "detail": detail}])

    def _op_delete_schedule(self, peer: Peer, request: Request) -> None:
        """Its jobs go with it, as in a cluster: those that have not ended are cancelled, the others removed."""
        engine, entry = self._engine, self._entry(request, declared=False)
        engine.schedules.runner.cancel(entry.active)
        for job in engine.schedules.runner.jobs_of(entry):
            if job.phase in TERMINAL and job.uid not in engine.board.by_uid:
                engine.turn.batch.removed.append((job.uid, job.id, engine.now()))
        engine.schedules.remove(entry)
        self._after(peer, lambda: peer.reply(None))

    def _op_pause_schedule(self, peer: Peer, request: Request) -> None:
        """Also of a declared one, over what it declares, until somebody says otherwise."""
        entry, paused = self._entry(request), bool(request["on"])
        row = entry.row
        spec = orjson.loads(row.spec)
        if row.origin == ScheduleOrigin.REQUEST:
            changed = row._replace(spec=orjson.dumps(spec | {"suspend": paused}))
        else:
            changed = row._replace(paused=None if bool(spec.get("suspend")) == paused else paused)
        if changed != row and bool(entry.resource()["spec"].get("suspend")) != paused:
            self._engine.schedules.put(changed._replace(generation=row.generation + 1))
        self._after(peer, lambda: peer.reply(self._schedule_doc(row.name)))

    def _op_trigger_schedule(self, peer: Peer, request: Request) -> None:
        """A job of it now, whatever the clock and its concurrencyPolicy say."""
        id, key = str(request["id"]), self._known_key(request)
        if isinstance(key, KeyRow):
            id = key.ids[0]
        else:
            entry = self._entry(request)
            if self._engine.intake.closed:
                raise Draining(retry_after=5)
            self._engine.schedules.runner.create(entry, entry.resource(), id)
            if key is not None:
                self._keep(key, (id,))
        self._after(peer, lambda: peer.reply(self._doc(id)))


def _refuse_declared(entry: Entry) -> None:
    where = {
        ScheduleOrigin.FILE: "the settings file",
        ScheduleOrigin.HANDLER: "its handler",
    }.get(ScheduleOrigin(entry.row.origin))
    if where is not None:
        text = f"schedule {entry.row.name} is declared by {where} and changed there; here it can be paused, resumed and triggered"
        raise Conflict(text)
