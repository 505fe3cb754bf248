"""Handlers that a test watches through files: which process runs them, in which order, how many at a time."""

import os
import signal
import time
from pathlib import Path

from longshore import Context, handler


@handler
def stays(path: str, ctx: Context, *, listens: bool = False, deaf: bool = False) -> str:
    """Write this process' id into the file and stay, until it is asked to go if it listens."""
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(path).write_text(str(os.getpid()))
    while not (listens and ctx.cancelled):
        time.sleep(0.01)
    return "went"


@handler
def held_until(path: str) -> bool:
    """Stay until the file is there."""
    while not Path(path).exists():
        time.sleep(0.01)
    return True


@handler
def spans(path: str, word: str = "", seconds: float = 0.0) -> None:
    """Add a line when it begins and one when it ends."""
    with open(path, "a") as file:
        file.write(f"+{word}\n")
    time.sleep(seconds)
    with open(path, "a") as file:
        file.write(f"-{word}\n")


@handler
def item(path: str, ctx: Context, *, bad: bool = False, word: str = "", base: str = "") -> dict[str, object]:
    """Add this item's index to the file; fail if it is a bad one."""
    with open(path, "a") as file:
        file.write(f"{ctx.index}:{base}{word}\n")
    if bad:
        raise ValueError(f"item {ctx.index} is bad")
    return {"index": ctx.index}


@handler
def bad_until(path: str, marker: str, ctx: Context) -> int:
    """Odd items fail until the marker is there."""
    with open(path, "a") as file:
        file.write(f"{ctx.index}\n")
    if (ctx.index or 0) % 2 and not Path(marker).exists():
        raise ValueError("not yet")
    return ctx.index or 0
