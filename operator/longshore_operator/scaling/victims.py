"""The way out of a pool: idle workers are drained, seen not ready, and only then is the number of replicas lowered.

A ReplicaSet removes pods that are not ready before those that are, so it takes the drained ones. A worker that cannot be
asked is not removed; one that is wanted again before its pod goes is undrained.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from longshore_operator.attempts_client import AttemptsClient
from longshore_operator.desk import Worker
from longshore_operator.errors import WorkerUnreachable

FORGET_SECONDS = 3.0  # a worker that was drained and says after so long that it is not was started again
TAKEN_SECONDS = 15.0  # a ReplicaSet has taken its pods long before; what is still there was not its choice


@dataclass(slots=True)
class Victims:
    """Of one pool, by uid of the pod. Times are monotonic."""

    client: AttemptsClient
    log: Callable[..., None]
    draining: dict[str, float] = field(default_factory=dict)
    """Those that were drained, and when; replicas still count them."""
    taken: dict[str, float] = field(default_factory=dict)
    """Those that replicas do not count any more, and since when."""
    unsure: set[str] = field(default_factory=set)
    """Those that were told to drain and then not to, and answered neither: they may have heard both, in any order."""

    def tidy(self, workers: dict[str, Worker], now: float) -> list[Worker]:
        """Forget those that are gone. Returns those to take back: what a ReplicaSet was to take and did not, and the unsure
        ones that can be asked again.
        """
        for uid, since in list(self.draining.items()):
            worker = workers.get(uid)
            if worker is None or worker.pod.ending or (not worker.draining and now - since > FORGET_SECONDS):
                del self.draining[uid]
        left = []
        for uid, since in list(self.taken.items()):
            worker = workers.get(uid)
            if worker is None or worker.pod.ending:
                del self.taken[uid]
            elif now - since > TAKEN_SECONDS:
                left.append(worker)
        self.unsure &= workers.keys()
        return left + [workers[uid] for uid in self.unsure if workers[uid].boot and not workers[uid].refusals]

    def adopt(self, workers: dict[str, Worker], now: float) -> None:
        """A new leader: somebody was draining these before."""
        for uid, worker in workers.items():
            if worker.boot and worker.draining and not worker.pod.ending and uid not in self.taken:
                self.draining.setdefault(uid, now)

    async def choose(self, workers: dict[str, Worker], count: int, now: float, *, busy_too: bool) -> None:
        """Drain as many idle workers; ``busy_too``: then those with the fewest jobs, which are let finish."""
        able = [
            worker for uid, worker in workers.items()
            if worker.boot and worker.pod.ready and not worker.leaving and not worker.refusals
            and uid not in self.draining and uid not in self.unsure and (busy_too or not worker.held)
        ]  # fmt: skip
        able.sort(key=lambda worker: (len(worker.held), worker.pod.name))
        await asyncio.gather(*(self._drain(worker, now) for worker in able[:count]))

    async def _drain(self, worker: Worker, now: float) -> None:
        worker.draining = True  # from this moment nothing is offered to it
        try:
            await self.client.drain(worker.pod, on=True)
        except WorkerUnreachable as error:
            worker.draining = False
            self.log("drain_unanswered", level="warning", worker=worker.pod.name, detail=str(error))
            self.unsure.add(worker.pod.uid)
            await self._undrain(worker)
        else:
            self.draining[worker.pod.uid] = now
            self.log("worker_draining", worker=worker.pod.name)

    async def take_back(self, workers: Iterable[Worker]) -> None:
        """Let these run jobs again; one that does not answer stays among the victims."""
        await asyncio.gather(*(self._undrain(worker) for worker in workers))

    async def _undrain(self, worker: Worker) -> None:
        try:
            await self.client.drain(worker.pod, on=False)
        except WorkerUnreachable as error:
            self.log("undrain_unanswered", level="warning", worker=worker.pod.name, detail=str(error))
        else:
            worker.draining = False
            self.draining.pop(worker.pod.uid, None)
            self.taken.pop(worker.pod.uid, None)
            self.unsure.discard(worker.pod.uid)
            self.log("worker_undrained", worker=worker.pod.name)

    def gone(self, workers: dict[str, Worker]) -> list[str]:
        """Those that may go now: drained, empty, and seen not ready."""
        return [uid for uid in self.draining if _empty(workers.get(uid))]

    def warn(self, workers: dict[str, Worker], *, shrinks: bool = False) -> None:
        """Let nothing be offered to workers that are not ready yet while a ReplicaSet chooses, which may take them."""
        for worker in workers.values():
            worker.at_risk = shrinks or bool(self.taken)

    def exposed(self, workers: dict[str, Worker]) -> list[str]:
        """Names of workers that a ReplicaSet could take although they run jobs: not ready either. None may go before them."""
        return [worker.pod.name for worker in workers.values()
                if worker.held and not worker.pod.ready and not worker.pod.ending]  # fmt: skip


def _empty(worker: Worker | None) -> bool:
    return worker is not None and worker.draining and not worker.pod.ready and not worker.held


def vacant(workers: dict[str, Worker]) -> list[str]:
    """Pods where no job can run: a ReplicaSet takes those without a node, then those whose containers do not run, then
    the others that are not ready, before any that is ready.
    """
    return [uid for uid, worker in workers.items() if worker.vacant]
