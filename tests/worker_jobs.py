"""Handlers that a test can watch from outside: they say who they are, and wait until they are let go."""

import os
import time
from pathlib import Path

from longshore import Context, handler


@handler
def held(path: str) -> int:
    """Say which process this is, and stay until the file is there."""
    print(os.getpid())
    while not Path(path).exists():
        time.sleep(0.01)
    return os.getpid()


@handler(timeout_seconds=0.2, max_retries=7)
def hasty() -> None:
    """Never make it in time."""
    time.sleep(600)


@handler
def reports(path: str, ctx: Context) -> None:
    """Report without end, until the file is there."""
    percent = 0.0
    while not Path(path).exists():
        percent = min(99.0, percent + 0.01)  # no test lasts until it stands still
        ctx.progress(percent, f"at {percent}")
        time.sleep(0.005)
    print("done with it")


@handler
def sized(size: int) -> str:
    """Return so many letters."""
    return "x" * size


@handler
def marks(path: str, gate: str, ctx: Context) -> int | None:
    """Add a line to the file, and stay until the gate is there; an array's item says its index and has its own gate."""
    with Path(path).open("a") as file:
        file.write(f"{os.getpid() if ctx.index is None else ctx.index}\n")
    while not Path(gate if ctx.index is None else f"{gate}-{ctx.index}").exists():
        time.sleep(0.01)
    return ctx.index


@handler
def nests(depth: int) -> list[object]:
    """Return lists in lists."""
    found: list[object] = []
    for _ in range(depth):
        found = [found]
    return found
