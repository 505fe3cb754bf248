"""The template: a process that has imported the applications, never starts a thread, and forks slots.

``python -m longshore.slot.template FD CONFIG``: FD is a SEQPACKET socket to the engine, CONFIG a JSON object
``{"apps": [...], "engine": pid, "hook_seconds": float, "dev": whether they are being written,
"wait": whether the import waits for a packet}``. It says hello with the handlers (or with why it could not import them) and then
forks a slot for every packet that brings the slot's control socket and output pipe.
"""

import ctypes
import gc
import importlib
import inspect
import os
import signal
import socket
import sys
import traceback

import orjson
from pydantic import PydanticUserError

from longshore import apps, hooks, tracing
from longshore.app_metrics.changes import CHANGES
from longshore.app_metrics.declared import DECLARED
from longshore.errors import AppError
from longshore.handlers import Handler
from longshore.slot import child, generators, threads
from longshore.slot.frames import pack

CHUNK = 32 * 1024  # a packet must fit the socket's buffer; the list of handlers may not
_PR_SET_PDEATHSIG = 1


def describe(found: apps.Apps) -> list[dict[str, object]]:
    """The handlers as the engine tells them; raises AppError for arguments that are no JSON."""
    return [_described(handler) for handler in found.handlers.values()]


def _described(handler: Handler) -> dict[str, object]:
    try:
        return handler.describe()
    except PydanticUserError as error:
        first = str(error).splitlines()[0]
        raise AppError(f"handler {handler.name!r} of {handler.module}: arguments have to be JSON: {first}") from None


def send_chunked(sock: socket.socket, message: object) -> None:
    """A message in packets: ``+`` before each but the last, which has ``.``."""
    body = orjson.dumps(message)
    parts = [body[at : at + CHUNK] for at in range(0, len(body), CHUNK)]
    for part in parts[:-1]:
        sock.send(b"+" + part)
    sock.send(b"." + parts[-1])


def spawn(control: int, output: int, engine: int, hook_seconds: float) -> None:
    """Fork a slot that becomes a child of the engine: the process in between says its pid and leaves."""
    between = os.fork()
    if between == 0:
        try:
            slot = os.fork()
            if slot == 0:
                child.main(control, output, engine, hook_seconds)
            # Said before the slot can become the engine's child, so that the engine knows it when it does.
            os.write(control, pack({"hello": slot}))
            os._exit(0)
        except BrokenPipeError:
            os._exit(1)  # the engine has another template by now, and hears of no slot of this one
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(control)
    os.close(output)
    os.waitpid(between, 0)


def main() -> None:
    """Import, say hello, fork until the engine goes."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    config = orjson.loads(sys.argv[2])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != config["engine"]:
        return  # the engine died before we could ask to die with it
    signal.signal(signal.SIGINT, lambda _number, _frame: None)  # not ignored: programs that it starts would be deaf
    if config.get("wait"):  # what every application needs is imported, the application itself is not
        importlib.import_module("flask")
        importlib.import_module("asyncio")
        if not sock.recv(16):
            return
    # Two saves within a second leave bytecode that looks fresh and is of the first.
    sys.dont_write_bytecode = sys.dont_write_bytecode or bool(config.get("dev"))
    try:
        with generators.watched():
            found = apps.load(config["apps"])
            hooks.start("on_template_start", hooks.TEMPLATE_STARTS, config["hook_seconds"])
        handlers = describe(found)
    except AppError as error:
        send_chunked(sock, {"failed": apps.with_traceback(error) if config.get("dev") else error.message})
        return
    generators.find()
    # Taken, because what is counted here would be counted again by each slot.
    metrics = {"declared": list(DECLARED.by_name.values()), "counted": CHANGES.take()}
    send_chunked(sock, {"handlers": handlers, "threads": threads.started_at_import(), "metrics": metrics})
    if any(inspect.iscoroutinefunction(handler.function) for handler in found.handlers.values()):
        importlib.import_module("asyncio")  # once here, and not in every slot
    tracing.prepare()
    gc.collect()
    gc.freeze()  # what is here now is shared with every slot: keep the collector from touching its pages
    while True:
        _, fds, _, _ = socket.recv_fds(sock, 16, 2)
        if len(fds) != 2:
            return
        control, output = fds
        spawn(control, output, config["engine"], config["hook_seconds"])


if __name__ == "__main__":
    main()
