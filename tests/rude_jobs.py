"""Handlers that leave traces in their slot, or talk out of turn."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from longshore import Context, JobCancelled, handler

_kept: list[bytearray] = []


@handler
def writes_to_control(text: str) -> None:
    """Write on the socket that belongs to the slot."""
    os.write(3, bytes.fromhex(text))
    time.sleep(0.05)


@handler
def closes_everything() -> str:
    """Close all descriptors, as old daemon recipes do."""
    os.closerange(3, 256)
    return "closed"


@handler
def fork_that_comes_back(ctx: Context) -> str:
    """Fork, and let the child return from the handler too."""
    if os.fork() == 0:
        ctx.progress(1, "child")
        return "child"
    os.wait()
    return "parent"


@handler
def sets_an_alarm(seconds: float = 0.1) -> None:
    """Leave a timer running that ends the process."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


@handler
def blocks_signals() -> None:
    """Leave SIGTERM blocked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


@handler
def changes_folder() -> None:
    """Go elsewhere."""
    os.chdir("/")


@handler
def folder() -> str:
    """Where am I?"""
    return str(Path.cwd())


@handler
def changes_umask() -> None:
    """Make every later file writable for all."""
    os.umask(0)


@handler
def umask() -> int:
    """Which bits do new files lack?"""
    os.umask(before := os.umask(0o22))
    return before


@handler
def closes_stdout() -> str:
    """Close the stream, not the descriptor."""
    sys.stdout.close()
    return "done"


@handler
def replaces_stdout() -> str:
    """Send what is printed elsewhere, for good."""
    sys.stdout = io.StringIO()
    return "done"


@handler
def says(text: str = "hello") -> None:
    """Print a line."""
    print(text)


@handler
def half_a_line() -> str:
    """Print without an end of line and close the descriptor below."""
    print("half", end="")
    os.close(1)
    return "done"


@handler
def odd_text_in_error() -> None:
    """Raise with a file name that is no UTF-8, as the file system gives them."""
    raise FileNotFoundError("caf\udce9.txt")


@handler
def odd_text_in_progress(ctx: Context) -> str:
    """Report a file name that is no UTF-8."""
    ctx.progress(1, "first")
    ctx.progress(2, "caf\udce9.txt")
    return "done"


@handler
def long_error(size: int = 5_000_000) -> None:
    """Raise with a very long message."""
    raise ValueError("x" * size)


@handler
def dies_behind_its_own_back(seconds: float = 0.1) -> str:
    """Return, and end the process a moment later."""
    threading.Thread(target=lambda: (time.sleep(seconds), os._exit(7)), daemon=True).start()
    return "done"


@handler
def cleans_up(path: str) -> None:
    """Write down how it was ended."""
    try:
        Path(path + ".started").touch()
        time.sleep(600)
    except JobCancelled:
        Path(path).write_text("JobCancelled")
        print("cleaned up")
        raise


@handler
async def cleans_up_awaited(path: str) -> None:
    """Write down that its end was seen inside the coroutine."""
    try:
        Path(path + ".started").touch()
        await asyncio.sleep(600)
    finally:
        Path(path).write_text("finally")
        print("cleaned up")


@handler
def swallows_everything(path: str) -> None:
    """Catch what says that it is over, again and again."""
    Path(path + ".started").touch()
    while True:
        try:
            time.sleep(600)
        except BaseException:
            print("no")


@handler
def chatters() -> None:
    """Print without end."""
    while True:
        sys.stdout.write("x" * 65535 + "\n")


@handler
def reports(times: int, ctx: Context) -> None:
    """Report progress often."""
    for number in range(times):
        ctx.progress(100 * (number + 1) / times, f"{number + 1}")


@handler
def keeps(megabytes: int) -> int:
    """Keep memory after the end."""
    _kept.append(bytearray(os.urandom(1 << 20) * megabytes))
    return os.getpid()


@handler
def child_fills_memory() -> None:
    """Let another process take the memory."""
    code = "import time; x = bytearray(b'x') * (300 << 20); time.sleep(600)"
    subprocess.run([sys.executable, "-c", code], check=True)


@handler
def terminates_itself() -> str:
    """Send itself the signal that Longshore stops jobs with."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)
    return "never"


@handler
def raises_cancelled() -> None:
    """Pretend to have been cancelled."""
    raise JobCancelled("of my own will")


@handler
def appends_after(path: str) -> None:
    """Leave a trace of having run."""
    with open(path, "a") as file:
        file.write("ran\n")


@handler
def looks_around() -> dict[str, object]:
    """What a job finds in its process."""
    fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
    return {
        "fds": len(fds), "session": os.getsid(0) == os.getpid(), "stdin": os.read(0, 10).decode(),
        "core": Path("/proc/self/limits").read_text().split("core file size")[1].split()[:2],
        "engine": os.getppid(),
    }  # fmt: skip
