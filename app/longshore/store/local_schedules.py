"""The schedules of a laptop: every word goes to the engine, which has them in memory."""

from collections.abc import Mapping
from typing import cast

import orjson

from longshore.job.preconditions import NONE, Precondition
from longshore.store.port import JobDoc, Key
from longshore.store.schedule_port import ScheduleDoc
from longshore.store.service import EngineService


class LocalSchedules(EngineService):
    """``ScheduleStore`` over the engine's socket."""

    def schedules(self, *, cursor: str = "", limit: int = 100) -> tuple[list[ScheduleDoc], str]:
        found, following = cast(
            "tuple[list[ScheduleDoc], str]", self._engine.call("schedules", again=True, after=cursor, limit=limit)
        )
        return found, following

    def schedule(self, name: str) -> ScheduleDoc:
        return self._doc("schedule", again=True, name=name)

    def put_schedule(
        self, name: str, labels: Mapping[str, str], spec: bytes, *, replace: bool, only: Precondition = NONE
    ) -> tuple[ScheduleDoc, bool]:
        answer = self._engine.call(
            "put_schedule", again=only == NONE, name=name, labels=dict(labels), spec=orjson.loads(spec),
            replace=replace, only=only.wire(),
        )  # fmt: skip
        created, found = cast("tuple[bool, ScheduleDoc]", answer)
        return found, created

    def delete_schedule(self, name: str, *, only: Precondition = NONE) -> None:
        self._engine.call("delete_schedule", name=name, only=only.wire())

    def pause_schedule(self, name: str, *, on: bool, only: Precondition = NONE) -> ScheduleDoc:
        return self._doc("pause_schedule", again=only == NONE, name=name, on=on, only=only.wire())

    def trigger_schedule(self, name: str, id: str, *, key: Key | None = None, only: Precondition = NONE) -> JobDoc:
        wire = [key.key, key.fingerprint] if key is not None else None
        return self._doc("trigger_schedule", again=key is not None, name=name, id=id, key=wire, only=only.wire())
