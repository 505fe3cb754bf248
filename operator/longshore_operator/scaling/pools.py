"""Every pool's Deployment: what is wanted of it, and how it gets there. Growth at once; the way down is in ``victims``.

The leader alone scales. Nothing is kept that the next leader could not read again: it begins with the replicas that are there.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Final

from prometheus_client import CollectorRegistry

from longshore.job.attempts import EndedEntry
from longshore_operator.attempts_client import AttemptsClient
from longshore_operator.contain import named, one_object
from longshore_operator.desk import Desk, Worker
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.job import Job, Json
from longshore_operator.journal import DebugLog
from longshore_operator.kube.client import KubeClient, path_of
from longshore_operator.pool_namespaces import PoolNamespaces
from longshore_operator.recover import POOL
from longshore_operator.scaling.api import APPS, PoolApi, version
from longshore_operator.scaling.decide import Demand, History, decide
from longshore_operator.scaling.demand import Coming, demands
from longshore_operator.scaling.metrics import PoolMetrics
from longshore_operator.scaling.pool import Key, handlers_kept, pool
from longshore_operator.scaling.report import hindrance, report
from longshore_operator.scaling.runtimes import RunTimes
from longshore_operator.scaling.state import State
from longshore_operator.scaling.victims import Victims, vacant

debug = DebugLog("scaling")

LOOK_SECONDS: Final = 1.0
SHARE: Final = 20  # a look that takes long is followed by a pause of so many times as long: a twentieth of a core
ADOPT_SECONDS: Final = 15.0
VERIFY_SECONDS: Final = 15.0  # after a shrink: a busy pod that goes in that time was taken by it


class Pools:
    """``clock`` is monotonic, ``now`` seconds since the epoch; the gauges go into ``registry``. Not ``on``: pools are not looked for.

    ``coming``: jobs that schedules will make.
    """

    def __init__(self, desk: Desk, client: KubeClient, workers: AttemptsClient, registry: CollectorRegistry, *, trust: PoolNamespaces, on: bool, coming: Callable[[], Iterable[Coming]] = tuple,
                 log: Callable[..., None], now: Callable[[], float] = time.time,
                 clock: Callable[[], float] = time.monotonic) -> None:  # fmt: skip
        self._desk, self._workers, self._client, self._log = desk, workers, client, log
        self._trust = trust
        self._on, self._coming, self._now, self._clock = on, coming, now, clock
        self.states: dict[str, State] = {}
        """By uid of the Deployment."""
        self.times = RunTimes()
        self._api = PoolApi(client, log)
        self._metrics = PoolMetrics(registry, self.states.values, clock)
        self._stirred = asyncio.Event()
        self._began = float("-inf")
        self._counted: set[str] = set()

    # -- edges -----------------------------------------------------------------------------------------------

    def edge(self, kind: str | None, resource: Json) -> None:
        """An event of the watch."""
        if kind == "DELETED":
            self.gone(resource)
        else:
            self.seen(resource)

    def seen(self, resource: Json) -> None:
        """A Deployment with the label is there; it is a pool in a pool namespace alone."""
        if not self._trust.follows(resource["metadata"]["namespace"]):
            return
        uid, seen = resource["metadata"]["uid"], version(resource)
        state = self.states.get(uid)
        if state is not None and seen < state.seen_version:
            return  # from before our own last write
        found = pool(resource, self._trust, state.pool.knobs if state is not None else None)
        if state is None:
            state = self.states[uid] = State(
                found,
                Victims(self._workers, self._log),
                handlers=handlers_kept(found),
                told=(found.written[0], found.written[2], found.handlers),
            )
        if found.bad and found.bad != state.pool.bad:
            self._log("pool_invalid", level="warning", pool=found.name, namespace=found.namespace, detail=found.bad)
        if found.template != state.pool.template:
            state.handlers, state.slots = None, 0
        state.pool, state.seen_version = found, seen
        self._stirred.set()

    def gone(self, resource: Json) -> None:
        """The Deployment is deleted; its pods go by themselves."""
        self.states.pop(resource["metadata"]["uid"], None)

    def leave(self, namespace: str) -> None:
        """Forget the pools of a namespace that another operator has."""
        for uid in [uid for uid, state in self.states.items() if state.pool.namespace == namespace]:
            self.states.pop(uid)

    async def sync(self, namespace: str) -> None:
        """All Deployments of a namespace, or of all with ''; raises KubeError, KubeUnavailable."""
        if not self._on:
            return
        known = {uid for uid, state in self.states.items() if namespace in ("", state.pool.namespace)}
        found: set[str] = set()
        async for page in self._client.pages(path_of("deployments", namespace, api=APPS), label_selector=POOL):
            for resource in page["items"]:
                found.add(resource["metadata"]["uid"])
                with one_object("pool", *named(resource)):
                    self.seen(resource)
        for uid in known - found:
            self.states.pop(uid)

    def stir(self) -> None:
        """Jobs may have come: a pool at zero does not wait for its time."""
        if any(not state.pool.replicas and state.pool.knobs is not None for state in self.states.values()):
            self._stirred.set()

    def ran(self, worker: Worker, job: Job, end: EndedEntry) -> None:
        """An attempt has ended by itself."""
        seconds = (end.finished_at - end.started_at).total_seconds()
        self.times.ran(job.handler, seconds)
        for state in self.states.values():
            if state.pool.key == (worker.pod.namespace, worker.pod.pool):
                state.busy.ran(self._clock(), seconds)

    # -- the leader's work -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever."""
        self._began = self._clock()
        while True:
            begun = self._clock()
            try:
                with one_object("pools", "", "all"):  # what the demand of all is made of is many people's
                    await self.look()
            except (KubeError, KubeUnavailable) as error:
                self._log("scaling_failed", level="error", detail=str(error))
            took = self._clock() - begun
            await asyncio.sleep(0.05 + took)  # what comes together is looked at together
            try:
                await asyncio.wait_for(self._stirred.wait(), max(LOOK_SECONDS, SHARE * took))
            except TimeoutError:
                pass
            self._stirred.clear()

    async def look(self) -> None:
        """One look at all pools; raises KubeError, KubeUnavailable."""
        now = self._clock()
        by_pool: dict[Key, dict[str, Worker]] = {}
        for uid, worker in self._desk.workers.items():
            by_pool.setdefault((worker.pod.namespace, worker.pod.pool), {})[uid] = worker
        states = list(self.states.values())
        # Together: a worker that does not answer holds the others up no longer than one of them would.
        await asyncio.gather(
            *(state.victims.take_back(state.victims.tidy(by_pool.get(state.pool.key, {}), now)) for state in states)
        )
        for state in states:
            with one_object("pool", state.pool.namespace, state.pool.deployment):
                await self._measure(state, by_pool.get(state.pool.key, {}), now)
        found = demands(self._desk, [state.offer() for state in states], self.times, self._now(), self._coming())
        for state in states:
            waiting = found.get(state.pool.key, Demand())
            state.demand = replace(waiting, running=state.running, used_slots=state.busy.slots(now))
        await asyncio.gather(*(self._guarded(state, by_pool.get(state.pool.key, {}), now) for state in states))

    async def _measure(self, state: State, workers: dict[str, Worker], now: float) -> None:
        if now - self._began < ADOPT_SECONDS:
            state.victims.adopt(workers, now)
        state.measure(workers, now)
        state.refused = await self._refusal(state, now)
        self._verify(state, workers, now)

    async def _guarded(self, state: State, workers: dict[str, Worker], now: float) -> None:
        with one_object("pool", state.pool.namespace, state.pool.deployment):
            await self._scale(state, workers, now)

    async def _refusal(self, state: State, now: float) -> tuple[str, str] | None:
        found = state.pool
        if found.knobs is None:
            return (
                ("Invalid", found.bad)
                if found.bad
                else ("Unmanaged", "no longshore.dev/max-workers: others say how many")
            )
        if found.ending:
            return "Deleted", "its Deployment is being deleted"
        if others := [
            one.pool.deployment for one in self.states.values() if one.pool.key == found.key and one is not state
        ]:
            return "Duplicate", f"Deployments {', '.join(sorted([*others, found.deployment]))} have the same pool name"
        if found.paused:
            return "Paused", "its Deployment is paused"
        if hpa := (await self._api.autoscalers(found.namespace, now)).get(found.deployment):
            return "Autoscaled", f"HorizontalPodAutoscaler {hpa} scales it; two would fight over the number"
        if state.slots_of_one == 0:
            return "NoSlots", "its workers have no slots"
        return None

    def _verify(self, state: State, workers: dict[str, Worker], now: float) -> None:
        """After a shrink: whether a pod is going that runs jobs. They may still finish; when its pod is gone they are lost."""
        for uid, worker in workers.items():
            if (
                worker.pod.ending
                and worker.held
                and uid not in self._counted
                and now - state.shrunk_at < VERIFY_SECONDS
            ):
                self._counted.add(uid)
                self._metrics.took_busy()
                self._log("busy_worker_removed", level="error", worker=worker.pod.name, jobs=len(worker.held))
        self._counted &= self._desk.workers.keys()

    async def _scale(self, state: State, workers: dict[str, Worker], now: float) -> None:
        if state.refused is not None:
            state.decision = state.history = None
            await state.victims.take_back([workers[uid] for uid in state.victims.draining if uid in workers])
            word, message = state.refused
            if word not in ("Unmanaged", "Deleted"):
                await self._api.tell(state, str(state.pool.replicas), word, message)
            return
        assert state.pool.knobs is not None
        history = state.history or History.begin(state.capacity.workers, now)
        decision, state.history = decide(state.pool.knobs, state.demand, state.capacity, history, now)
        if state.decision is None or (decision.workers, decision.why) != (state.decision.workers, state.decision.why):
            self._metrics.decided(decision)
        if debug:
            debug("scaling_decided", pool=state.pool.name, namespace=state.pool.namespace, workers=decision.workers,
                  wanted=decision.wanted, reason=decision.why.value, detail=decision.message, replicas=state.pool.replicas,
                  demand=asdict(state.demand), capacity=asdict(state.capacity))  # fmt: skip
        state.decision = decision
        await self._approach(state, workers, decision.workers, now)
        word = "Invalid" if state.pool.bad else "Limited" if decision.why.limited else "Active"
        message = f"{state.pool.bad}; the last good values hold" if state.pool.bad else decision.message
        limit = decision.why.value if word == "Limited" else ""
        await self._api.tell(state, str(decision.workers), word, message, limit=limit)

    async def _approach(self, state: State, workers: dict[str, Worker], wanted: int, now: float) -> None:
        """One step from what is there to what is wanted."""
        victims, here = state.victims, state.capacity.workers
        assert state.pool.knobs is not None
        if wanted > here:
            back = [workers[uid] for uid in victims.draining if uid in workers][: wanted - here]
            await victims.take_back(back)
            await self._api.resize(state, wanted + state.leaving(workers))
            return
        free_pods = vacant(workers) if wanted < here else []
        if (surplus := here - wanted - len(free_pods)) > 0:
            await victims.choose(workers, surplus, now, busy_too=here > state.pool.knobs.max_workers)
        going = victims.gone(workers)
        less = len(going) + min(len(free_pods), here - wanted)
        there = state.pool.replicas - state.pool.refused
        if not less:  # what the API server refused is not asked for any more, and no pod goes with that
            await self._api.resize(state, there)
            return
        if state.pool.rolling and less < there:  # whose pods would go is not known, unless all of them do
            return
        victims.warn(workers, shrinks=True)
        if exposed := victims.exposed(workers):
            self._log("shrink_waits", level="warning", pool=state.pool.name, detail=f"not ready, with jobs: {exposed}")
            return
        if await self._api.resize(state, there - less):
            state.shrunk_at = now
            for uid in going:
                victims.taken[uid] = victims.draining.pop(uid)

    # -- what others ask -------------------------------------------------------------------------------------

    async def report(self, namespace: str, name: str) -> Json | None:
        """What is known of a pool; None when there is none of that name."""
        state = next((one for one in self.states.values() if one.pool.key == (namespace, name)), None)
        return report(state, self._of(state)) if state is not None else None

    def hindrances(self, namespace: str, queue: str, handler: str) -> list[str]:
        """What keeps workers of the pools away that could run such a job, a sentence for each pool."""
        states = [one for one in self.states.values() if one.pool.serves(namespace, queue)]
        able = [one for one in states if one.handlers is None or handler in one.handlers]
        said = [(one.pool.name, hindrance(one, self._of(one))) for one in able or states]
        return [f"pool {name}: {text}" for name, text in sorted(said) if text]

    def _of(self, state: State) -> dict[str, Worker]:
        found = self._desk.workers.items()
        return {uid: one for uid, one in found if (one.pod.namespace, one.pod.pool) == state.pool.key}
