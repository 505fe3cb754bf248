"""Handlers that change their process, fork, start threads or draw random numbers, as programs do that own their interpreter."""

import asyncio
import atexit
import contextvars
import decimal
import gc
import locale
import logging
import logging.config
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, shared_memory
from pathlib import Path

from longshore import Context, handler, on_slot_start, on_slot_stop

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")
mine, seeded = random.Random(), random.Random(42)
mine_again = [random.Random()]
client: threading.Thread | None = None
opened: list[int] = []


@on_slot_start
def opens_a_client() -> None:
    """Make a client that has a thread."""
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    opened.append(os.getpid())


@on_slot_stop
def closes_the_client() -> None:
    """Write down that the slot ended in order."""
    note("stopped")


@atexit.register
def leaves() -> None:
    """Write down that the interpreter's own list was run."""
    note("atexit")


def note(what: str) -> None:
    """Into the folder that a job has told of."""
    if folder := _folder:
        with open(folder / "notes", "a") as file:
            file.write(f"{what} {os.getpid()}\n")


_folder: Path | None = None


@handler
def notes_go_to(folder: str) -> int:
    """Remember where hooks write."""
    global _folder
    _folder = Path(folder)
    return os.getpid()


@handler(runner="process")
def notes_go_to_alone(folder: str) -> int:
    """The same in a process of its own."""
    return notes_go_to(folder)


@handler
def who_opened() -> list[int]:
    """Which processes the hook ran in, as this one remembers."""
    return [os.getpid(), *opened]


# -- what is changed, and what is found ------------------------------------------------------------------------------


def state() -> dict[str, object]:
    """All that the table of docs/handlers.md says is put back."""
    root = logging.getLogger()
    return {
        "signals": [str(signal.getsignal(number)).partition(" at ")[0] for number in range(1, 32)],
        "variable": VARIABLE.get(), "environment": dict(os.environ), "zone": time.tzname, "folder": os.getcwd(),
        "logging": [root.level, len(root.handlers), logging.root.manager.disable, logging.getLogger("longshore.job").disabled,
                    logging.getLogger("guest").handlers, logging.getLogger("guest").propagate],
        "decimal": [decimal.getcontext().prec, decimal.DefaultContext.prec], "timeout": socket.getdefaulttimeout(),
        "recursion": sys.getrecursionlimit(), "switch": sys.getswitchinterval(), "digits": sys.get_int_max_str_digits(),
        "locale": locale.setlocale(locale.LC_ALL), "filters": len(warnings.filters), "argv": list(sys.argv),
        "path": list(sys.path), "stdin": os.read(0, 10).hex(), "stdin_closed": sys.stdin.closed, "hook": str(sys.excepthook),
        "gc": [gc.isenabled(), *gc.get_threshold()], "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "core": resource.getrlimit(resource.RLIMIT_CORE), "affinity": sorted(os.sched_getaffinity(0)),
        "trace": sys.gettrace() is None, "profile": threading.getprofile() is None, "mask": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "tracing": tracemalloc.is_tracing(), "stdout": [sys.stdout.encoding, sys.stdout.errors],
        "timer": signal.getitimer(signal.ITIMER_REAL)[0],
    }  # fmt: skip


@handler
def finds() -> dict[str, object]:
    """What a job finds."""
    return state()


