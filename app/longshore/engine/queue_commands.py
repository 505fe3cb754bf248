"""What the api may ask of queues, and how a write is answered: once under its key, after its commit, or with its failure."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import orjson
from pydantic import ValidationError

from longshore.engine.operations import Doc, Operations
from longshore.engine.rpc import Peer, Request
from longshore.errors import InvalidRequest, KeyReused, NotFound, StoreUnavailable
from longshore.job import preconditions
from longshore.job.limits import QueuePolicy
from longshore.job.wording import sentence
from longshore.store.ledger import KeyRow

if TYPE_CHECKING:
    from longshore.engine.engine import Engine


class QueueCommands(Operations):
    """The operations of a service that keeps its own queues."""

    def __init__(self, engine: "Engine") -> None:
        super().__init__(engine)
        self._engine = engine
        self._pending_keys: dict[str, KeyRow] = {}

    def _op_queues(self, peer: Peer, _request: Request) -> None:
        peer.reply([self._queue(name) for name in sorted(self._engine.board.lines)])

    def _op_queue(self, peer: Peer, request: Request) -> None:
        peer.reply(self._queue(self._queue_name(request)))

    def _queue_name(self, request: Request) -> str:
        name = str(request["name"])
        if name not in self._engine.board.lines:
            raise NotFound(f"there is no queue {name}")
        return name

    def _queue(self, name: str) -> Doc:
        line, now = self._engine.board.lines[name], self._engine.now()
        oldest = line.oldest(now)
        return {
            "name": name, "policy": line.policy.model_dump(mode="json", exclude_none=True), "waiting": len(line),
            "ready": line.depth(now), "running": line.running, "paused": line.policy.paused,
            "oldestAgeSeconds": round(max(0.0, now - oldest), 3) if oldest is not None else 0.0,
            "overridden": sorted(self._engine.overrides.get(name, {})),
        }  # fmt: skip

    def _op_set_queue(self, peer: Peer, request: Request) -> None:
        engine, name = self._engine, self._queue_name(request)
        preconditions.from_wire(request.get("only")).check(preconditions.policy_tag(self._queue(name)), f"queue {name}")
        changes = cast("dict[str, object]", request["changes"])
        overrides = {**engine.overrides.get(name, {}), **changes}
        overrides = {field: value for field, value in overrides.items() if value is not None}
        base = engine.settings.queue_policies().get(name, QueuePolicy())
        try:
            policy = QueuePolicy.model_validate_json(
                orjson.dumps({**base.model_dump(mode="json"), **overrides}), by_alias=True, by_name=False
            )
        except ValidationError as error:
            raise InvalidRequest(
                "the policy of the queue is wrong",
                errors=[
                    {"pointer": "/" + "/".join(str(part) for part in e["loc"]), "detail": sentence(e["type"], e["msg"])}
                    for e in error.errors()
                ],
            ) from None
        before, old = engine.overrides.get(name, {}), engine.board.lines[name].policy
        engine.turn.batch.queues.append((name, orjson.dumps(overrides)))
        engine.overrides[name] = overrides
        engine.board.lines[name].change(policy, engine.now())

        def undo() -> None:
            engine.overrides[name] = before
            engine.board.lines[name].change(old, engine.now())

        engine.turn.undo(undo)
        self._after(peer, lambda: peer.reply(self._queue(name)))

    def _after(self, peer: Peer, answer: Callable[[], None]) -> None:
        """Answer after the commit, or with its failure."""

        def then(error: StoreUnavailable | None) -> None:
            if error is not None:
                peer.fail(error)
            else:
                self._guarded(peer, answer)

        self._engine.turn.then(then)

    def _known_key(self, request: Request) -> KeyRow | list[str] | None:
        """The row of a key that was used for the same request before, or the key to keep, or None."""
        key = cast("list[str] | None", request.get("key"))
        if key is None:
            return None
        row = self._pending_keys.get(key[0]) or self._engine.ledger.key(key[0])
        if row is None:
            return key
        if row.fingerprint != key[1]:
            raise KeyReused
        return row

    def _keep(self, key: list[str], ids: tuple[str, ...]) -> None:
        row = KeyRow(key[0], key[1], ids, self._engine.now())
        self._engine.turn.batch.keys.append(row)
        self._pending_keys[row.key] = row
        self._engine.turn.then(lambda _error: self._pending_keys.clear())  # from here on the ledger knows, or nobody
