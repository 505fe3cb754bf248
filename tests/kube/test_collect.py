"""Finished jobs go when their time is over, and no others. Against a real API server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from kube.api_service import conditions_of
from kube.control_plane import ControlPlane
from kube.operator_side import Json, client_of, make_job, until
from longshore_operator.collect import SWEEP_SECONDS, Collector
from longshore_operator.kube.client import MERGE_PATCH, KubeClient, path_of


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 110))


pytestmark = pytest.mark.usefixtures("cluster")


@asynccontextmanager
async def running(collector: Collector) -> AsyncIterator[None]:
    task = asyncio.create_task(collector.run())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def finished(client: KubeClient, namespace: str, name: str, phase: str = "Succeeded", **spec: Any) -> Json:
    """A job that has just ended."""
    await client.request("POST", path_of("jobs", namespace), make_job(name, **spec))
    return await set_phase(client, namespace, name, phase)


async def set_phase(client: KubeClient, namespace: str, name: str, phase: str, **status: object) -> Json:
    end = None if phase == "Pending" else datetime.now(UTC).isoformat()
    return await client.request(
        "PATCH", path_of("jobs", namespace, name, "status"), {"status": {"phase": phase, "finishedAt": end, "conditions": conditions_of(phase)} | status},
        content_type=MERGE_PATCH,
    )  # fmt: skip


def names(plane: ControlPlane, namespace: str) -> set[str]:
    limit = time.monotonic() + 10
    # After its start the API server refuses lists of custom resources for a moment, with 429.
    while (found := plane.request("GET", path_of("jobs", namespace)))[0] == 429:
        assert time.monotonic() < limit
        time.sleep(0.05)
    return {job["metadata"]["name"] for job in found[1]["items"]}


def collector_of(client: KubeClient, namespace: str, **changes: Any) -> Collector:
    settings: Any = {"namespaces": [namespace], "retention_seconds": 3600.0, "rate_per_second": 1000} | changes
    return Collector(client, **settings)


def test_a_thousand_finished_jobs_vanish_and_the_others_stay(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        results: list[tuple[str, str]] = []
        async with client_of(control_plane, counted=lambda *what: results.append(what)) as client:
            phases = ["Succeeded", "Failed", "Cancelled"]
            await asyncio.gather(
                *(finished(client, namespace, f"old-{i}", phases[i % 3], ttlSecondsAfterFinished=0) for i in range(1000)),
                finished(client, namespace, "later", ttlSecondsAfterFinished=300),
                finished(client, namespace, "much-later", ttlSecondsAfterFinished=SWEEP_SECONDS + 300),
                finished(client, namespace, "silent"),
                client.request("POST", path_of("jobs", namespace), make_job("waits", ttlSecondsAfterFinished=0)),
            )  # fmt: skip
            results.clear()
            collector = collector_of(client, namespace)
            async with running(collector):
                kept = {"later", "much-later", "silent", "waits"}
                await until(lambda: results.count(("delete", "200")) >= 1000, what="1,000 deletes")
                assert kept == names(control_plane, namespace)
                assert 1 == len(collector), "the heap holds more than what expires before the next sweep"
            assert 1000 == len([kind for kind, _ in results if kind == "delete"])

    run(test())


def test_a_job_goes_when_its_time_comes(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        async with client_of(control_plane) as client:
            shift = [0.0]
            await finished(client, namespace, "swept", ttlSecondsAfterFinished=300)
            collector = collector_of(client, namespace, now=lambda: time.time() + shift[0])
            async with running(collector):
                await until(lambda: len(collector) == 1, what="the sweep")
                told = await finished(client, namespace, "told", ttlSecondsAfterFinished=0)
                collector.ended(told)
                await until(lambda: names(control_plane, namespace) == {"swept"}, what="the end of `told`")
                shift[0] = 301.0
                await until(lambda: names(control_plane, namespace) == set(), what="the end of `swept`")

    run(test())


def test_an_other_job_of_the_same_name_survives(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        results: list[tuple[str, str]] = []
        async with client_of(control_plane, counted=lambda *what: results.append(what)) as client:
            shift = [0.0]
            collector = collector_of(client, namespace, now=lambda: time.time() + shift[0])
            for name in ("swept", "told"):
                await finished(client, namespace, name, ttlSecondsAfterFinished=300)
            async with running(collector):
                await until(lambda: len(collector) == 2, what="the sweep")
                for name in ("swept", "told"):
                    await client.request("DELETE", path_of("jobs", namespace, name))
                    told = await finished(client, namespace, name, ttlSecondsAfterFinished=3600)
                gone = {**told["metadata"], "uid": "11111111-2222-3333-4444-555555555555"}
                collector.ended({**told, "metadata": gone, "spec": {**told["spec"], "ttlSecondsAfterFinished": 0}})
                shift[0] = 301.0
                await until(lambda: results.count(("delete", "409")) == 3, what="three refusals")
                await until(lambda: ("get", "200") in results, what="a second look")
                await until(lambda: not len(collector), what="an empty heap")
                assert {"swept", "told"} == names(control_plane, namespace)

    run(test())


def test_a_job_that_was_sent_round_again_survives(control_plane: ControlPlane, namespace: str) -> None:
    async def test() -> None:
        results: list[tuple[str, str]] = []
        async with client_of(control_plane, counted=lambda *what: results.append(what)) as client:
            shift = [0.0]
            collector = collector_of(client, namespace, now=lambda: time.time() + shift[0])
            jobs = {
                name: await finished(client, namespace, name, "Failed", ttlSecondsAfterFinished=300)
                for name in ("redriven", "labelled")
            }
            async with running(collector):
                await until(lambda: len(collector) == 2, what="the sweep")
                await set_phase(client, namespace, "redriven", "Pending", redrives=1)
                # Written to without changing its end: it goes all the same.
                await client.request(
                    "PATCH",
                    path_of("jobs", namespace, "labelled"),
                    {"metadata": {"labels": {"a": "b"}}},
                    content_type=MERGE_PATCH,
                )
                shift[0] = 301.0
                await until(lambda: names(control_plane, namespace) == {"redriven"}, what="the end of `labelled`")
                await until(lambda: results.count(("delete", "409")) == 2, what="two refusals")
                await until(lambda: results.count(("get", "200")) == 2, what="two looks")
                assert (
                    jobs["redriven"]["metadata"]["uid"]
                    == control_plane.must("GET", path_of("jobs", namespace, "redriven"))["metadata"]["uid"]
                )

    run(test())


@pytest.mark.parametrize("known_by", ["the sweep", "the recorder"])
def test_nothing_is_forgotten_while_the_api_server_is_away(own_control_plane: ControlPlane, known_by: str) -> None:
    async def test() -> None:
        own_control_plane.install_crds()
        results: list[tuple[str, str]] = []
        async with client_of(own_control_plane, counted=lambda *what: results.append(what)) as client:
            # Of the second one the sweep says nothing: by its own words it goes long after the next sweep.
            ttl = 0 if known_by == "the sweep" else SWEEP_SECONDS + 300
            told = await finished(client, "default", "told", ttlSecondsAfterFinished=ttl)
            collector = collector_of(client, "default")
            if known_by == "the sweep":
                own_control_plane.kill_apiserver()
            async with running(collector):
                if known_by == "the sweep":
                    await until(lambda: ("list", "unreachable") in results, what="a sweep that fails")
                else:
                    await until(lambda: ("list", "200") in results, what="the sweep")
                    own_control_plane.kill_apiserver()
                    collector.ended({**told, "spec": {**told["spec"], "ttlSecondsAfterFinished": 0}})
                    await until(lambda: ("delete", "unreachable") in results, what="a delete that fails")
                await asyncio.to_thread(own_control_plane.start_apiserver)
                await until(lambda: ("delete", "200") in results, what="the delete")
                assert set() == names(own_control_plane, "default")

    run(test())


def test_a_missing_right_does_not_end_it(
    control_plane: ControlPlane, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        nobody = control_plane.kubeconfig("nobody")
        async with client_of(control_plane, nobody) as client, running(collector_of(client, namespace)):
            await until(lambda: "cannot list resource" in caplog.text, what="a message")

    run(test())
