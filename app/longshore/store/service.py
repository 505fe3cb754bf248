"""What every engine answers about itself, whatever it stores: the client's half, and of its output."""

import os
from collections.abc import Mapping, Sequence
from typing import cast

from longshore.store.port import LogChunk
from longshore.store.rpc import EngineClient

Doc = dict[str, object]
REPORT_SECONDS = 86_400.0  # an engine that nobody probes for a day is told again what it knows
RELOAD_SECONDS = 70.0  # the new code is imported first, which may take a minute


class EngineService:
    """``ServicePort`` over the engine's socket."""

    backend = "engine"

    def __init__(self, rpc_path: str) -> None:
        self._engine = EngineClient(rpc_path)

    def handlers(self) -> list[Doc]:
        return self._docs("handlers")

    def workers(self) -> list[Doc]:
        return self._docs("workers")

    def status(self, *, details: bool = False) -> Doc:
        return self._doc("status", again=True, details=details)

    def drain(self, *, on: bool) -> Doc:
        return self._doc("drain", again=True, on=on)

    def reload(self) -> Doc:
        return self._doc("reload", wait=RELOAD_SECONDS)

    def report_health(self, failed: Sequence[str]) -> None:
        """Tell which readiness checks fail; returns when somebody has probed the engine since."""
        self._engine.call("report_health", wait=REPORT_SECONDS, failed=failed)

    def metrics(self) -> list[Mapping[str, object]]:
        return cast("list[Mapping[str, object]]", self._engine.call("metrics", again=True))

    def add_counts(self, changes: Sequence[object]) -> None:
        self._engine.call("add_counts", source=f"api {os.getpid()}", changes=changes)

    def _doc(self, op: str, *, wait: float = 0.0, again: bool = False, **params: object) -> Doc:
        return cast("Doc", self._engine.call(op, wait=wait, again=again, **params))

    def _docs(self, op: str) -> list[Doc]:
        return cast("list[Doc]", self._engine.call(op, again=True))


def log_chunk(answer: object) -> LogChunk:
    """A piece of output as the engine sends it."""
    fields = cast("dict[str, object]", answer)
    # Output is bytes of any kind; latin-1 carries each as one character of JSON.
    fields["data"] = cast("str", fields["data"]).encode("latin-1")
    return LogChunk(**fields)  # type: ignore[arg-type]  # written from LogChunk's own fields
