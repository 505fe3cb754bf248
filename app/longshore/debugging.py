"""A debugger on slots and views: ``longshore serve --debugpy HOST:PORT``.

``python -m longshore.debugging HOST PORT ENGINE`` is a process that does nothing but listen for debuggers, with debugpy's
adapter behind it, so that one port serves as long as the service runs, whatever is replaced meanwhile. The api process and
every slot connect to that adapter as if they were subprocesses of this one (``attach``); a debugger that comes is told of
each of them, and of each that comes later. A slot connects after its fork, because debugpy runs threads, and is replaced
after its job, because a debugger changes what is put back after a job (trace functions, threads).
"""

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import threading

from longshore.errors import StartError

# Not LONGSHORE_…: those are settings, and an unknown one is refused. It is handed to processes, not set by people.
VARIABLE = "_LONGSHORE_DEBUGGER"
QUIET = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
"""debugpy warns of frozen modules of the standard library, in every process."""
PATIENCE_SECONDS = 5.0  # for a debugger that is told of a process and does not care for it
START_SECONDS = 30.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Listener:
    """The engine's end: started before everything that connects to it."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._child = subprocess.Popen(
            [sys.executable, "-m", "longshore.debugging", host.strip("[]"), port, str(os.getpid())],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env=os.environ | QUIET,
        )  # fmt: skip
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        late = threading.Timer(START_SECONDS, self._child.kill)
        late.start()
        said = self._child.stdout.readline()
        late.cancel()
        late.join()  # the engine forks, and starts nothing while it has a thread
        if not said:
            why = self._child.stderr.read().decode("utf-8", "replace").strip().splitlines()
            self._child.wait()
            raise StartError(f"cannot listen for debuggers on {address}: {why[-1] if why else 'it took too long'}")
        os.environ |= QUIET | {VARIABLE: said.decode()}

    @property
    def pid(self) -> int:
        """Of the process that listens."""
        return self._child.pid

    def close(self) -> None:
        """Listen no more; debuggers that are attached are told that this is the end."""
        os.environ.pop(VARIABLE, None)
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()


def attach() -> bool:
    """Connect this process to the adapter and, when a debugger is there, wait for its breakpoints; whether it did."""
    said = os.environ.pop(VARIABLE, "")
    if not said:
        return False
    import debugpy

    there = json.loads(said)
    importlib.import_module("debugpy.server.api")  # from here on pydevd, which comes with debugpy, can be imported
    # As debugpy.connect, which cannot be told the token of an adapter that another process has started.
    importlib.import_module("pydevd").settrace(
        host=there["host"], port=there["port"], access_token=there["token"], ppid=there["pid"], suspend=False,
        wait_for_ready_to_run=False, block_until_connected=True, patch_multiprocessing=True, notify_stdin=False,
        dont_trace_start_patterns=(os.path.dirname(debugpy.__file__),),
    )  # fmt: skip
    # Without a debugger the adapter lets go of the process at once. One that is there may ignore what it is told.
    over = threading.Event()
    threading.Thread(target=_limit_wait, args=(over, debugpy.wait_for_client), daemon=True).start()
    debugpy.wait_for_client()
    over.set()
    return True


def _limit_wait(over: threading.Event, waiting: object) -> None:
    while not over.wait(PATIENCE_SECONDS):
        try:
            waiting.cancel()  # type: ignore[attr-defined]  # debugpy's own, which has no type for it
        except RuntimeError:
            pass  # it has not begun to wait: this machine is slow


def main() -> None:
    """Listen until the engine goes."""
    host, port, engine = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The adapter leaves its parent. It becomes a child of this process, not of the engine, which ends what it does not know.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != engine:
        return  # the engine died before this process could ask to die with it
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # of the terminal; the engine ends this process
    try:
        import debugpy

        debugpy.listen((host, port))
    except (ImportError, RuntimeError) as error:
        sys.exit(str(error))
    # Where the adapter takes subprocesses: debugpy keeps it there, for processes that it starts itself.
    kept = importlib.import_module("pydevd").SetupHolder.setup
    there = {"host": kept["client"], "port": kept["port"], "token": kept["access-token"], "pid": os.getpid()}
    os.write(1, json.dumps(there).encode() + b"\n")
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
