"""A redriven job looks at what comes before it; edges of several jobs come in any order."""

import asyncio
from typing import Any

import pytest

from longshore_operator.dependencies import Dependencies
from longshore_operator.desk import Desk
from longshore_operator.job import Job, Json
from longshore_operator.kube.client import KubeClient
from longshore_operator.kube.config import KubeConfig

FAILED = {"phase": "Failed", "reason": "HandlerError", "finishedAt": "2027-01-01T00:00:01Z"}


class Record:
    """Remembers what ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def end(self, job: Job, *_how: Any) -> None:
        self.ends.append(job.name)


class Server(KubeClient):
    """Has one job; remembers how often it was asked."""

    def __init__(self, job: Json) -> None:
        super().__init__(KubeConfig(server=""))
        self.job, self.asked = job, 0

    async def request(self, *_: Any, **__: Any) -> Json:
        self.asked += 1
        return self.job


def resource(name: str, status: Json, **spec: object) -> Json:
    meta = {"namespace": "here", "name": name, "uid": name, "creationTimestamp": "2027-01-01T00:00:00Z"}
    return {"metadata": meta, "spec": {"handler": "echo", **spec}, "status": status}


@pytest.mark.parametrize(
    ("redrives", "truth", "ends", "asked"),
    [
        (1, resource("input", FAILED, redrive=1), [], 1),
        (1, resource("input", FAILED | {"phase": "Pending", "redrives": 1}, redrive=1), [], 1),
        (1, resource("input", FAILED), ["reduce"], 1),
        (0, resource("input", FAILED), ["reduce"], 0),
    ],
    ids=["its redrive is on its way", "it was redriven meanwhile", "it failed", "nobody redrove anything"],
)
def test_a_redriven_job_fails_only_for_what_has_failed_on_the_api_server(
    redrives: int, truth: Json, ends: list[str], asked: int
) -> None:
    desk, record, server = Desk(), Record(), Server(truth)
    known = Job(resource("input", FAILED))
    job = Job(resource("reduce", {"phase": "Pending", "redrives": redrives}, after=["input"], redrive=redrives))
    desk.add(known)
    desk.add(job)
    dependencies = Dependencies(
        desk, server, record, now=lambda: 0.0, ready=lambda _: None, log=lambda *_, **__: None,  # type: ignore[arg-type]  # one of its methods
    )  # fmt: skip

    async def look() -> None:
        dependencies.watch(job)
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))

    asyncio.run(look())

    assert (ends, asked) == (record.ends, server.asked)
