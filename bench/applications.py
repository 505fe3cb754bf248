"""What the things that applications use cost in a handler: ``python -m bench.applications``, part of ``make bench``."""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from bench.load import load
from real_pool import RealPool
from service import Service, descendants
from trace_collector import collector

ROUNDS = 7
SECONDS = 3.0
TIMES = 50_000
APP = """
import time
from longshore import Counter, Histogram, handler

plain = Counter("bench_plain", "Without labels.")
labelled = Counter("bench_labelled", "With a label.", ["kind"])
seconds = Histogram("bench_took", "A histogram.")


def each(call, times):
    began = time.thread_time()
    for _ in range(times):
        call()
    return (time.thread_time() - began) / times * 1e6


@handler
def counts(times: int) -> dict[str, float]:
    return {
        "an empty call": each(lambda: None, times),
        "counter.inc()": each(lambda: plain.inc(), times),
        "counter.labels(…).inc()": each(lambda: labelled.labels("a").inc(), times),
        "histogram.observe(…)": each(lambda: seconds.observe(0.2), times),
    }


@handler
def counts_once() -> None:
    labelled.labels("a").inc()


@handler
def counts_nothing() -> None: ...
"""


def told(name: str, values: list[float], unit: str) -> None:
    """A line: median and range."""
    print(f"  {name:<58} {statistics.median(values):>12,.2f} {unit}  ({min(values):,.2f} to {max(values):,.2f})")


def metric_figures(run: Callable[..., Any]) -> None:
    """A counter in a handler costs 5 µs at most (design: figures of applications)."""
    print("\nMetrics of applications, inside a handler (processor time)")
    rounds = [run("counts", times=TIMES) for _ in range(ROUNDS)]
    for name in rounds[0]:
        told(name, [one[name] for one in rounds], "µs")

    both: dict[str, list[float]] = {"counts_nothing": [], "counts_once": []}
    for _ in range(ROUNDS):
        for name, values in both.items():
            began = time.perf_counter()
            for _ in range(300):
                run(name)
            values.append((time.perf_counter() - began) / 300 * 1e6)
    told("a round trip of a slot, of a job that counts nothing", both["counts_nothing"], "µs")
    told("a round trip of a slot, of a job that counts once", both["counts_once"], "µs")


def processor_seconds(pid: int) -> float:
    """What the service and all its processes have used so far."""
    ticks = 0
    for one in (pid, *descendants(pid)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def trace_figures(folder: Path) -> None:
    """A waited job with traces on costs 10 % more at most; with them off there is nothing to pay."""
    print("\nTraces: a waited job over HTTP, one client, off and on in turns")
    with collector() as found:
        off = Service(folder / "off", {"apps": "longshore_samples.echo", "slots": 1})
        on = Service(folder / "on", {"apps": "longshore_samples.echo", "slots": 1})
        try:
            off.start()
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = found.address
            on.start()
            body = json.dumps({"handler": "echo"}).encode()
            middles: dict[str, list[float]] = {"off": [], "on": []}
            worked: dict[str, list[float]] = {"off": [], "on": []}
            for _ in range(ROUNDS):
                for name, service in (("off", off), ("on", on)):
                    before = processor_seconds(service.pid)
                    _, latencies = load(service.port, 1, body, {"Prefer": "wait=10"}, SECONDS)
                    middles[name].append(latencies[len(latencies) // 2])
                    worked[name].append((processor_seconds(service.pid) - before) / len(latencies) * 1e3)
        finally:
            os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
            off.end()
            on.end()
    told("off, p50", middles["off"], "ms")
    told("on, p50", middles["on"], "ms")
    told("on / off", [on / off for off, on in zip(middles["off"], middles["on"], strict=True)], "  ")
    told("off, processor time of all processes for a job", worked["off"], "ms")
    told("on, the same, with what sends the spans", worked["on"], "ms")


def main() -> None:
    """All of them."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench_app.py").write_text(APP)
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
        pool = RealPool(apps=("bench_app",), count=1)

        def run(handler: str, **args: object) -> Any:
            return orjson.loads(pool.run(handler, orjson.dumps(args)).result or b"null")

        try:
            metric_figures(run)
        finally:
            pool.end()
        trace_figures(Path(folder))


if __name__ == "__main__":
    main()
