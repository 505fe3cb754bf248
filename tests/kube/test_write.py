"""The writer against a real API server: what it does when it is late."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kube.control_plane import ControlPlane
from kube.operator_side import client_of, make_job
from longshore.job.status import Phase
from longshore_operator import recover
from longshore_operator.desk import Desk
from longshore_operator.job import Attempt, Job
from longshore_operator.kube.client import path_of
from longshore_operator.write import Writer


def write(cluster: ControlPlane, namespace: str, made: dict[str, Any], changes: Callable[[Job], Iterator[None]]) -> Job:
    """Make a job, write it down after each of the changes, and read it as the next operator would."""
    path = path_of("jobs", namespace)
    refused: list[Any] = []

    async def run(job: Job) -> None:
        async with client_of(cluster) as client:
            writer = Writer(
                client,
                overtaken=lambda job, _resource: refused.append(job),
                log=lambda *said, **_: refused.append(said),
            )
            for _ in changes(job):
                await asyncio.wait_for(writer.changed(job), 30)
            await asyncio.wait_for(writer.idle(), 30)

    asyncio.run(run(Job(cluster.must("POST", path, made))))
    assert [] == refused
    return Job(cluster.must("GET", f"{path}/{made['metadata']['name']}"))


def fail(job: Job) -> None:
    job.phase, job.reason, job.finished_at, job.attempts = Phase.FAILED, "Broken", 1e9, 1


def test_a_redriven_job_that_has_ended_before_its_redrive_was_written_is_on_record(
    cluster: ControlPlane, namespace: str
) -> None:
    def changes(job: Job) -> Iterator[None]:
        fail(job)
        yield
        job.phase, job.reason, job.redrives, job.attempts = Phase.SUCCEEDED, "", 1, 2
        yield

    found = write(cluster, namespace, make_job("late"), changes)

    assert (Phase.SUCCEEDED, 2, 1) == (found.phase, found.attempts, found.redrives)


@pytest.mark.parametrize("redriven", [False, True])
def test_the_next_operator_adopts_an_attempt_that_began_before_the_last_one_s_end_was_written(
    cluster: ControlPlane, namespace: str, *, redriven: bool
) -> None:
    def changes(job: Job) -> Iterator[None]:
        if redriven:
            fail(job)
            yield
        job.phase, job.finished_at, job.attempts = Phase.PENDING, None, 2
        job.disruptions, job.redrives = int(not redriven), int(redriven)
        Desk().begin(job, Attempt(2, None, 1e9), None, 1e9)
        yield

    found = write(cluster, namespace, make_job("again"), changes)

    assert (Phase.PENDING, 1) == (found.phase, found.attempts)
    assert recover.Claim.NEW is recover.claim(2, "its worker", held=None, latest=found.latest(None))


def test_items_that_no_worker_took_do_not_stop_the_record_of_an_array(cluster: ControlPlane, namespace: str) -> None:
    def changes(job: Job) -> Iterator[None]:
        job.phase, job.attempts = Phase.RUNNING, 3
        yield
        job.phase, job.attempts, job.finished_at = Phase.CANCELLED, 1, 1e9
        yield

    found = write(cluster, namespace, make_job("array", count=5), changes)

    assert (Phase.CANCELLED, 3) == (found.phase, found.attempts)
