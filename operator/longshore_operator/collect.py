"""Removes finished jobs when their time is over.

A paged list of finished jobs at start and every ten minutes; between two of them the heap holds only what expires before the next.
A delete carries uid and resourceVersion: a job that was made anew or sent round again survives.
"""

import asyncio
import heapq
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

from longshore.job.status import TERMINAL, Phase
from longshore_operator.contain import named, one_object
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.kube.client import Json, KubeClient, path_of

SWEEP_SECONDS: Final = 600.0
AGAIN_SECONDS: Final = 2.0  # after the API server could not be asked
REFUSED_SECONDS: Final = 60.0  # after it refused a sweep: a right is missing, or a list was cut off
LOOK_SECONDS: Final = 5.0  # the clock of the wall may be set meanwhile
# Not one list for each end: the API server looks at every job for each.
ENDED: Final = ",".join(f"status.phase!={phase}" for phase in Phase if not phase.terminal)
AT_ONCE: Final = 16  # deletes that wait for an answer; the rest of the client's places belong to running jobs

log = logging.getLogger("longshore.operator.collect")


class Expiry(NamedTuple):
    """When which job is to go; ``version`` is its resourceVersion."""

    at: float
    namespace: str
    name: str
    uid: str
    version: str


def expires_at(job: Json, retention_seconds: float) -> float | None:
    """When a job is to go, in seconds since 1970; None for one that has not ended."""
    status = job.get("status") or {}
    if status.get("phase") not in TERMINAL:
        return None
    ended = datetime.fromisoformat(status.get("finishedAt") or job["metadata"]["creationTimestamp"])
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    return ended.timestamp() + float(retention_seconds if ttl is None else ttl)


class Collector:
    """Of one leader."""

    def __init__(
        self, client: KubeClient, *, namespaces: Sequence[str], retention_seconds: float,
        now: Callable[[], float] = time.time, rate_per_second: float = 50,
        finished: Callable[[Json], None] = lambda _job: None, ours: Callable[[str], bool] = lambda _namespace: True,
    ) -> None:  # fmt: skip
        """``namespaces``: those to look after, all when empty, but for those that are not ``ours``.

        ``retention_seconds``: for jobs that say nothing.

        ``finished`` is called with every ended job, as soon as that is known and again by every sweep.
        """
        self._ours = ours
        self._client, self._namespaces, self._retention = client, tuple(namespaces) or ("",), retention_seconds
        self._now, self._gap, self._finished = now, 1 / rate_per_second, finished
        self._most = int(rate_per_second * SWEEP_SECONDS)  # more cannot be deleted before the next sweep finds them
        self._heap: list[Expiry] = []
        self._known: set[str] = set()
        self._sweep_at = 0.0
        self._changed = asyncio.Event()
        self._places = asyncio.Semaphore(AT_ONCE)

    def __len__(self) -> int:
        """How many wait for their time."""
        return len(self._heap)

    def ended(self, job: Json) -> None:
        """A Job resource with its end, on record just now or found by a sweep."""
        with one_object("job", *named(job)):
            self._finished(job)
        with one_object("job", *named(job)):
            self._consider(job)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweeps())
            group.create_task(self._deletes(group))

    async def _sweeps(self) -> None:
        while True:
            self._sweep_at = self._now()
            try:
                for namespace in self._namespaces:
                    await self._sweep(namespace)
                pause = SWEEP_SECONDS
            except KubeUnavailable as error:
                log.warning("finished jobs cannot be listed: %s", error, extra={"action": "sweep_unavailable"})
                pause = max(error.retry_after, AGAIN_SECONDS)
            except KubeError as error:
                log.error("finished jobs cannot be listed: %s", error, extra={"action": "sweep_refused"})
                pause = REFUSED_SECONDS
            await asyncio.sleep(pause)

    async def _sweep(self, namespace: str) -> None:
        async for page in self._client.pages(path_of("jobs", namespace), field_selector=ENDED):
            for job in page["items"]:
                self.ended(job)

    def _consider(self, job: Json) -> None:
        """Wait for its time, unless that comes after the next sweep, which finds it again."""
        at, metadata = expires_at(job, self._retention), job["metadata"]
        if at is None or at > self._sweep_at + SWEEP_SECONDS or "deletionTimestamp" in metadata:
            return
        if metadata["uid"] in self._known or len(self._heap) >= self._most:
            return
        self._known.add(metadata["uid"])
        heapq.heappush(
            self._heap,
            Expiry(at, metadata["namespace"], metadata["name"], metadata["uid"], metadata["resourceVersion"]),
        )
        self._changed.set()

    async def _deletes(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._changed.clear()
            if not self._heap or (early := self._heap[0].at - self._now()) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(early, LOOK_SECONDS) if self._heap else None):
                        await self._changed.wait()
                continue
            await self._places.acquire()
            expiry = heapq.heappop(self._heap)
            group.create_task(self._settle(expiry))
            await asyncio.sleep(self._gap)

    async def _settle(self, expiry: Expiry) -> None:
        job = None
        try:
            with one_object("job", expiry.namespace, expiry.name):
                job = await self._patiently(lambda: self._delete(expiry))
        except KubeError as error:
            # Not again before the next sweep finds it.
            log.error("%s/%s cannot be deleted: %s", expiry.namespace, expiry.name, error,
                      extra={"action": "delete_refused", "job": expiry.name})  # fmt: skip
        finally:
            self._places.release()
            self._known.discard(expiry.uid)
        if job is not None:
            with one_object("job", expiry.namespace, expiry.name):
                self._consider(job)

    async def _patiently(self, step: Callable[[], Awaitable[Json | None]]) -> Json | None:
        while True:
            try:
                return await step()
            except KubeUnavailable as error:
                await asyncio.sleep(max(error.retry_after, AGAIN_SECONDS * random.uniform(0.5, 1)))

    async def _delete(self, expiry: Expiry) -> Json | None:
        """The job as it is now, when it was written to since; None when it is gone, or another operator's."""
        if not self._ours(expiry.namespace):
            return None
        path = path_of("jobs", expiry.namespace, expiry.name)
        preconditions = {"uid": expiry.uid, "resourceVersion": expiry.version}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions,
                   "propagationPolicy": "Background"}  # fmt: skip
        try:
            await self._client.request("DELETE", path, options, kind="delete")
        except KubeError as error:
            if error.status not in (404, 409):
                raise
            if error.status == 409:
                return await self._now_called(path)
        return None

    async def _now_called(self, path: str) -> Json | None:
        """What has the name now, this job or another: what it says decides whether it goes."""
        try:
            return await self._client.request("GET", path, kind="get")
        except KubeError as error:
            if error.status != 404:
                raise
            return None
