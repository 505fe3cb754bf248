"""``python -m bench.scaler``: processor time of one look of the scaler, with workers and jobs that are made up.

Everything of ``Pools.look`` but its requests to the API server, of which a look makes none unless a number changes.
"""

import asyncio
import statistics
import time
from typing import Any

from prometheus_client import CollectorRegistry

from longshore_operator.attempts_client import AttemptsClient
from longshore_operator.desk import Desk, Worker
from longshore_operator.job import Attempt, Job
from longshore_operator.kube.client import KubeClient
from longshore_operator.pool_namespaces import PoolNamespaces
from longshore_operator.recover import Pod
from longshore_operator.scaling.pools import Pools

WORKERS, SLOTS, LOOKS = 1000, 4, 20
WAITING = (0, 10_000, 100_000)
HANDLERS = ("resize", "render", "report", "mail", "sync")
CREATED = "2027-01-01T00:00:00Z"
DEPLOYMENT = {
    "metadata": {"namespace": "here", "name": "pool", "uid": "pool", "labels": {"longshore.dev/pool": "pool"}, "resourceVersion": "1",
                 "annotations": {"longshore.dev/max-workers": str(WORKERS)}},
    "spec": {"replicas": WORKERS, "template": {"metadata": {}, "spec": {"containers": []}}},
}  # fmt: skip


class Silent:
    """In the place of what asks the API server: nobody else scales, and nothing is told."""

    async def autoscalers(self, *_: object) -> dict[str, str]:
        """None."""
        return {}

    async def tell(self, *_: object) -> None:
        """Nothing."""

    async def resize(self, *_: object) -> bool:
        """Never: the desk is to stay as it is."""
        return False


def job(number: int) -> Job:
    """One of a few handlers."""
    return Job({
        "metadata": {"namespace": "here", "name": f"job-{number}", "uid": f"uid-{number}", "creationTimestamp": CREATED},
        "spec": {"handler": HANDLERS[number % len(HANDLERS)], "args": {"number": number}},
    })  # fmt: skip


def workers(desk: Desk) -> None:
    """All of them run as many jobs as they can."""
    now = time.time()
    for number in range(WORKERS):
        uid = f"pod-{number}"
        pod = Pod(uid=uid, name=uid, namespace="here", pool="pool", address="10.0.0.1:8081", ready=True, ending=False, ended="",
                  last_end="", last_end_at=0.0, queues=frozenset(), namespaces=frozenset({"here"}))  # fmt: skip
        worker = desk.workers[uid] = Worker(pod, boot="boot", slots=SLOTS, handlers=frozenset(HANDLERS))
        for slot in range(SLOTS):
            one = job(-1 - number * SLOTS - slot)
            worker.held[one.uid, None, 1] = (one, Attempt(1, None, now))


async def looks(desk: Desk, ran: float) -> list[float]:
    """Milliseconds of processor time of each."""
    nobody: Any = None
    client: KubeClient = nobody
    asked: AttemptsClient = nobody
    pools = Pools(
        desk,
        client,
        asked,
        CollectorRegistry(),
        trust=PoolNamespaces({"here": frozenset()}),
        on=True,
        log=lambda *_, **__: None,
    )
    pools._api = Silent()  # type: ignore[assignment]
    pools.seen(DEPLOYMENT)
    for handler in HANDLERS:
        pools.times.ran(handler, ran)
    took = []
    for _ in range(LOOKS):
        began = time.process_time()
        await pools.look()
        took.append((time.process_time() - began) * 1000)
    (state,) = pools.states.values()
    assert state.decision is not None
    assert state.demand.running == WORKERS * SLOTS
    return took


def main() -> None:
    """Each number of waiting jobs."""
    desk, there = Desk(), 0
    workers(desk)
    print(f"A look at {WORKERS:,} workers of {SLOTS} slots, all busy: processor time, median (range) of {LOOKS}")
    for waiting in WAITING:
        for number in range(there, waiting):
            one = job(number)
            desk.add(one)
            desk.queue(one, time.time())
        there = waiting
        took = asyncio.run(looks(desk, 2.0))
        assert waiting == sum(len(line) for line in desk.lines.values())
        print(
            f"  {waiting:>9,} waiting jobs {statistics.median(took):8.1f} ms   ({min(took):.1f} – {max(took):.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
