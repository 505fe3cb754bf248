"""The same load on a real pool and in the simulator, side by side. Used by ``bench.scaling``."""

import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from bench.node import at
from e2e.release import Release
from longshore_operator.scaling.arrivals import Arrival
from longshore_operator.scaling.decide import Knobs
from longshore_operator.scaling.simulate import Simulation

CLIENTS = 8  # so that a burst comes at once, not one answer after the other
LOOK_SECONDS = 0.2


@dataclass(slots=True)
class Watched:
    """Pods of a pool, seen several times a second. Times are seconds since the epoch."""

    counts: list[tuple[float, int]] = field(default_factory=list)
    """Of pods that are not being deleted."""
    born: dict[str, float] = field(default_factory=dict)
    """First sight, by name."""
    ready: dict[str, float] = field(default_factory=dict)
    """First sight of their Ready condition."""

    def see(self, pods: Sequence[dict[str, Any]]) -> None:
        """Take note of them."""
        now = time.time()
        self.counts.append((now, len(pods)))
        for pod in pods:
            self.born.setdefault(pod["metadata"]["name"], now)
            conditions = pod["status"].get("conditions", ())
            if any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
                self.ready.setdefault(pod["metadata"]["name"], now)

    def starts(self, sent: Sequence[float], jobs: dict[int, dict[str, Any]]) -> list[float]:
        """Seconds from a pod's first sight until its first job began, of those that found jobs waiting when they were ready."""
        first: dict[str, float] = {}
        waits = []
        for number, status in jobs.items():
            began, _, worker = attempt(status)
            first[worker] = min(began, first.get(worker, began))
            waits.append((sent[number], began))
        return sorted(
            began - self.born[worker] for worker, began in first.items()
            if any(come <= self.ready[worker] < start for come, start in waits)
        )  # fmt: skip

    def pod_seconds(self, since: float) -> float:
        """Of all of them, since then."""
        ends = [at for at, _ in self.counts[1:]]
        steps = zip(self.counts, ends, strict=False)
        return sum(count * (until - max(at, since)) for (at, count), until in steps if until > since)


@contextmanager
def watched(release: Release) -> Iterator[Watched]:
    """While it is entered."""
    seen, over = Watched(), threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            seen.see(release.pods("worker"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def attempt(status: dict[str, Any]) -> tuple[float, float, str]:
    """Begin and end of a job's first, and the pod that ran it."""
    found = status["history"][0]
    began, ended = (datetime.fromisoformat(found[key]).timestamp() for key in ("startedAt", "finishedAt"))
    return began, ended, str(found["worker"])


def submit(release: Release, prefix: str, arrivals: Sequence[Arrival]) -> list[float]:
    """Each at its time, ``sleep`` as long as it says; the client's clock before each create, by the number in the job's name."""
    began = time.time()

    def one(number: int) -> float:
        at, seconds, _ = arrivals[number]
        time.sleep(max(0.0, began + at - time.time()))
        before = time.time()
        release.submit(f"{prefix}{number}", handler="sleep", args={"seconds": seconds})
        return before

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(one, range(len(arrivals))))


@dataclass(frozen=True, slots=True)
class Run:
    """A pool under a load, real or not."""

    waits: list[float]
    pod_seconds: float
    workers: int
    """At most."""
    seconds: float
    """From the first create to the end of the last job."""

    def figures(self) -> dict[str, float]:
        """What is compared."""
        return {
            "waited, p50 (s)": at(self.waits, 0.5), "waited, p95 (s)": at(self.waits, 0.95), "waited, at most (s)": max(self.waits),
            "last job ended after (s)": self.seconds, "pod-seconds": self.pod_seconds, "workers at most": self.workers,
        }  # fmt: skip


def happened(sent: Sequence[float], jobs: dict[int, dict[str, Any]], seen: Watched) -> tuple[Run, list[Arrival]]:
    """The real run, and its trace: when each job was sent and how long its attempt took. ``jobs`` are statuses by number."""
    zero, waits, trace, last = min(sent), [], [], 0.0
    for number, status in jobs.items():
        began, ended, _ = attempt(status)
        waits.append(began - sent[number])
        trace.append(Arrival(sent[number] - zero, ended - began, "sleep"))
        last = max(last, ended - zero)
    workers = max(count for _, count in seen.counts)
    return Run(waits, seen.pod_seconds(zero), workers, last), sorted(trace)


def handovers(sent: Sequence[float], jobs: dict[int, dict[str, Any]], slots: int) -> list[float]:
    """Seconds that a slot was empty while jobs waited, in order; of each worker's n-th end and the begin that took its place."""
    found = []
    by_worker: dict[str, list[tuple[float, float, float]]] = {}
    for number, status in jobs.items():
        began, ended, worker = attempt(status)
        by_worker.setdefault(worker, []).append((began, ended, sent[number]))
    for runs in by_worker.values():
        begins, ends = sorted(runs)[slots:], sorted(ended for _, ended, _ in runs)
        found += [began - end for (began, _, come), end in zip(begins, ends, strict=False) if come < end <= began]
    return sorted(found)


def simulated(
    trace: Sequence[Arrival], knobs: Knobs, slots: int, start_seconds: float, handover_seconds: float, until: float
) -> Run:
    """The same in the simulator, ``until`` so many seconds after the first job."""
    simulation = Simulation(knobs, slots=slots, start_seconds=start_seconds, handover_seconds=handover_seconds)
    seen = simulation.run(trace, until=until)
    return Run(seen.waits, seen.worker_seconds, max(count for _, count in seen.workers), seen.last_end)


def compare(
    name: str, sent: Sequence[float], jobs: dict[int, dict[str, Any]], seen: Watched, knobs: Knobs, slots: int
) -> Run:
    """Print both, and how far the simulator is off. Returns the real one."""
    real, trace = happened(sent, jobs, seen)
    starts = seen.starts(sent, jobs)
    empty = handovers(sent, jobs, slots)
    start, handover = statistics.median(starts), statistics.mean(empty)
    other = simulated(trace, knobs, slots, start, handover, seen.counts[-1][0] - min(sent))
    print(f"{name}: {len(trace)} jobs, {sum(one.seconds for one in trace):.1f} s of slots")
    print(
        f"  a pod had its first job after {start:.2f} s  ({starts[0]:.2f} – {starts[-1]:.2f}, {len(starts)} pods); the simulator has the median"
    )
    print(f"  a slot was empty between two jobs for {handover * 1000:.0f} ms on average; so it is in the simulator")
    print(f"  {'':30} {'node':>9} {'simulator':>10} {'error':>9}")
    for (what, value), guess in zip(real.figures().items(), other.figures().values(), strict=True):
        part = f"{(guess - value) / value:+9.0%}" if value > 1 else f"{guess - value:+9.2f}"
        print(f"  {what:30} {value:9.2f} {guess:10.2f} {part}", flush=True)
    return real
