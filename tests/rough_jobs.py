"""Handlers that behave badly, as handlers do."""

import ctypes
import hashlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

from longshore import Context, handler


@handler
def raises(message: str = "no luck") -> None:
    """Raise."""
    raise KeyError(message)


@handler
def system_exit() -> None:
    """Leave by sys.exit."""
    sys.exit(3)


@handler
def hard_exit(code: int = 4) -> None:
    """Leave without a word."""
    os._exit(code)


@handler
def segfault() -> None:
    """Read where nothing is."""
    ctypes.string_at(0)


@handler
def base_exception() -> None:
    """Raise what `except Exception` does not catch."""
    raise BaseException("deep")


@handler
def unprintable() -> None:
    """Raise an exception that cannot be shown."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not even this")

    raise Broken


@handler
def daemon() -> int:
    """Leave a process behind that wants to stay."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        os.write(writing, str(pid).encode())
        os._exit(0)
    os.wait()
    return int(os.read(reading, 32))


@handler
def closes_output() -> None:
    """Close what it does not own."""
    os.close(1)
    os.close(2)


@handler
def huge_result(size: int = 10_000_000) -> str:
    """Return too much."""
    return "x" * size


@handler
def odd_result() -> object:
    """Return what JSON cannot carry."""
    return object()


@handler
def kills_itself() -> None:
    """Die as if the kernel had chosen this process."""
    os.kill(os.getpid(), signal.SIGKILL)


@handler
def naps(seconds: float = 600.0) -> None:
    """Sleep without ever looking up."""
    time.sleep(seconds)


@handler
def ignores_sigterm() -> None:
    """Refuse to go."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


@handler
def sometimes_stubborn(ctx: Context) -> None:
    """Refuse to go, but for the first item."""
    if ctx.index:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf")
    time.sleep(600)


@handler
def cooperates(ctx: Context) -> str:
    """Go as soon as it is asked to."""
    while not ctx.cancelled:
        time.sleep(0.005)
    return "went"


@handler
def never_looks_up() -> None:
    """Stay in C code that does not come back."""
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2_000_000_000)


@handler
def fills_memory() -> None:
    """Take all there is."""
    taken = []
    while True:
        taken.append(bytearray(8 << 20))
        time.sleep(0.01)


@handler
def prints(megabytes: int = 1) -> None:
    """Print a lot."""
    line = "x" * 1023 + "\n"
    for _ in range(megabytes * 1024):
        sys.stdout.write(line)


@handler
def leaks_a_thread() -> int:
    """Leave a thread behind."""
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return os.getpid()


@handler
def pid() -> int:
    """Say which process this is."""
    return os.getpid()


@handler(runner="process")
def fresh_pid() -> int:
    """Say which process this is; a new one each time."""
    return os.getpid()


@handler
async def asynchronous(x: int) -> int:
    """Be awaited."""
    return x + 1


@handler(max_retries=2)
def flaky(ctx: Context) -> int:
    """Fail twice."""
    if ctx.attempt < 3:
        raise ValueError("again")
    return ctx.attempt


@handler
def appends(path: str, word: str, seconds: float = 0.0) -> None:
    """Add a word to a file: shows how often a job really ran."""
    time.sleep(seconds)
    with open(path, "a") as file:
        file.write(word + "\n")


@handler
def context(ctx: Context) -> dict[str, object]:
    """Tell what the context knows."""
    return {
        "attempt": ctx.attempt, "index": ctx.index, "job": ctx.job, "key": ctx.idempotency_key,
        "traceparent": ctx.traceparent, "tracestate": ctx.tracestate, "remaining": ctx.remaining_seconds, "same": Context.current() is ctx,
    }  # fmt: skip


@handler
def holds(folder: str, ctx: Context) -> None:
    """Ends when there is a file ``go-INDEX`` in the folder."""
    print(f"item {ctx.index} waits", flush=True)
    while not ctx.cancelled and not (Path(folder) / f"go-{ctx.index}").exists():
        time.sleep(0.02)


@handler
def varied_luck(ctx: Context) -> None:
    """Fail twice, each time of something else."""
    if ctx.attempt < 3:
        kind = ValueError if ctx.attempt == 1 else OSError
        raise kind(f"bad luck {ctx.attempt} " + 246 * "x")


@handler
def reports_twice(folder: str, ctx: Context) -> None:
    """Report when somebody listens, and again when the first report was seen; end when the second was."""
    while not ctx.cancelled and not (Path(folder) / "seen-0").exists():
        time.sleep(0.05)
    for number, (percent, message) in enumerate([(10, "begun"), (60, "more")], start=1):
        ctx.progress(percent, message)
        while not ctx.cancelled and not (Path(folder) / f"seen-{number}").exists():
            time.sleep(0.25)  # longer than what is between two reports that leave the process


@handler
def reports_in_a_row(folder: str, ctx: Context) -> None:
    """Report twice at once, and end when the second was seen."""
    for percent, message in [(10, "begun"), (60, "more")]:
        ctx.progress(percent, message)
    while not ctx.cancelled and not (Path(folder) / "seen").exists():
        time.sleep(0.05)


@handler(priority=7, memory="512Mi", concurrency_key="one", ttl_seconds=60)
def particular() -> None:
    """Want a lot."""
