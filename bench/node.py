"""``python -m bench.node``: the product on a real Kubernetes node, beside batch/v1 in the same run. As root on Debian.

One machine runs it all: control plane, kubelet, containerd, operator, workers and this client share its processors.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from bench.cluster import requests
from e2e import images
from e2e.ground import claim, missing
from e2e.images import ROOT, WORKER
from e2e.node import Node
from e2e.release import Release

ROUNDS, ITEMS = 30, 10_000
BODY = "import time; print(time.time())"


def main() -> None:
    """All of it."""
    with real_node() as release:
        began = time.perf_counter()
        release.install()
        print(f"helm install --wait                              {time.perf_counter() - began:8.1f} s", flush=True)
        side_by_side(release)
        array(release)


@contextmanager
def real_node() -> Iterator[Release]:
    """A node for this run, and a release that is not installed yet; SystemExit with the reason where there can be none."""
    if reason := missing():
        sys.exit(f"no real node: {reason}")
    tools = subprocess.run([ROOT / "scripts/kube-tools", "--node"], stdout=subprocess.PIPE, text=True, check=True)
    found = images.read(images.make().stdout)
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the start", flush=True)
    began = time.perf_counter()
    node = Node(Path(tools.stdout.strip()), claim())
    try:
        node.start(found.archives)
        print(f"node ready with three images                     {time.perf_counter() - began:8.1f} s", flush=True)
        yield Release(node, found, "ls", node.make_restricted_namespace())
    finally:
        node.stop()


def side_by_side(release: Release) -> None:
    """From before the create until the body runs: ours and a batch/v1 Job of the same image, in turns."""
    ours, theirs = [], []
    for number in range(ROUNDS):
        ours.append(warm(release, f"warm-{number}"))
        theirs.append(cold(release, f"cold-{number}"))
    print(f"create → body starts, {ROUNDS} rounds in turns, one job at a time")
    for name, values in (("Job of longshore.dev", ours), ("Job of batch/v1", theirs)):
        print(f"  {name:30}  p50 {at(values, 0.5):8.1f} ms   p99 {at(values, 0.99):8.1f} ms")
    print(f"  ratio                           p50 {at(theirs, 0.5) / at(ours, 0.5):8.0f} ×    "
          f"p99 {at(theirs, 0.99) / at(ours, 0.99):8.0f} ×", flush=True)  # fmt: skip


def warm(release: Release, name: str) -> float:
    """Milliseconds; the worker says when the body started."""
    before = time.time()
    release.submit(name, handler="echo")
    status = until(lambda: (found := release.job(name)["status"])["phase"] == "Succeeded" and found)
    assert isinstance(status, dict)
    return (datetime.fromisoformat(status["history"][0]["startedAt"]).timestamp() - before) * 1000


def cold(release: Release, name: str) -> float:
    """Milliseconds; the body prints when it started."""
    container = {
        "name": "body", "image": release.images.tag(WORKER), "command": ["python", "-c", BODY],
        "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]},
                            "seccompProfile": {"type": "RuntimeDefault"}},
    }  # fmt: skip
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    path = f"/apis/batch/v1/namespaces/{release.namespace}/jobs"
    before = time.time()
    release.plane.must("POST", path, {"metadata": {"name": name}, "spec": spec})
    until(lambda: release.plane.must("GET", f"{path}/{name}")["status"].get("succeeded") == 1)
    return (float(release.kubectl("logs", f"job.batch/{name}")) - before) * 1000


def array(release: Release) -> None:
    """One job of many items on two workers."""
    release.kubectl("scale", f"deployment/{release.deployment('worker')}", "--replicas=2")
    release.kubectl("rollout", "status", f"deployment/{release.deployment('worker')}", "--timeout=60s")
    before, began = requests(release), time.perf_counter()
    release.submit("array", handler="echo", count=ITEMS, parallelism=64)
    until(lambda: release.job("array")["status"]["phase"] == "Succeeded", seconds=600)
    took, after = time.perf_counter() - began, requests(release)
    assert release.job("array")["status"]["items"]["succeeded"] == ITEMS
    writes = sum(after.values()) - sum(before.values())
    print(f"an array job of {ITEMS} items on two workers with four slots each")
    print(f"  items                                          {ITEMS / took:8.1f} /s")
    print(f"  writes to the API server                       {writes:8.0f}    {writes / ITEMS:.4f} for an item")


def at(values: list[float], share: float) -> float:
    """The value below which this share of them lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def until(look: Callable[[], object], seconds: float = 60.0) -> object:
    """The first true answer; AssertionError when none comes in time."""
    limit = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.005)
    return found


if __name__ == "__main__":
    main()
