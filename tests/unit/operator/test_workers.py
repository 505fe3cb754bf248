"""What the operator makes of a worker that it cannot hear any more."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from longshore.job.attempts import Feed
from longshore_operator import recover
from longshore_operator.attempts_client import AttemptsClient
from longshore_operator.desk import Desk
from longshore_operator.errors import WorkerUnreachable
from longshore_operator.workers import Workers
from trusted import NO_TOKENS, TRUST

ADDRESS = "127.0.0.1:1"
NOBODY: Any = None
FIRST = Feed.model_validate({
    "version": 1, "release": "0", "worker": "w", "boot": "0badcafe", "cursor": "0badcafe:1", "entries": [],
    "slots": {"total": 1, "free": 1}, "draining": False, "handlers": [], "running": [],
}, strict=False, by_alias=True)  # fmt: skip


class Dying(AttemptsClient):
    """It answers once, refuses once, and hangs from then on."""

    def __init__(self) -> None:
        super().__init__(NO_TOKENS)
        self.polls = 0
        self.hangs = asyncio.Event()

    async def feed(self, pod: recover.Pod, cursor: str, recorded: str, wait: float) -> Feed:
        self.polls += 1
        match self.polls:
            case 1:
                return FIRST
            case 2:
                raise WorkerUnreachable(pod.address, refused=True)
            case 3:
                raise WorkerUnreachable(pod.address)
        self.hangs.set()
        return await asyncio.Future()


@pytest.mark.timeout(10)
def test_a_pod_whose_network_goes_with_it_is_lost_when_the_kubelet_says_so() -> None:
    said: list[str] = []

    def log(action: str, **fields: Any) -> None:
        if action == "worker_lost":
            said.append(fields["detail"])

    async def main() -> None:
        client = Dying()
        workers = Workers(Desk(), client, NOBODY, TRUST, now=time.time, stir=lambda: None, log=log)
        pod = recover.Pod(uid="u", name="w", namespace="here", pool="default", address=ADDRESS, ready=True, ending=False, ended="",
                          last_end="", last_end_at=0.0, queues=frozenset(), namespaces=frozenset({"here"}))  # fmt: skip
        workers.start()
        workers.pod_seen(pod)
        await client.hangs.wait()
        assert [] == said, "it may come back"
        workers.pod_seen(replace(pod, ready=False, last_end="Error", last_end_at=time.time()))
        assert ["its process is gone (Error)"] == said
        workers.pod_gone("u")

    asyncio.run(main())
