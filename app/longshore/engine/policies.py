"""What holds for a job after all defaults: its own word, its handler's, its queue's, the service's."""

from collections.abc import Iterable, Mapping
from typing import cast

import orjson

from longshore.engine.hello import HandlerInfo
from longshore.engine.live import Live, Spec
from longshore.job.limits import Defaults, Policy, QueuePolicy, resolve
from longshore.job.line import Line
from longshore.job.spec import JobSpec, Resources, Retry


class Policies:
    """Looks up defaults; cheap for what every attempt needs, thorough for what a failure needs."""

    def __init__(self, lines: Mapping[str, Line], retention_seconds: float) -> None:
        self._lines, self._retention = lines, retention_seconds
        self.handlers: dict[str, HandlerInfo] = {}

    def know(self, handlers: Iterable[HandlerInfo]) -> None:
        """The handlers that the template has."""
        self.handlers = {str(info["name"]): info for info in handlers}

    def of(self, live: Live) -> Policy:
        """Budgets, back-off and limits of the job."""
        spec = JobSpec.model_validate_json(live.row.spec, by_alias=True, by_name=False)
        info = self.handlers.get(live.row.handler, {})
        retry = info.get("retry")
        defaults = Defaults(
            timeout_seconds=cast("float | None", info.get("timeoutSeconds")),
            max_retries=cast("int | None", info.get("maxRetries")),
            retry=Retry.model_validate_json(orjson.dumps(retry), by_alias=True) if retry else None,
        )
        return resolve(spec, defaults, self._queue(live))

    def timeout_seconds(self, live: Live, spec: Spec) -> float | None:
        """Longest run of one attempt."""
        own = spec.get("timeoutSeconds") or self.handlers.get(live.row.handler, {}).get("timeoutSeconds")
        return cast("float | None", own or self._queue(live).timeout_seconds)

    def runner(self, live: Live) -> str:
        """How the job is run: slot, process or command."""
        return str(self.handlers.get(live.row.handler, {}).get("runner", "slot")) if live.row.handler else "command"

    def expires_at(self, spec: Spec, now: float) -> float:
        """When an end now may be forgotten."""
        ttl = spec.get("ttlSecondsAfterFinished")
        return now + (self._retention if ttl is None else cast("float", ttl))

    def _queue(self, live: Live) -> QueuePolicy:
        line = self._lines.get(live.row.queue)
        return line.policy if line else QueuePolicy()


def memory_bytes(spec: Spec) -> int | None:
    """``resources.memory`` in bytes."""
    text = cast("dict[str, str]", spec.get("resources") or {}).get("memory")
    return Resources(memory=text).memory_bytes if text else None
