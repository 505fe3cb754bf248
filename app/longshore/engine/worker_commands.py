"""What the api may ask of a worker's engine beside what it may ask of any."""

from typing import TYPE_CHECKING, cast

from longshore.engine.attempt import AttemptKey
from longshore.engine.feed import TOPIC
from longshore.engine.operations import Doc, Operations
from longshore.engine.rpc import Peer, Request
from longshore.errors import Gone, NotFound
from longshore.job.attempts import VERSION
from longshore.job.output import chunk
from longshore.job.status import Outcome, Reason

if TYPE_CHECKING:
    from longshore.engine.worker import WorkerEngine


class WorkerCommands(Operations):
    """The operations of a worker."""

    def __init__(self, engine: "WorkerEngine") -> None:
        super().__init__(engine)
        self._engine = engine

    def _op_take(self, peer: Peer, request: Request) -> None:
        engine = self._engine
        results = [
            {"uid": offer["uid"], "index": offer.get("index"), "number": offer["number"], "result": engine.take(offer)}
            for offer in cast("dict[str, list[Doc]]", request["offers"])["attempts"]
        ]
        peer.reply({"version": VERSION, "boot": engine.boot, "results": results, "free": engine.free_slots()})

    def _op_feed(self, peer: Peer, request: Request) -> None:
        engine = self._engine
        wait = cast("float", request.get("wait") or 0.0)
        position = engine.feed.position(str(request["after"]))
        engine.acknowledge(engine.feed.position(str(request["acknowledged"])))
        if not wait or position < engine.feed.seq:
            peer.reply(engine.news(position))
        else:
            engine.waiters.park(TOPIC, peer, wait, lambda _expired: peer.reply(engine.news(position)))

    def _op_stop(self, peer: Peer, request: Request) -> None:
        key = _key(request)
        grace = cast("float | None", request.get("grace"))
        if not self._engine.pool.stop(key, Outcome.CANCELLED, Reason.CANCELLED, "cancelled while it ran", grace):
            raise NotFound(f"attempt {key.number} of {key.uid} does not run here")
        peer.reply({"uid": key.uid, "index": key.index, "number": key.number})

    def _op_logs(self, peer: Peer, request: Request) -> None:
        engine, key = self._engine, _key(request)
        offset = cast("int", request.get("offset") or 0)
        wait = cast("float", request.get("wait") or 0.0)
        output, complete = engine.pool.output(key), False
        if output is None:
            output, complete = engine.logs.get(key), True
        if output is None:
            text = f"the output of attempt {key.number} of {key.uid} is not kept here; the log of worker {engine.worker} has it"
            raise Gone(text)
        answer = chunk(output, offset, complete=complete, number=key.number)
        if not answer["data"] and not complete and wait:
            engine.waiters.park(("log", key.uid), peer, wait, lambda _expired: self._guarded(
                peer, lambda: self._op_logs(peer, {**request, "wait": 0.0})))  # fmt: skip
            return
        peer.reply(answer)


def _key(request: Request) -> AttemptKey:
    return AttemptKey(str(request["uid"]), cast("int | None", request.get("index")), cast("int", request["number"]))
