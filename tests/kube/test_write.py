"""The writer against a real API server: what it does when it is late."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kube.control_plane import ControlPlane
from kube.operator_side import client_of, install_crds, make_job
from longshore.job.status import Phase
from longshore_operator.job import Job
from longshore_operator.kube.client import path_of
from longshore_operator.write import Writer


@pytest.fixture
def plane(control_plane: ControlPlane, namespace: str) -> ControlPlane:
    install_crds(control_plane)
    return control_plane


def test_a_redriven_job_that_has_ended_before_its_redrive_was_written_is_on_record(
    plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    path = path_of("jobs", namespace)
    plane.must("POST", path, make_job("late"))
    refused: list[Any] = []

    async def run() -> None:
        async with client_of(plane) as client:
            writer = Writer(
                client,
                overtaken=lambda job, _resource: refused.append(job),
                log=lambda *said, **_: refused.append(said),
            )
            job = Job(plane.must("GET", f"{path}/late"))
            job.phase, job.reason, job.finished_at, job.attempts = Phase.FAILED, "Broken", 1e9, 1
            await writer.changed(job)
            job.phase, job.reason, job.redrives, job.attempts = Phase.SUCCEEDED, "", 1, 2
            await writer.changed(job)
            await asyncio.wait_for(writer.idle(), 10)

    asyncio.run(run())
    status = plane.must("GET", f"{path}/late")["status"]

    assert ("Succeeded", 2, 1) == (status["phase"], status["attempts"], status["redrives"])
    assert [] == refused
