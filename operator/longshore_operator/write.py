"""Brings decided statuses to the API server: one write at a time for each job, the latest decision, retried for ever."""

import asyncio
import random
from collections.abc import Callable

from longshore.job.status import Phase
from longshore_operator.contain import one_object
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.job import Job, Json
from longshore_operator.journal import DebugLog
from longshore_operator.kube.client import JSON_PATCH, KubeClient, path_of
from longshore_operator.kube.patches import status_patch
from longshore_operator.tasks import spawn

debug = DebugLog("write")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0

Saved = tuple[Phase, int, int]


class Writer:
    """``changed`` is cheap; what is decided while a write is on its way goes with the next one."""

    def __init__(self, client: KubeClient, *, overtaken: Callable[[Job, Json | None], None],
                 log: Callable[..., None]) -> None:  # fmt: skip
        self._client, self._overtaken, self._log = client, overtaken, log
        # By the job as an object: one that was overtaken comes back as another, of the same uid.
        self._writing: dict[Job, asyncio.Task[None]] = {}
        self._waiting: dict[Job, list[tuple[int, asyncio.Future[None]]]] = {}
        self._tried: dict[Job, set[Saved]] = {}

    def __len__(self) -> int:
        return len(self._writing)

    def changed(self, job: Job) -> asyncio.Future[None]:
        """Write the job's status; the future is done when it, or a later one, is on record or can never be."""
        job.version += 1
        done = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job, []).append((job.version, done))
        if job not in self._writing:
            self._writing[job] = spawn(self._write(job))
        return done

    async def idle(self) -> None:
        """Until nothing is on its way."""
        while self._writing:
            await asyncio.wait(self._writing.values())

    async def _write(self, job: Job) -> None:
        written = 0
        while written < job.version:
            version = job.version
            await self._safely(job)
            written = version
            self._tell(job, written)
        del self._writing[job]
        self._tried.pop(job, None)

    async def _safely(self, job: Job) -> None:
        """A status that cannot even be made is tried once more without its free parts; those who wait for it are told anyway."""
        for _ in range(2):
            written = False
            with one_object("job", job.namespace, job.name):
                await self._once(job)
                written = True
            if written:
                return
            job.result, job.history, job.log_tail, job.error = None, [], "", None

    def _tell(self, job: Job, version: int) -> None:
        waiting = self._waiting.pop(job, [])
        for wanted, done in waiting:
            if wanted <= version and not done.done():
                done.set_result(None)
        if rest := [(wanted, done) for wanted, done in waiting if wanted > version]:
            self._waiting[job] = rest

    async def _once(self, job: Job) -> None:
        path = path_of("jobs", job.namespace, job.name, "status")
        pause = FIRST_PAUSE_SECONDS
        while True:
            phase, attempts, redrives = job.saved
            status = job.status()
            # A job can be faster than the word of its redrive, and the API server lets Failed become Pending alone.
            first = phase is Phase.FAILED and redrives < job.redrives and job.phase is not Phase.PENDING
            if first:
                status = _reopened(status, attempts)
            target: Saved = (Phase(status["phase"]), status["attempts"], job.redrives)
            self._tried.setdefault(job, set()).add(target)
            try:
                found = await self._client.request(
                    "PATCH", path, status_patch(job.uid, (phase.value, attempts, redrives), status),
                    kind="status", content_type=JSON_PATCH,
                )  # fmt: skip
                job.saved, job.seen = target, max(job.seen, int(found["metadata"]["resourceVersion"]))
                if debug:
                    debug("status_written", job=job.name, namespace=job.namespace, phase=target[0].value,
                          attempts=target[1], version=job.seen)  # fmt: skip
                if not first:
                    return
            except KubeUnavailable as error:
                self._log("write_delayed", level="warning", job=job.name, namespace=job.namespace, detail=str(error))
                await asyncio.sleep(max(error.retry_after, pause * random.uniform(0.5, 1.0)))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except KubeError as error:
                if not await self._settle(job, target, error):
                    return

    async def _settle(self, job: Job, target: Saved, error: KubeError) -> bool:
        """The API server refused; True when it is worth writing again from what it has now."""
        if debug:
            debug("status_not_written", job=job.name, namespace=job.namespace, phase=target[0].value,
                  status=error.status, detail=error.message)  # fmt: skip
        if error.status == 404:
            self._overtaken(job, None)
            return False
        if error.status == 403:
            self._log("write_forbidden", level="error", detail=error.message)
            await asyncio.sleep(LONGEST_PAUSE_SECONDS)
            return True
        found = await self._read(job)
        if found is None or found["metadata"]["uid"] != job.uid:
            self._overtaken(job, None)
            return False
        status = found.get("status") or {}
        there: Saved = (Phase(status.get("phase", "Pending")), status.get("attempts", 0), status.get("redrives", 0))
        if there == target:  # our own write, whose answer got lost
            job.saved = target
            return target[0] is not job.phase
        if there == job.saved:
            # Not a race: the status itself is refused. Without its free parts it is taken, or nothing ever is.
            self._log("status_refused", level="error", job=job.name, namespace=job.namespace, detail=error.message)
            if job.result is None and not job.history:
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)
            job.result, job.history, job.log_tail, job.error = None, [], "", None
            return True
        if there not in self._tried[job]:
            self._overtaken(job, found)  # somebody else has written: the first record stands
            return False
        job.saved = there  # an earlier write of ours, whose answer got lost
        return True

    async def _read(self, job: Job) -> Json | None:
        while True:
            try:
                return await self._client.request("GET", path_of("jobs", job.namespace, job.name))
            except KubeUnavailable:
                await asyncio.sleep(FIRST_PAUSE_SECONDS)
            except KubeError as error:
                if error.status == 404:
                    return None
                self._log("read_refused", level="error", job=job.name, namespace=job.namespace, detail=error.message)
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)


def _reopened(status: Json, attempts: int) -> Json:
    """The same job when it was sent round again, after so many attempts: what came of the next ones is left out."""
    before = {
        "phase": Phase.PENDING.value,
        "attempts": attempts,
        "redrives": status["redrives"],
        "retries": 0,
        "disruptions": 0,
    }
    history = [entry for entry in status.get("history", ()) if entry["number"] <= attempts]
    return before | {name: value for name, value in (("history", history), ("items", status.get("items"))) if value}
