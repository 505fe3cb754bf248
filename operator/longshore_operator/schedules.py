"""Creates jobs by the clock: one per tick, whoever leads.

A job's name is made of the schedule's and the tick, so the API server itself refuses the second of two (409 is success). The status
is written after the creation: an operator that dies in between finds the same tick due again, and its job there.

The module is long because edges, ticks and writes share each schedule's entry; it is split when the operator is reconciled by one function.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from longshore.job import schedule_rules as rules
from longshore.job.schedule import ScheduleSpec
from longshore.job.spec import rfc3339
from longshore.job.status import TERMINAL
from longshore_operator.contain import named, one_object
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.kube.client import MERGE_PATCH, Json, KubeClient, path_of

AT_ONCE: Final = 16  # schedules in work; at the full hour many are due
AGAIN: Final = timedelta(seconds=2)  # after the API server could not be asked
REFUSED_AGAIN: Final = timedelta(seconds=30)  # after it refused the job: a quota, a right, a rule
LOOK_SECONDS: Final = 30.0  # the clock of the wall may be set meanwhile
NEVER: Final = datetime.max.replace(tzinfo=UTC)

log = logging.getLogger("longshore.operator.schedules")


@dataclass(slots=True)
class _Entry:
    """One schedule: how it was last seen or written, and what the next pass needs."""

    schedule: Json
    changed: bool = True
    look_at: datetime = NEVER
    done: datetime = field(default=datetime.min.replace(tzinfo=UTC))
    """The last tick that was decided on here: its job is there, or Forbid left it out."""
    ran: datetime | None = None
    """The last tick whose job was created here."""
    active: dict[str, str] = field(default_factory=dict)
    """Names of jobs that have not ended, by uid."""
    ended: set[str] | None = None
    """While a job is being created: uids that ended, because an end may be seen before the creation is answered."""
    tidy: bool = False
    """A job has ended: the history may have to be cut."""
    unwritten: bool = False
    """``schedule`` has a status that the API server does not have yet."""

    @property
    def name(self) -> str:
        return f"{self.schedule['metadata']['namespace']}/{self.schedule['metadata']['name']}"


class Schedules:
    """All schedules that this operator looks after. Tell it of schedules and jobs; ``run`` it while leading."""

    def __init__(self, client: KubeClient, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._client, self._now = client, now
        self._entries: dict[str, _Entry] = {}
        self._orphans: dict[str, dict[str, str]] = {}
        self._woken = asyncio.Event()
        self._places = asyncio.Semaphore(AT_ONCE)

    def __len__(self) -> int:
        """How many schedules there are."""
        return len(self._entries)

    def coming(self) -> list[tuple[float, str, Json]]:
        """When the next tick of each schedule is (seconds since the epoch), its namespace, and what its job asks for."""
        return [
            (entry.look_at.timestamp(), entry.schedule["metadata"]["namespace"], entry.schedule["spec"]["jobTemplate"]["spec"])
            for entry in self._entries.values() if entry.look_at != NEVER
        ]  # fmt: skip

    def seen(self, event_type: str | None, schedule: Json) -> None:
        """A watch event, or an object of a list (None)."""
        uid = schedule["metadata"]["uid"]
        entry = self._entries.get(uid)
        if event_type == "DELETED":
            self._entries.pop(uid, None)
            self._orphans.pop(uid, None)
        elif entry is None:
            # What the last leader knew counts until a list says otherwise: the watch of jobs may not be that far yet.
            noted = {job["uid"]: job["name"] for job in (schedule.get("status") or {}).get("active") or ()}
            self._entries[uid] = _Entry(schedule, active=noted | self._orphans.pop(uid, {}), tidy=bool(noted))
            self._woken.set()
        elif _version(schedule) > _version(entry.schedule):  # else an echo of what was written here, or older
            entry.schedule, entry.changed = schedule, True
            self._woken.set()

    async def come_back(self, namespace: str) -> None:
        """Read all schedules of a namespace that is ours again; if that fails, the watch lists them within minutes."""
        try:
            async for page in self._client.pages(path_of("schedules", namespace)):
                for schedule in page["items"]:
                    self.seen(None, schedule)
        except (KubeError, KubeUnavailable) as error:
            log.warning("schedules of %s cannot be listed: %s", namespace, error, extra={"action": "list_failed"})

    def leave(self, namespace: str) -> None:
        """Forget the schedules of a namespace that another operator has."""
        for uid, entry in list(self._entries.items()):
            if entry.schedule["metadata"]["namespace"] == namespace:
                del self._entries[uid]

    def job_seen(self, job: Json) -> None:
        """A job is there; those of no schedule are passed over."""
        if rules.phase_of(job) in TERMINAL:
            self.job_gone(job)
        elif owner := rules.owner_of(job):
            entry = self._entries.get(owner)
            active = entry.active if entry is not None else self._orphans.setdefault(owner, {})
            active[job["metadata"]["uid"]] = job["metadata"]["name"]

    def job_gone(self, job: Json) -> None:
        """A job has ended, left the watch or was deleted."""
        owner, uid = rules.owner_of(job), job["metadata"]["uid"]
        if (entry := self._entries.get(owner)) is not None:
            known = entry.active.pop(uid, None) is not None
            if entry.ended is not None:
                entry.ended.add(uid)
            if known or entry.ended is not None:
                entry.changed = entry.tidy = True
                self._woken.set()
        elif owner in self._orphans:
            self._orphans[owner].pop(uid, None)
            if not self._orphans[owner]:
                del self._orphans[owner]

    async def run(self) -> None:
        """Until cancelled. Begin when schedules and jobs are known: Forbid relies on it."""
        while True:
            self._woken.clear()
            await self.turn()
            first = min((entry.look_at for entry in self._entries.values()), default=NEVER)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(max((first - self._now()).total_seconds(), 0), LOOK_SECONDS)):
                    await self._woken.wait()

    async def turn(self) -> None:
        """Do what is due at this moment."""
        now = self._now()
        work = [entry for entry in self._entries.values() if entry.changed or entry.look_at <= now]
        await asyncio.gather(*(self._guarded(entry) for entry in work))

    async def _guarded(self, entry: _Entry) -> None:
        async with self._places:
            broken: list[str] = []
            try:
                entry.changed = False
                with one_object("schedule", *named(entry.schedule), refuse=broken.append):
                    await self._pass(entry)
                if broken:
                    entry.look_at = self._now() + REFUSED_AGAIN
                    with one_object("schedule", *named(entry.schedule)):
                        problem = rules.Problem(rules.INVALID, broken[0])
                        await self._write(entry, rules.condition(entry.schedule, None, problem, None, self._now()))
            except KubeUnavailable as error:
                entry.look_at = self._now() + max(timedelta(seconds=error.retry_after), AGAIN)
                log.warning("%s waits: %s", entry.name, error, extra={"action": "schedule_unavailable"})
            except KubeError as error:
                entry.look_at = self._now() + REFUSED_AGAIN
                log.error("%s is refused: %s", entry.name, error, extra={"action": "schedule_failed"})

    async def _pass(self, entry: _Entry) -> None:
        now, entry.look_at, schedule = self._now(), NEVER, entry.schedule
        parsed = rules.parse(schedule)
        if isinstance(parsed, rules.Problem):
            await self._write(entry, rules.condition(schedule, None, parsed, None, now))
            return
        success = await self._tidied(entry, parsed)
        decision, problem = rules.due(parsed, max(rules.settled(schedule, parsed, now), entry.done), now), None
        entry.look_at = decision.next or NEVER
        if decision.run is not None:
            try:
                await self._fire(entry, parsed, decision.run)
            except KubeError as error:
                problem = rules.Problem(rules.REFUSED, f"no job for {rfc3339(decision.run)}: {error}")
                entry.look_at = min(entry.look_at, now + REFUSED_AGAIN)
        await self._write(entry, rules.condition(schedule, parsed, problem, decision, now), success)

    async def _fire(self, entry: _Entry, spec: ScheduleSpec, tick: datetime) -> None:
        """Create the job of a tick, or leave it out."""
        job = rules.job_of(entry.schedule, tick)
        name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
        if await self._skipped(entry, spec, name, tick):
            entry.done = tick
            log.info("%s leaves %s out", entry.name, tick, extra={"action": "tick_left_out"})
            return
        for uid in rules.replaced(spec, _others(entry, name)):
            await self._cancel(namespace, entry.active[uid], uid)
        entry.ended = set()
        try:
            made = await self._client.request("POST", path_of("jobs", namespace), job, kind="create")
            if made["metadata"]["uid"] not in entry.ended:
                entry.active[made["metadata"]["uid"]] = name
        except KubeError as error:
            if error.reason != "AlreadyExists":
                raise
            # The same tick, by another leader or an earlier life; how its job stands comes with the watch.
        finally:
            entry.ended = None
        entry.done = entry.ran = tick
        log.info("%s created %s", entry.name, name, extra={"action": "tick_ran", "job": name})

    async def _skipped(self, entry: _Entry, spec: ScheduleSpec, name: str, tick: datetime) -> bool:
        now = self._now()
        if not rules.must_look(spec, _others(entry, name), tick, now):
            return False
        jobs = await self._jobs(entry)  # a job whose end the watch has missed must not stop the schedule for good
        return rules.skips(spec, _others(entry, name), jobs, tick, now)

    async def _cancel(self, namespace: str, name: str, uid: str) -> None:
        path, body = path_of("jobs", namespace, name), {"metadata": {"uid": uid}, "spec": {"cancel": True}}
        try:
            await self._client.request("PATCH", path, body, kind="cancel", content_type=MERGE_PATCH)
        except KubeError as error:
            if error.status not in (404, 409):  # gone, or another job by now
                raise

    async def _tidied(self, entry: _Entry, spec: ScheduleSpec) -> datetime | None:
        """The last success; None when nothing has changed. Ended jobs beyond the limits are deleted."""
        status, metadata = entry.schedule.get("status") or {}, entry.schedule["metadata"]
        gone = {job["uid"] for job in status.get("active") or ()} - set(entry.active)
        same_limits = rules.condition_of(entry.schedule).get("observedGeneration") == metadata.get("generation", 0)
        if same_limits and not gone and not entry.tidy:
            return None
        try:
            jobs = await self._jobs(entry)
            for job in rules.surplus(spec, jobs):
                await self._delete(job)
        except KubeError as error:
            # Old jobs are no reason to leave out a new one.
            log.error("%s keeps old jobs: %s", entry.name, error, extra={"action": "history_refused"})
            return None
        entry.tidy = False
        return rules.last_success(jobs)

    async def _delete(self, job: Json) -> None:
        metadata = job["metadata"]
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": metadata["uid"]},
                   "propagationPolicy": "Background"}  # fmt: skip
        path = path_of("jobs", metadata["namespace"], metadata["name"])
        try:
            await self._client.request("DELETE", path, options, kind="delete")
        except KubeError as error:
            if error.status not in (404, 409):
                raise

    async def _jobs(self, entry: _Entry) -> Sequence[Json]:
        """Its jobs, ended or not; those that ended unseen are no longer active."""
        metadata, before = entry.schedule["metadata"], set(entry.active)
        path, selector = path_of("jobs", metadata["namespace"]), f"{rules.LABEL}={rules.label_of(metadata['name'])}"
        pages = self._client.pages(path, label_selector=selector)
        jobs = [job async for page in pages for job in page["items"] if rules.owner_of(job) == metadata["uid"]]
        for uid in before - {job["metadata"]["uid"] for job in jobs if rules.phase_of(job) not in TERMINAL}:
            entry.active.pop(uid, None)
        return jobs

    async def _write(self, entry: _Entry, ready: Json, success: datetime | None = None) -> None:
        """The status, when it says something new."""
        schedule = entry.schedule
        old = schedule.get("status") or {}
        new = rules.status_of(old, ready, entry.active, entry.ran, success)
        if new == old and not entry.unwritten:
            return
        # Kept here at once: should the write fail, the next pass goes on from it and writes it again.
        entry.schedule, entry.unwritten = schedule | {"status": new}, True
        metadata = schedule["metadata"]
        path = path_of("schedules", metadata["namespace"], metadata["name"])
        body = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "status": new | {"active": new.get("active")},  # None takes it away
        }
        try:
            entry.schedule = await self._client.request(
                "PATCH", f"{path}/status", body, kind="schedule_status", content_type=MERGE_PATCH
            )
        except KubeError as error:
            if error.status not in (404, 409):
                raise
            await self._read_again(entry, path)
        entry.unwritten = False

    async def _read_again(self, entry: _Entry, path: str) -> None:
        """Somebody else wrote, or it is gone and nobody told us."""
        uid = entry.schedule["metadata"]["uid"]
        try:
            found = await self._client.request("GET", path, kind="get")
        except KubeError as error:
            if error.status != 404:
                raise
            found = None
        if found is None or found["metadata"]["uid"] != uid:
            self._entries.pop(uid, None)
        else:
            entry.schedule, entry.changed = found, True
            self._woken.set()


def _others(entry: _Entry, name: str) -> list[str]:
    """Uids of its active jobs, but for the one of this name."""
    return [uid for uid, other in entry.active.items() if other != name]


def _version(schedule: Json) -> int:
    # Kubernetes 1.35 and later promise that these are numbers that rise; in all before they were.
    return int(schedule["metadata"]["resourceVersion"])
