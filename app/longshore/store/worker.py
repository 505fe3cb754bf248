"""The attempts of a worker: everything is asked of its engine, nothing is stored."""

from typing import cast

import orjson

from longshore.job.attempts import Offers
from longshore.store.port import LogChunk
from longshore.store.rpc import VERSION
from longshore.store.service import Doc, EngineService, log_chunk


class WorkerAttempts(EngineService):
    """``AttemptPort`` over the engine's socket."""

    def take(self, offers: Offers) -> Doc:
        body = orjson.Fragment(offers.model_dump_json(exclude_unset=True))
        # Sent again when the connection was found dead: an attempt that came through is known then.
        return cast(
            "Doc", self._engine.call_raw(orjson.dumps({"op": "take", "v": VERSION, "offers": body}), again=True)
        )

    def feed(self, after: str, acknowledged: str, *, wait: float = 0) -> Doc:
        return self._doc("feed", wait=wait, again=True, after=after, acknowledged=acknowledged)

    def stop(self, uid: str, number: int, *, index: int | None = None, grace: float | None = None) -> Doc:
        return self._doc("stop", again=True, uid=uid, number=number, index=index, grace=grace)

    def logs(self, uid: str, number: int, *, index: int | None = None, offset: int = 0, wait: float = 0) -> LogChunk:
        return log_chunk(self._engine.call(
            "logs", wait=wait, again=True, uid=uid, number=number, index=index, offset=offset))  # fmt: skip
