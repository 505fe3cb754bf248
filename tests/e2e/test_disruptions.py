"""What happens to jobs when pods end: by a person, by a drain, by the kernel, by kill −9."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from e2e.plane import NODE
from e2e.release import Object, Release, send

# Jobs that eat memory are commands; two slots leave room for a second job beside the one that is looked at.
VALUES = {"pools": {"default": {"commands": True, "slots": 2, "resources": {"limits": {"memory": "400Mi"}}}}}
DRAIN = ("drain", NODE, "--ignore-daemonsets", "--delete-emptydir-data")
ONCE = ["sh", "-c", '[ "$LONGSHORE_ATTEMPT" != 1 ] || sleep 300']  # runs until somebody cuts it off, and then no more
GREEDY = "data = []\nwhile True: data.append(bytearray(b'x' * 2**24))"


@pytest.fixture(scope="module", autouse=True)
def pool(release: Release) -> None:
    """Of workers that run commands."""
    release.upgrade(VALUES)


def test_a_busy_pod_waits_for_its_job(release: Release) -> None:
    release.submit("waited-for", handler="sleep", args={"seconds": 8})
    release.running("waited-for")
    (pod,) = release.pods("worker")

    release.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=true", "--timeout=60s")

    status = release.wait("waited-for")
    assert ("Succeeded", 1, 0) == (status["phase"], status["attempts"], status.get("disruptions", 0))


def test_a_drain_of_the_node_respects_the_budget_and_loses_no_job(
    release: Release, eventually: Callable[..., Any]
) -> None:
    release.kubectl("rollout", "status", f"deployment/{release.deployment('worker')}", "--timeout=60s")
    release.kubectl("scale", f"deployment/{release.deployment('worker')}", "--replicas=2")
    release.kubectl("rollout", "status", f"deployment/{release.deployment('worker')}", "--timeout=60s")
    for number in range(4):
        release.submit(f"drained-{number}", handler="sleep", args={"seconds": 10})
    for number in range(4):
        release.running(f"drained-{number}")
    workers = [pod["metadata"]["name"] for pod in release.pods("worker")]
    try:
        # Evictions one after the other: the budget lets one worker of a pool go at a time.
        first, second = (release.evict(name) for name in workers)
        assert (201, 429) == (first[0], second[0]), (first, second)
        assert "disruption budget" in second[1]["message"]
        # There is no other node where a new worker could become ready, so the last one may not go.
        stuck = release.plane.kubectl(*DRAIN, "--timeout=12s", "--pod-selector=longshore.dev/pool=default")
        assert stuck.returncode == 1, stuck.stdout
        assert "violate the pod's disruption budget" in stuck.stderr, stuck.stderr
        assert len(release.pods("worker")) == 2  # the last old one, and a new one that waits for a node
    finally:
        release.plane.kubectl("uncordon", NODE, check=True)
    for number in range(4):
        status = release.wait(f"drained-{number}")
        assert ("Succeeded", 0) == (status["phase"], status.get("disruptions", 0)), status
    release.kubectl("scale", f"deployment/{release.deployment('worker')}", "--replicas=1")
    eventually(lambda: len(release.pods("worker")) == 1, seconds=60, what="one worker")
    release.kubectl("rollout", "status", f"deployment/{release.deployment('worker')}", "--timeout=60s")


def test_a_drain_of_all_pods_ends_well_and_loses_no_job(release: Release) -> None:
    for name in ("drained-busy", "drained-too"):
        release.submit(name, handler="sleep", args={"seconds": 6})
        release.running(name)
    try:
        done = release.plane.kubectl(*DRAIN, "--timeout=80s")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"node/{NODE} drained" in done.stdout
        release.submit("while-drained", handler="echo")
        assert all("nodeName" not in pod["spec"] for pod in release.pods("worker"))
    finally:
        release.plane.kubectl("uncordon", NODE, check=True)
    for name in ("drained-busy", "drained-too", "while-drained"):
        status = release.wait(name, seconds=80)
        # The operator went too: what ended while there was none is not on record, and runs once more.
        assert status["phase"] == "Succeeded", status
        assert status.get("disruptions", 0) <= 1, status
    for component in ("worker", "operator", "api"):
        release.kubectl("rollout", "status", f"deployment/{release.deployment(component)}", "--timeout=60s")


def test_a_job_over_its_memory_ends_alone(release: Release) -> None:
    release.submit("neighbour", handler="sleep", args={"seconds": 6})
    release.running("neighbour")
    release.submit("greedy", command=["python3", "-c", GREEDY], maxRetries=0, resources={"memory": "100Mi"})

    assert ("Failed", "oom") == end(release.wait("greedy"))
    assert ("Succeeded", 1) == (release.wait("neighbour")["phase"], release.job("neighbour")["status"]["attempts"])


def test_a_container_out_of_memory_is_a_disruption_not_a_failure(release: Release) -> None:
    release.submit("flood", command=["python3", "-c", GREEDY], maxRetries=0, maxDisruptions=1)

    status = release.wait("flood", seconds=120)
    assert "DisruptionsExhausted" == status["reason"], status
    for attempt in status["history"]:
        assert ("oom", "ContainerOutOfMemory") == (attempt["outcome"], attempt["reason"]), status
    assert (2, 0) == (status["disruptions"], status.get("retries", 0))


def test_jobs_of_a_killed_container_run_again(release: Release) -> None:
    release.submit("killed", command=ONCE)
    release.running("killed")
    (pod,) = release.pods("worker")

    send(release.pids(pod), signal.SIGKILL)

    status = release.wait("killed")
    assert ("Succeeded", 2, 1) == (status["phase"], status["attempts"], status["disruptions"]), status


def test_jobs_of_a_node_that_stops_run_when_it_is_back(release: Release, eventually: Callable[..., Any]) -> None:
    release.submit("node-gone", command=ONCE)
    release.running("node-gone")
    (pod,) = release.pods("worker")

    release.node.kubelet.kill()
    try:
        send(release.pids(pod), signal.SIGKILL)
        eventually(lambda: not release.node.is_ready(), seconds=60, what="the node is seen to be gone")
    finally:
        release.node.kubelet.start()
    eventually(release.node.is_ready, seconds=60, what="the node is back")

    status = release.wait("node-gone", seconds=120)
    assert ("Succeeded", 1) == (status["phase"], status["disruptions"]), status


def end(status: Object) -> tuple[str, str]:
    """Phase, and the outcome of the last attempt."""
    return status["phase"], status["history"][-1]["outcome"]
