"""Queue resources: policies in, how each line stands out."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from longshore.job.limits import QueuePolicy
from longshore.job.spec import rfc3339_at
from longshore_operator.contain import one_object
from longshore_operator.desk import Desk, LineKey
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.job import Json, refusal
from longshore_operator.kube.client import MERGE_PATCH, KubeClient, path_of

LOOK_SECONDS = 1.0
WRITE_SECONDS = 5.0  # one queue's status is written so often at most, and only when it changed
OLDER = 1.25  # what only grows older is written when its age has grown by so much: ever more seldom


@dataclass(slots=True)
class _Known:
    """A Queue resource and what its status says."""

    generation: int
    refusal: str
    """Why its specification cannot be used; empty when it is in force."""
    status: Json
    """As it was written last."""
    written_at: float = -WRITE_SECONDS
    """Monotonic time."""


class Queues:
    """Policies of the desk's lines, from the resources of the same name."""

    def __init__(self, desk: Desk, client: KubeClient, *, now: Callable[[], float], stir: Callable[[], None],
                 log: Callable[..., None]) -> None:  # fmt: skip
        self._desk, self._client, self._now, self._stir, self._log = desk, client, now, stir, log
        self._known: dict[LineKey, _Known] = {}
        self.leading = False

    def seen(self, resource: Json) -> None:
        """A Queue that is there; one that cannot be read leaves the policy as it was."""
        key = _key(resource)
        with one_object("queue", *key, refuse=lambda why: self._refused(key, why)):
            self._seen(key, resource)

    def _refused(self, key: LineKey, why: str) -> None:
        if (known := self._known.get(key)) is not None:
            known.refusal = why

    def _seen(self, key: LineKey, resource: Json) -> None:
        generation = int(resource["metadata"].get("generation", 0))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(0, "", resource.get("status") or {})
        if known.generation == generation:
            return  # our own status, or somebody's label
        known.generation = generation
        try:
            policy = QueuePolicy.model_validate_json(orjson.dumps(resource.get("spec") or {}), by_alias=True)
        except ValidationError as error:
            known.refusal = refusal(error)
            self._log("queue_unreadable", level="error", queue=key[1], detail=known.refusal)
            return
        known.refusal = ""
        self._desk.set_policy(key, policy, self._now())
        self._stir()

    def gone(self, resource: Json) -> None:
        """No such resource any more: its jobs have the default policy."""
        self._gone(_key(resource))

    def _gone(self, key: LineKey) -> None:
        self._known.pop(key, None)
        self._desk.set_policy(key, QueuePolicy(), self._now())
        self._stir()

    def leave(self, namespace: str) -> None:
        """Forget the queues of a namespace that another operator has."""
        for key in [key for key in self._known if key[0] == namespace]:
            self._gone(key)
        self._desk.tidy()

    async def sync(self, namespace: str) -> None:
        """All Queues of a namespace, or of all with ''; raises KubeError, KubeUnavailable."""
        known = {key for key in self._known if namespace in ("", key[0])}
        found: set[LineKey] = set()
        async for page in self._client.pages(path_of("queues", namespace)):
            for resource in page["items"]:
                found.add(_key(resource))
                self.seen(resource)
        for key in known - found:
            self._gone(key)

    async def write(self) -> None:
        """For ever: write the statuses that changed."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self.leading:
                continue
            clock = time.monotonic()
            for key, known in list(self._known.items()):
                with one_object("queue", *key):
                    await self._write_due(key, known, clock)

    async def _write_due(self, key: LineKey, known: _Known, clock: float) -> None:
        status = self._status(key, known)
        told = status["conditions"] == known.status.get("conditions")  # people wait for this, so it goes at once
        due = not told or clock - known.written_at >= WRITE_SECONDS
        if due and _differs(status, known.status):
            await self._write(key, known, status)

    def _status(self, key: LineKey, known: _Known) -> Json:
        now = self._now()
        line = self._desk.line(key, now)
        depth, oldest = self._desk.waits(key, now)
        status: Json = {"depth": depth, "running": line.running}
        if oldest is not None:
            status["oldestAgeSeconds"] = float(max(0, int(now - oldest)))
        return status | {"conditions": [_ready(known, now)]}

    async def _write(self, key: LineKey, known: _Known, status: Json) -> None:
        body = {"status": {"oldestAgeSeconds": None} | status}
        known.written_at = time.monotonic()
        try:
            path = path_of("queues", *key, "status")
            await self._client.request("PATCH", path, body, kind="queue", content_type=MERGE_PATCH)
        except (KubeError, KubeUnavailable) as error:
            self._log("queue_status_unwritten", level="warning", queue=key[1], detail=str(error))
        else:
            known.status = status


def _ready(known: _Known, now: float) -> Json:
    """Whether the policy is in force, and of which generation that is said."""
    ready = "False" if known.refusal else "True"
    before: Json = next(iter(known.status.get("conditions") or ()), {})
    since = before.get("lastTransitionTime") if before.get("status") == ready else None
    return {
        "type": "Ready", "status": ready, "observedGeneration": known.generation, "message": known.refusal,
        "reason": "Invalid" if known.refusal else "InForce", "lastTransitionTime": since or rfc3339_at(now),
    }  # fmt: skip


def _differs(status: Json, written: Json) -> bool:
    """Whether it is worth a write: anything but an age that has hardly grown."""
    age, before = status.get("oldestAgeSeconds"), written.get("oldestAgeSeconds")
    if age is not None and before is not None and before <= age < before * OLDER + WRITE_SECONDS:
        status = status | {"oldestAgeSeconds": before}
    return status != written


def _key(resource: Json) -> LineKey:
    return resource["metadata"]["namespace"], resource["metadata"]["name"]
