"""``python -m bench.cluster``: the operator on a real API server, beside the least that a job could cost there.

The anchor is a bare create + status patch + delete of the same resource in the same run. One machine runs it all: API
server, etcd, operator, workers and the creating client share its processors.
"""

import http.client
import json
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.__main__ import told

ROOT = Path(__file__).parent.parent
ROUNDS, JOBS, CLIENTS, LIVE = 3, 500, 8, 10_000


class Api:
    """A kept connection with an administrator's certificate; not shared between threads."""

    def __init__(self, rig: Any) -> None:
        host, _, port = rig.plane.url.removeprefix("https://").rpartition(":")
        self._connection = http.client.HTTPSConnection(host, int(port), context=rig.plane.ssl_context)
        self._path = rig.path

    def ask(self, method: str, name: str = "", body: object = None, kind: str = "application/json") -> Any:
        """One request, to the job of that name or to all with that query."""
        data = json.dumps(body).encode() if body is not None else None
        path = f"{self._path}/{name}" if name and name[0] != "?" else self._path + name
        self._connection.request(method, path, data, {"Content-Type": kind})
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text[:300]
        return json.loads(text)


def resource(name: str, **spec: object) -> dict[str, object]:
    """A job that does nothing."""
    return {"apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": name},
            "spec": {"handler": "echo", **spec}}  # fmt: skip


def shared(rig: Any, count: int, work: Callable[[Api, int], None]) -> float:
    """Seconds that it takes ``CLIENTS`` threads to do the work so often."""

    def client(first: int) -> None:
        api = Api(rig)
        for number in range(first, count, CLIENTS):
            work(api, number)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def latency(rig: Any) -> None:
    """From before the create until the slot has the attempt, one job after the other."""
    api, found = Api(rig), []
    for number in range(150):
        before = time.time()
        api.ask("POST", "", resource(f"alone-{number}"))
        while (status := api.ask("GET", f"alone-{number}")["status"])["phase"] != "Succeeded":
            time.sleep(0.005)
        started = datetime.fromisoformat(status["history"][0]["startedAt"]).timestamp()
        found.append((started - before) * 1000)
    api.ask("DELETE")  # all of them
    found.sort()
    print("One job after the other: before the create → its body starts on a warm worker")
    print(f"  p50 {found[len(found) // 2]:.1f} ms, p99 {found[int(len(found) * 0.99)]:.1f} ms")


def throughput(rig: Any, operator: Any) -> None:
    """Jobs with time to live 0, until none is left; and the anchor."""

    def bare(api: Api, number: int) -> None:
        name = f"bare-{number}"
        api.ask("POST", "", resource(name, suspend=True))
        status = {"status": {"phase": "Running", "attempts": 1}}
        api.ask("PATCH", f"{name}/status", status, "application/merge-patch+json")
        api.ask("DELETE", name)

    anchor, ours, ratio, cpu = [], [], [], []
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    for _ in range(ROUNDS):
        anchor.append(JOBS / shared(rig, JOBS, bare))
        before = before or requests(rig)
        spent, began = processor(operator.process.pid), time.perf_counter()
        shared(
            rig, JOBS, lambda api, number: api.ask("POST", "", resource(f"ours-{number}", ttlSecondsAfterFinished=0))
        )
        while Api(rig).ask("GET", "?limit=1")["items"]:  # a list of all of them would cost more than they do
            time.sleep(0.05)
        ours.append(JOBS / (time.perf_counter() - began))
        cpu.append((processor(operator.process.pid) - spent) / JOBS * 1000)
        ratio.append(ours[-1] / anchor[-1])
        after = after or requests(rig)
    print(f"{JOBS} jobs from {CLIENTS} clients, created, run, recorded and deleted")
    told("bare create + patch + delete", anchor, "jobs/s")
    told("through the operator", ours, "jobs/s")
    told("ratio", ratio, "×     ")
    told("processor time of the operator", cpu, "ms/job")
    counts = {
        key: (after[key] - before.get(key, 0)) / JOBS for key in after if after[key] - before.get(key, 0) >= JOBS / 10
    }
    print("  requests to the API server for a job: " + ", ".join(f"{key} {n:.2f}" for key, n in sorted(counts.items())))


def requests(rig: Any) -> dict[str, float]:
    """Requests for jobs by verb and subresource, from the API server's own metrics; reads of this benchmark left out."""
    found: dict[str, float] = {}
    for line in rig.plane.metrics().splitlines():
        if (
            line.startswith("apiserver_request_total{")
            and 'resource="jobs"' in line
            and 'group="longshore.dev"' in line
        ):
            verb = re.search(r'verb="(\w+)"', line)
            part = re.search(r'subresource="(\w*)"', line)
            assert verb
            assert part
            if verb[1] not in ("GET", "LIST", "WATCH"):
                key = f"{verb[1]} {part[1]}".strip().lower()
                found[key] = found.get(key, 0) + float(line.rsplit(" ", 1)[1])
    return found


def processor(pid: int) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def restart(rig: Any, operator: Any) -> None:
    """Start with many live jobs: time and memory."""
    rig.plane.must("POST", f"/apis/longshore.dev/v1alpha1/namespaces/{rig.namespace}/queues", {
        "apiVersion": "longshore.dev/v1alpha1", "kind": "Queue", "metadata": {"name": "still"}, "spec": {"paused": True},
    })  # fmt: skip
    print("Start of the operator with live jobs, until it dispatches")
    there = 0
    for live in (1_000, 5_000, LIVE):
        first = there

        def submit(api: Api, number: int, first: int = first) -> None:
            api.ask("POST", "", resource(f"live-{first + number}", queue="still"))

        shared(rig, live - there, submit)
        there = live
        operator.kill()
        before, began = len(operator.lines("took_over")), time.perf_counter()
        operator.start()
        operator.wait_for("took_over", before + 1, seconds=120)
        seconds = time.perf_counter() - began
        time.sleep(2)
        status = Path(f"/proc/{operator.process.pid}/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
        print(f"  {live:>6,} live jobs: {seconds:5.1f} s, {resident:6.1f} MiB resident")


def main() -> None:
    """All of them."""
    from kube.control_plane import ControlPlane
    from kube.kubelet import Kubelet
    from kube.operators import Rig

    tools = Path(
        subprocess.run([ROOT / "scripts/kube-tools"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    )
    with tempfile.TemporaryDirectory() as name:
        plane = ControlPlane(tools, Path(name) / "cluster")
        plane.start()
        plane.install_crds(ROOT / "manifests/crds")
        rig = Rig(plane, Kubelet(plane), plane.make_namespace(), Path(name))
        try:
            for number in range(2):
                rig.worker(f"worker-{number}", slots=2)
            operator = rig.leader(leader_election="false")
            latency(rig)
            throughput(rig, operator)
            restart(rig, operator)
        finally:
            rig.close()
            plane.stop()


if __name__ == "__main__":
    main()