@handler
def changes_everything() -> int:
    """Change all of that; each is right in a program of its own."""
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    VARIABLE.set("of a job")
    os.environ["TZ"] = "Asia/Kathmandu"
    time.tzset()
    os.environ["GUEST"] = "1"
    del os.environ["PATH"]
    logging.disable(logging.CRITICAL)
    logging.config.dictConfig({"version": 1, "root": {"level": "ERROR", "handlers": []}})
    logging.getLogger("guest").addHandler(logging.StreamHandler())
    logging.getLogger("guest").propagate = False
    logging.captureWarnings(True)
    decimal.getcontext().prec = 3
    decimal.DefaultContext.prec = 4
    socket.setdefaulttimeout(0.001)
    sys.setrecursionlimit(150)
    sys.setswitchinterval(1.0)
    sys.set_int_max_str_digits(640)
    locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C")
    warnings.simplefilter("error")
    sys.argv[:] = ["job"]
    sys.path.insert(0, "/nowhere")
    sys.stdin.close()
    os.dup2(os.open("/proc/self/status", os.O_RDONLY), 0)
    sys.excepthook = print  # type: ignore[assignment]
    gc.disable()
    gc.set_threshold(1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    threading.setprofile(lambda *_: None)
    os.chdir("/")
    os.umask(0)
    sys.stdout.reconfigure(encoding="ascii", errors="strict")  # type: ignore[union-attr]
    tracemalloc.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.setitimer(signal.ITIMER_REAL, 600)
    return os.getpid()


@handler
def status_of_false() -> int:
    """What `false` exits with; 0 where SIGCHLD is ignored."""
    return subprocess.run(["false"], check=False).returncode


@handler
def logs(ctx: Context) -> None:
    """Write a line by each way there is."""
    ctx.log.info("logged")
    logging.getLogger("guest").warning("warned")
    print("printed")


@handler
def logs_anew() -> None:
    """Set up logging for this run, as a script does at its beginning."""
    shop = logging.getLogger("shop")
    shop.addHandler(logging.StreamHandler(sys.stdout))
    shop.setLevel(logging.INFO)
    shop.propagate = False
    shop.info("a line")


@handler
def configures_logging() -> None:
    """What migrations and frameworks do in the process that calls them."""
    handlers = {"h": {"class": "logging.StreamHandler"}}
    logging.config.dictConfig({"version": 1, "handlers": handlers, "root": {"level": "INFO", "handlers": ["h"]}})


@handler
def asks_for_the_loop() -> str:
    """Code from before asyncio.run."""

    async def body() -> str:
        return "ok"

    return asyncio.get_event_loop_policy().get_event_loop().run_until_complete(body())


@handler
async def is_awaited() -> str:
    """Code from after it."""
    return "ok"


@handler
def installs_uvloop() -> str:
    """Change the policy for good."""
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return str(os.getpid())


@handler
def names_the_policy() -> str:
    """Whose loops are made."""
    return type(asyncio.get_event_loop_policy()).__module__


@handler
def leaks_descriptors(count: int = 1) -> int:
    """Leave files open."""
    for _ in range(count):
        os.open(os.devnull, os.O_RDONLY)
    return os.getpid()


@handler
def takes_all_descriptors() -> int:
    """Leave no descriptor to anybody."""
    try:
        while True:
            os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return os.getpid()


@handler
def lowers_a_limit_for_good() -> int:
    """A hard limit that only root could raise again."""
    if os.geteuid() == 0:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
    return os.getpid()


@handler
def fails_at_once() -> None:
    """As when something in the process is broken."""
    raise OSError(str(os.getpid()))


# -- processes -------------------------------------------------------------------------------------------------------


def square(n: int) -> int:
    """For pools."""
    return n * n


@handler
def pools(times: int, workers: int = 2) -> int:
    """Leaving the block ends the workers by SIGTERM."""
    for _ in range(times):
        with get_context("fork").Pool(workers) as pool:
            assert pool.map(square, range(4)) == [0, 1, 4, 9]
    return times


@handler
def uses_the_fork_server() -> list[int]:
    """The default of Python 3.14."""
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as pool:
        return list(pool.map(square, range(4)))


@handler
def shares_memory() -> str:
    """Leave shared memory behind; the module's own helper removes it."""
    return shared_memory.SharedMemory(create=True, size=1000).name


@handler
def interrupts_a_child() -> int:
    """Send SIGINT to a program that ends by it."""
    child = subprocess.Popen(["sleep", "600"])
    child.send_signal(signal.SIGINT)
    return child.wait()


@handler
def forks_and_is_told(number: int) -> int:
    """How a forked child ends by a signal."""
    if (pid := os.fork()) == 0:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            os._exit(77)
        os._exit(0)
    time.sleep(0.05)
    os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@handler
def child_leaves(code: int) -> int:
    """The child leaves as programs do."""
    if (pid := os.fork()) == 0:
        sys.exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@handler
def detaches_stdout() -> str:
    """Take the stream apart, as some do to change its encoding."""
    sys.stdout.detach()  # type: ignore[attr-defined]
    return "done"


@handler
def seeds() -> list[int]:
    """Seed what everybody draws from, for the sake of a repeatable run."""
    random.seed(1)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(1)
    return draws()


@handler
def child_raises() -> str:
    """The child leaves by an exception of its own."""
    if (pid := os.fork()) == 0:
        raise RuntimeError("of the child")
    return f"ended with {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}"


# -- random numbers --------------------------------------------------------------------------------------------------


def draws() -> list[int]:
    """From everything that draws."""
    found = [random.getrandbits(60), mine.getrandbits(60), mine_again[0].getrandbits(60)]
    if numpy := sys.modules.get("numpy"):
        found += [int(numpy.random.randint(10**15)), int(rng.integers(10**15)), int(old.randint(10**15))]
    return found


try:
    import numpy as _numpy

    rng, old = _numpy.random.default_rng(), _numpy.random.RandomState()
except ImportError:
    pass


@handler(runner="process")
def draws_alone() -> list[int]:
    """In a process of its own."""
    return [*draws(), seeded.getrandbits(60)]


@handler
def draws_warm(path: str = "") -> list[int]:
    """In a warm slot; with a path, until another has begun too."""
    return [os.getpid(), *draws()]


# -- threads ---------------------------------------------------------------------------------------------------------


@handler
def keeps_a_client() -> int:
    """A client that is made on first use and keeps its thread."""
    global client
    if client is None:
        client = threading.Thread(target=threading.Event().wait, daemon=True)
        client.start()
    return os.getpid()


@handler
def goes_on_working() -> int:
    """A thread of the job's own that works on."""

    def work() -> None:
        while True:
            time.sleep(0.01)
            print("from the job before")

    threading.Thread(target=work, daemon=True).start()
    return os.getpid()


@handler
def makes_clients(count: int = 1) -> int:
    """Clients that nobody closes."""
    for _ in range(count):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    return os.getpid()


@handler
def asks_in_a_thread() -> str:
    """The context, where the handler's own variables are not."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(Context.current().uid))
    thread.start()
    thread.join()
    return found[0]


# -- loops -----------------------------------------------------------------------------------------------------------


def wrote(path: str, text: str) -> None:
    """A trace."""
    Path(path).write_text(text)


@handler
async def consumes(path: str) -> None:
    """Background tasks that are always the ones that run."""
    queue: asyncio.Queue[int] = asyncio.Queue()
    for number in range(200_000):
        queue.put_nowait(number)

    async def consume() -> None:
        while True:
            await queue.get()
            sum(range(20_000))
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(consume()) for _ in range(3)]
    try:
        wrote(path + ".started", "")
        await queue.join()
    finally:
        wrote(path, "cleaned up")
        del tasks


@handler
def on_uvloop(path: str) -> None:
    """A loop of the handler's own choice."""
    import uvloop

    async def main() -> None:
        try:
            wrote(path + ".started", "")
            await asyncio.sleep(600)
        finally:
            wrote(path, "cleaned up")

    uvloop.run(main())


@handler
async def blocks_its_loop(path: str) -> None:
    """A loop that never turns."""
    try:
        wrote(path + ".started", "")
        time.sleep(600)
    finally:
        wrote(path, "cleaned up")


@handler
def in_a_loop_of_its_own(path: str) -> None:
    """What asyncio.run does, by hand, with a task beside."""

    async def beside() -> None:
        while True:
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(beside())
        try:
            wrote(path + ".started", "")
            await asyncio.sleep(600)
        finally:
            task.cancel()
            wrote(path, "cleaned up")

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
