"""Handlers and views that count."""

import os
import signal
import threading
import time
from pathlib import Path

from flask import Blueprint, Response

from longshore import Context, Counter, Gauge, Histogram, handler

PAID = Counter("shop_paid", "Invoices paid.", ["currency"])
TOUCHED = Counter("shop_touched_total", "Handlers and views.")
DEPTH = Gauge("shop_depth", "Boxes in stock.")
BUSY = Gauge("shop_busy", "Handlers that run.", multiprocess_mode="livesum")
SIZE = Histogram("shop_size", "Sizes of boxes.", ["kind"], unit="bytes", buckets=(1, 10, 100))
STARTED = Gauge("shop_release", "Set at import.", ["version"])
STARTED.labels("1.2").set(1)

bp = Blueprint("shop", __name__, url_prefix="/shop")


@bp.post("/touch")
def touch() -> Response:
    TOUCHED.inc()
    DEPTH.set(7)
    return Response(status=204)


@handler
def pays(currency: str, times: int = 1) -> int:
    for _ in range(times):
        PAID.labels(currency).inc()
    TOUCHED.inc()
    DEPTH.set(3)
    SIZE.labels(kind="small").observe(5)
    return os.getpid()


@handler
def pays_many(labels: int) -> None:
    for number in range(labels):
        PAID.labels(f"C{number}").inc()


@handler
def counts_and_waits(counted: int, go_on: str, die: bool = False) -> None:
    with BUSY.track_inprogress():
        TOUCHED.inc(counted)
        while not Path(go_on).exists():
            time.sleep(0.01)
            TOUCHED.inc(0)
    if die:
        TOUCHED.inc(1000)
        os.kill(os.getpid(), signal.SIGKILL)


@handler
def counts_in_threads(threads: int, times: int) -> None:
    def count() -> None:
        for _ in range(times):
            TOUCHED.inc()

    working = [threading.Thread(target=count) for _ in range(threads)]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()


@handler
def counts_in_a_child() -> None:
    if os.fork() == 0:
        TOUCHED.inc(1000)
        os._exit(0)
    os.wait()
    TOUCHED.inc()


@handler
def makes_a_metric() -> None:
    Counter("shop_late", "Made inside a handler.")


@handler
def counts_oddly() -> None:
    TOUCHED.inc(float("nan"))
    TOUCHED.inc(float("inf"))
    DEPTH.set(float("-inf"))
    SIZE.labels("\ud800" * 500).observe(1)
    TOUCHED.inc()


@handler
def says(body: str, ctx: Context) -> None:
    """Writes a frame in place of its slot."""
    data = body.encode()
    os.write(3, len(data).to_bytes(4, "big") + data)
