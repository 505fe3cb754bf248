"""The writer against a real API server: what it does when it is late."""

import asyncio
from typing import Any

from kube.control_plane import ControlPlane
from kube.operator_side import client_of, make_job
from longshore.job.status import Phase
from longshore_operator.job import Job
from longshore_operator.kube.client import path_of
from longshore_operator.write import Writer


def test_a_redriven_job_that_has_ended_before_its_redrive_was_written_is_on_record(
    cluster: ControlPlane, namespace: str
) -> None:
    path = path_of("jobs", namespace)
    cluster.must("POST", path, make_job("late"))
    refused: list[Any] = []

    async def run() -> None:
        async with client_of(cluster) as client:
            writer = Writer(
                client,
                overtaken=lambda job, _resource: refused.append(job),
                log=lambda *said, **_: refused.append(said),
            )
            job = Job(cluster.must("GET", f"{path}/late"))
            job.phase, job.reason, job.finished_at, job.attempts = Phase.FAILED, "Broken", 1e9, 1
            await writer.changed(job)
            job.phase, job.reason, job.redrives, job.attempts = Phase.SUCCEEDED, "", 1, 2
            await writer.changed(job)
            await asyncio.wait_for(writer.idle(), 30)

    asyncio.run(run())
    status = cluster.must("GET", f"{path}/late")["status"]

    assert ("Succeeded", 2, 1) == (status["phase"], status["attempts"], status["redrives"])
    assert [] == refused
