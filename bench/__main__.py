"""``make bench``: the figures of docs/performance.md, on this machine, now.

Rounds are interleaved (anchor, ours, anchor, ours) and reported as median and range, because machines are noisy.
"""

import http.client
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from bench.load import load
from longshore.engine.attempt import Attempt, AttemptKey
from longshore.job.lane import Entry
from longshore.job.limits import QueuePolicy
from longshore.job.line import Line
from longshore.store.ledger import Batch, ClaimRow, EndRow, EventRow, JobRow, Standing
from longshore.store.sqlite.ledger import SqliteLedger
from real_pool import RealPool
from service import Service, descendants, free_port

ROUNDS = 3
SECONDS = 3.0
ECHO = """
from flask import Flask, request
app = Flask(__name__)
@app.post("/v1/jobs")
def echo():
    return request.get_json()
"""


def told(name: str, values: list[float], unit: str) -> None:
    """A line: median and range."""
    print(f"  {name:<58} {statistics.median(values):>12,.1f} {unit}  ({min(values):,.1f} – {max(values):,.1f})")


def bare_echo(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The ceiling: a Flask view that echoes, under the same gunicorn."""
    (folder / "bare_echo.py").write_text(ECHO)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "16",
               "--workers", "1", "--no-control-socket", "--log-level", "error", "--keep-alive", "75", "bare_echo:app"]  # fmt: skip
    child = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            http.client.HTTPConnection("127.0.0.1", port, timeout=1).request("GET", "/")
            break
        except OSError:
            time.sleep(0.05)
    return child, port


def http_figures(service: Service, echo_port: int) -> None:
    """Design §9, lines 1 and 2."""
    body = json.dumps({"handler": "echo", "args": {"x": 1}}).encode()
    print(
        "HTTP → fsynced → run in a process → fsynced → reply (Prefer: wait), and a bare Flask echo under the same gunicorn"
    )
    for clients in (1, 8, 32):
        echo, ours, middle, ratio, commits = [], [], [], [], []
        for _ in range(ROUNDS):
            e, _ = load(echo_port, clients, body, {}, SECONDS)
            before = commits_of(service)
            o, latencies = load(service.port, clients, body, {"Prefer": "wait=10"}, SECONDS)
            commits.append((commits_of(service) - before) / len(latencies))
            echo.append(e)
            ours.append(o)
            ratio.append(o / e)
            middle.append(latencies[len(latencies) // 2])
        told(f"{clients} clients: bare echo", echo, "req/s ")
        told(f"{clients} clients: waited jobs", ours, "jobs/s")
        told(f"{clients} clients: ratio", ratio, "×     ")
        told(f"{clients} clients: p50", middle, "ms    ")
        told(f"{clients} clients: commits a job", commits, "      ")
    batch = json.dumps({"jobs": [{"handler": "echo", "args": {"x": 1}}] * 100}).encode()
    accepted, done = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        rate, _ = load(service.port, 4, batch, {}, 1.0, "/v1/jobs:batch")
        accepted.append(rate * 100)
        while service.client().status()["waiting"]["count"]:
            time.sleep(0.02)
        done.append(rate * 100 / (time.perf_counter() - began))
    print("Batches of 100, 4 clients")
    told("accepted and fsynced", accepted, "jobs/s")
    told("run and recorded, attempts and events included", done, "jobs/s")


def commits_of(service: Service) -> float:
    """Transactions so far; a waited job needs two when it is alone, its submit with its claim and its end."""
    text = service.request("GET", "/metrics").body.decode()
    return float(
        next(
            line for line in text.splitlines() if line.startswith('longshore_store_seconds_count{op="commit"}')
        ).split()[1]
    )


def slot_figures() -> None:
    """An attempt into a slot and back, one at a time in each of two slots, with nothing around it."""
    pool = RealPool(count=2, apps=("longshore_samples.echo",))
    pool.until(lambda: pool.slots.free() == 2)
    rates: list[float] = []
    for _ in range(ROUNDS):
        began, first, number = time.perf_counter(), len(pool.listener.ends), 0
        while (done := len(pool.listener.ends) - first) < 20_000:
            while pool.slots.free() and number < 20_000:
                number += 1
                key = AttemptKey("uid", None, number + 1_000_000 * len(rates))
                pool.slots.run(Attempt(key, "job", "echo", b"{}"))
            pool.loop.turn()
        rates.append(done / (time.perf_counter() - began))
    pool.end()
    print("Slots alone, two of them")
    told("attempts run", rates, "/s    ")


def store_figures(folder: Path) -> None:
    """The engine's transaction against the least that SQLite can do for a job."""

    def raw(path: Path, jobs: int) -> float:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE j (id INTEGER PRIMARY KEY, spec BLOB, phase TEXT)")
        began = time.perf_counter()
        for n in range(jobs):
            db.execute("INSERT INTO j VALUES (?, ?, 'Pending')", (n, b'{"handler":"h"}'))
            db.execute("UPDATE j SET phase='Running' WHERE id=? AND phase='Pending'", (n,))
            db.execute("UPDATE j SET phase='Succeeded' WHERE id=? AND phase='Running'", (n,))
        rate = jobs / (time.perf_counter() - began)
        db.close()
        return rate

    def ours(path: Path, jobs: int, group: int) -> float:
        ledger = SqliteLedger(path)
        began = time.perf_counter()
        for at in range(0, jobs, group):
            uids = [str(n) for n in range(at, at + group)]
            ledger.commit(Batch(jobs=[JobRow(u, u, b'{"handler":"h"}', "q", "h", 0, 1.0, {}, "", "", "api", False) for u in uids],
                                claims=[ClaimRow(u, None, 1, "w", 1.0) for u in uids]))  # fmt: skip
            done = Standing("Succeeded", finished_at=2.0, expires_at=9e9, result=b"1")
            ledger.commit(Batch(ends=[EndRow(u, None, 1, "w", 1.0, 2.0, "succeeded", "", None, done) for u in uids],
                                events=[EventRow(3 * int(u) + k, u, u, "x", 1.0, b"") for u in uids for k in range(3)]))  # fmt: skip
        rate = jobs / (time.perf_counter() - began)
        ledger.close()
        return rate

    print("The store alone: insert + claim + finish")
    told("raw SQLite, three FULL commits a job", [raw(folder / f"raw{n}", 1000) for n in range(ROUNDS)], "jobs/s")
    for group in (1, 8, 64):
        values = [ours(folder / f"g{group}-{n}", 64 * (5 if group == 1 else 50), group) for n in range(ROUNDS)]
        told(f"ours, groups of {group}, attempt and 3 events a job", values, "jobs/s")


def line_figures() -> None:
    """100,000 waiting jobs: does a push or a take get dearer?"""
    print("The waiting line")
    for size in (1_000, 100_000):
        push, take = [], []
        for _ in range(ROUNDS):
            line = Line(QueuePolicy(), 0.0)
            began = time.perf_counter()
            for n in range(size):
                line.push(Entry(str(n), float(n), n % 4, str(n % 9)))
            middle = time.perf_counter()
            while line.pop(1e9):
                pass
            push.append((middle - began) / size * 1e6)
            take.append((time.perf_counter() - middle) / size * 1e6)
        told(f"{size:,} waiting: push", push, "µs    ")
        told(f"{size:,} waiting: take", take, "µs    ")


def waiting_figures(service: Service) -> None:
    """Submit rate while 100,000 jobs wait."""
    service.client().change_queue("default", {"paused": True})
    batch = json.dumps({"jobs": [{"handler": "echo"}] * 100}).encode()
    first, _ = load(service.port, 2, batch, {}, 1.0, "/v1/jobs:batch")
    while service.client().status()["waiting"]["count"] < 100_000:
        load(service.port, 2, batch, {}, 0.5, "/v1/jobs:batch")
    last, _ = load(service.port, 2, batch, {}, 1.0, "/v1/jobs:batch")
    print("Submit rate with an empty and with a full line")
    told("empty", [first * 100], "jobs/s")
    told("100,000 waiting", [last * 100], "jobs/s")
    told("ratio", [last / first], "×     ")


def idle_figures(service: Service) -> None:
    """Memory of every process, and how often the engine wakes with nothing to do."""

    def switches() -> int:
        text = Path(f"/proc/{service.pid}/status").read_text()
        return int(text.split("voluntary_ctxt_switches:")[1].split()[0])

    time.sleep(2)
    before = switches()
    time.sleep(10)
    print("Idle")
    told("wake-ups of the engine", [(switches() - before) / 10], "/s    ")
    total = 0.0
    for pid in (service.pid, *descendants(service.pid)):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        size = int(text.split("\nPss:")[1].split()[0]) / 1024
        total += size
        told(
            f"PSS {Path(f'/proc/{pid}/cmdline').read_bytes().decode().split(chr(0))[2][:40]} ({pid})", [size], "MiB   "
        )
    told("PSS in all", [total], "MiB   ")


def restarted(work: Callable[[Service], None], folder: Path) -> None:
    """With a service of its own."""
    service = Service(folder, {"log_level": "error", "retention_jobs": 1000})
    service.start()
    try:
        work(service)
    finally:
        service.end()


def main() -> None:
    """All of them."""
    print(
        f"{os.cpu_count()} processors, Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}; median (range)\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        restarted(idle_figures, folder / "idle")
        line_figures()
        slot_figures()
        store_figures(folder)
        echo, port = bare_echo(folder)
        try:
            restarted(lambda service: http_figures(service, port), folder / "http")
        finally:
            echo.send_signal(signal.SIGTERM)
            echo.wait()
        restarted(waiting_figures, folder / "waiting")


if __name__ == "__main__":
    main()
