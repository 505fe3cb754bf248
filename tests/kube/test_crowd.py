"""Ten thousand jobs that are applied at once: all of them are known, in bounded memory, and none is lost."""

import http.client
import json
import re
import threading
import urllib.request
from typing import Any

import pytest

from kube.operators import Operator, Rig

JOBS, CLIENTS = 10_000, 8


def crowd(rig: Rig) -> None:
    """Create them, over kept connections."""
    host, _, port = rig.plane.url.removeprefix("https://").rpartition(":")
    refused: list[bytes] = []

    def client(first: int) -> None:
        connection = http.client.HTTPSConnection(host, int(port), context=rig.plane.ssl_context, timeout=60)
        for number in range(first, JOBS, CLIENTS):
            body = {"apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": f"crowd-{number}"},
                    "spec": {"queue": "crowd", "handler": "echo"}}  # fmt: skip
            connection.request("POST", rig.path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 201:
                refused.append(text)
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not refused, refused[:3]


def depth(operator: Operator) -> float:
    """Of the queue, as the operator's metrics say."""
    with urllib.request.urlopen(
        f"http://127.0.0.1:{operator.lines('listening')[0]['port']}/metrics", timeout=30
    ) as answer:
        found = re.search(r'^longshore_queue_depth\{.*queue="crowd".*\} (\S+)$', answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.timeout(400)
def test_ten_thousand_jobs_at_once(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    queues = rig.path.replace("/jobs", "/queues")
    rig.plane.must("POST", queues, {"apiVersion": "longshore.dev/v1alpha1", "kind": "Queue",
                                    "metadata": {"name": "crowd"}, "spec": {"paused": True}})  # fmt: skip
    rig.worker(slots=4)
    operator = rig.leader()
    crowd(rig)
    rig.until(lambda: depth(operator) == JOBS, "all of them on the desk", 60)
    memory = operator.resident_mib()
    with capsys.disabled():
        print(f"\n10,000 live jobs: {memory:.0f} MiB resident")
    assert memory <= 150

    rig.plane.must("PATCH", f"{queues}/crowd", {"spec": {"paused": False}})
    rig.until(lambda: depth(operator) <= JOBS - 500, "some that run", 90)
    rig.plane.must("PATCH", f"{queues}/crowd", {"spec": {"paused": True}})
    ended = "status.phase%3DSucceeded"
    waiting = "status.phase%3DPending"

    def names(selector: str) -> set[str]:
        found: list[dict[str, Any]] = rig.plane.must("GET", f"{rig.path}?fieldSelector={selector}")["items"]
        return {job["metadata"]["name"] for job in found}

    rig.until(lambda: JOBS == len(names(ended)) + depth(operator), "the end of what had begun", 60)
    done, left = names(ended), names(waiting)
    assert {f"crowd-{number}" for number in range(JOBS)} == done | left, "each of them has ended or waits"
    assert not done & left
    assert 500 <= len(done)
