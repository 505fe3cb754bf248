"""Queue resources: policies in, how each line stands out."""

import asyncio
from collections.abc import Callable

import orjson
from pydantic import ValidationError

from longshore.job.limits import QueuePolicy
from longshore_operator.desk import Desk, LineKey
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.job import Json
from longshore_operator.kube.client import MERGE_PATCH, KubeClient, path_of

WRITE_SECONDS = 5.0  # a queue's status is written so often at most, and only when it changed


class Queues:
    """Policies of the desk's lines, from the resources of the same name."""

    def __init__(self, desk: Desk, client: KubeClient, *, now: Callable[[], float], stir: Callable[[], None],
                 log: Callable[..., None]) -> None:  # fmt: skip
        self._desk, self._client, self._now, self._stir, self._log = desk, client, now, stir, log
        self._written: dict[LineKey, Json | None] = {}
        self.leading = False

    def seen(self, resource: Json) -> None:
        """A Queue that is there."""
        key = _key(resource)
        try:
            policy = QueuePolicy.model_validate_json(orjson.dumps(resource.get("spec") or {}), by_alias=True)
        except ValidationError as error:
            self._log("queue_unreadable", level="error", queue=key[1], detail=str(error).splitlines()[0])
            return
        self._written.setdefault(key, None)
        self._desk.set_policy(key, policy, self._now())
        self._stir()

    def gone(self, resource: Json) -> None:
        """No such resource any more: its jobs have the default policy."""
        self._gone(_key(resource))

    def _gone(self, key: LineKey) -> None:
        self._written.pop(key, None)
        self._desk.set_policy(key, QueuePolicy(), self._now())
        self._stir()

    async def sync(self, namespace: str) -> None:
        """All Queues of a namespace, or of all with ''; raises KubeError, KubeUnavailable."""
        known = {key for key in self._written if namespace in ("", key[0])}
        found: set[LineKey] = set()
        async for page in self._client.pages(path_of("queues", namespace)):
            for resource in page["items"]:
                found.add(_key(resource))
                self.seen(resource)
        for key in known - found:
            self._gone(key)

    def status(self, key: LineKey) -> Json:
        """Depth, running, age of the oldest; whole seconds, so that a line that stands still is written seldom."""
        line, now = self._desk.line(key, self._now()), self._now()
        oldest = line.oldest(now)
        status: Json = {"depth": line.depth(now), "running": line.running}
        return status | ({"oldestAgeSeconds": float(max(0, int(now - oldest)))} if oldest is not None else {})

    async def write(self) -> None:
        """For ever: write the statuses that changed."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            if not self.leading:
                continue
            for key, written in list(self._written.items()):
                status = self.status(key)
                if status != written:
                    await self._write(key, status)

    async def _write(self, key: LineKey, status: Json) -> None:
        body = {"status": {"oldestAgeSeconds": None} | status}
        try:
            path = path_of("queues", *key, "status")
            await self._client.request("PATCH", path, body, kind="queue", content_type=MERGE_PATCH)
        except (KubeError, KubeUnavailable) as error:
            self._log("queue_status_unwritten", level="warning", queue=key[1], detail=str(error))
        else:
            if key in self._written:
                self._written[key] = status


def _key(resource: Json) -> LineKey:
    return resource["metadata"]["namespace"], resource["metadata"]["name"]
