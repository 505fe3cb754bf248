"""gunicorn as a child of the engine: started, watched, started again, stopped last.

The engine owns the listening socket and hands it down, so that a client who connects while the api process is being
replaced waits a moment instead of being refused; and a port that is taken is the engine's own clear error.
"""

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from longshore.engine.loop import READ, Loop, Timer
from longshore.engine.port_holder import port_holder
from longshore.engine.reload import inherited
from longshore.errors import AppError, StartError

SERVING = Path(__file__).parents[1] / "api" / "serving.py"
BACKLOG = 1024  # newcomers wait here while old connections are closed for them
PORT_PATIENCE_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.1  # before a dead api is started again; doubled up to the longest
LONGEST_PAUSE_SECONDS = 5.0
STEADY_SECONDS = 10.0  # an api that lived so long starts anew with the first pause
STOP_SECONDS = 12.0  # gunicorn's graceful_timeout of 10 s and a little
_PR_SET_PDEATHSIG = 1


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A listening TCP socket; raises StartError that says what to do when the port is taken."""
    if (there := inherited(host, port, setting)) is not None:
        return there
    limit = time.monotonic() + PORT_PATIENCE_SECONDS
    while True:
        try:
            return _bound(host, port)
        except OSError as error:
            # The api of an engine that was killed a moment ago may hold the port a moment longer.
            if error.errno != errno.EADDRINUSE or time.monotonic() > limit:
                option = setting.replace("_", "-")
                hint = f"; choose another with LONGSHORE_{setting.upper()} or --{option}" if port else ""
                holder = port_holder(port) if error.errno == errno.EADDRINUSE else ""
                what = f"{error.strerror or error}{holder and f', {holder}'}"
                raise StartError(f"cannot listen on {host}:{port}: {what}{hint}") from error
            time.sleep(0.05)


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


class Web:
    """The api process. ``boot`` is what it needs to know: ``{"rpc", "db", "settings"}``.

    ``on_failed`` is called when the applications' routes cannot be served and never could: after a first good start
    the api is started again and again, as for any other death.
    """

    def __init__(self, loop: Loop, listener: socket.socket, boot: dict[str, object],
                 on_failed: Callable[[AppError], None], log: Callable[..., None],
                 on_ready: Callable[[], None] = lambda: None) -> None:  # fmt: skip
        self._loop, self._listener, self._boot = loop, listener, boot
        self._on_failed, self._on_ready, self._log = on_failed, on_ready, log
        self._ever_ready = False
        self._child: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._pause = FIRST_PAUSE_SECONDS
        self._started = 0.0
        self._log_signal: int | None = None
        """The last one that switched the log; a new api process begins with what it asked for."""
        self._timer: Timer | None = None
        self._kill: Timer | None = None
        self._stopped: Callable[[], None] | None = None
        self._gate = -1

    @property
    def pid(self) -> int | None:
        """Process id of gunicorn's arbiter, while there is one."""
        return self._child.pid if self._child else None

    def start(self, *, wait: bool = False) -> None:
        """Start gunicorn; it is started again whenever it dies. To ``wait``: it imports no application before ``go``."""
        fd = self._listener.fileno()
        reading, report = os.pipe()
        passed = {"fd": fd, "report": report}
        if wait:
            passed["gate"], self._gate = os.pipe()
        debug = {} if self._log_signal is None else {"debug": self._log_signal == signal.SIGUSR1}
        boot = orjson.dumps({**passed, **debug, **self._boot}).decode()
        environment = os.environ | {"LONGSHORE_API_BOOT": boot}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", str(SERVING)],
            stdin=subprocess.DEVNULL, env=environment, pass_fds=[*passed.values()], start_new_session=True,
            preexec_fn=_begin_child,
        )  # fmt: skip
        for descriptor in passed.values():
            if descriptor != fd:
                os.close(descriptor)
        self._loop.watch(reading, READ, lambda _events: self._said(reading))
        self._started = time.monotonic()
        self._pidfd = os.pidfd_open(self._child.pid)
        self._loop.watch(self._pidfd, READ, self._died)

    def _said(self, reading: int) -> None:
        """A worker is up, as ``+``, or why none can be, as ``-`` and a sentence; then the arbiter's end."""
        said = os.read(reading, 65536)
        if said[:1] == b"-" and not self._ever_ready:
            self._on_failed(AppError(said[1:].decode()))
        elif said[:1] == b"-":
            self._log("app_failed", level="error", detail=said[1:].decode())
        elif said:
            first, self._ever_ready = not self._ever_ready, True
            if self._log_signal is not None:
                self.switch_log(self._log_signal)  # it may have come while nobody there listened yet
            if first:
                self._on_ready()
        else:
            self._loop.unwatch(reading)
            os.close(reading)

    def switch_log(self, number: int) -> None:
        """Pass SIGUSR1 (debug lines) or SIGUSR2 (the level of the settings) on to the api process."""
        self._log_signal = number
        if self._child is not None:
            self._child.send_signal(number)

    def stop(self, done: Callable[[], None]) -> None:
        """End gunicorn gracefully, then by force, then call ``done``."""
        self._stopped = done
        if self._timer is not None:
            self._timer.cancel()
        if self._child is None:
            done()
            return
        self._child.send_signal(signal.SIGTERM)
        self._kill = self._loop.after(STOP_SECONDS, self._kill_group)

    def go(self) -> None:
        """Import the applications now, and serve."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1

    def kill(self) -> None:
        """End gunicorn at once; nobody has spoken to it yet."""
        self._stopped = lambda: None
        if self._timer is not None:
            self._timer.cancel()
        self._kill_group()
        if self._child is not None:
            self._died(0)
        self.go()

    def _kill_group(self) -> None:
        if self._child is not None:
            os.killpg(self._child.pid, signal.SIGKILL)

    def _died(self, _events: int) -> None:
        assert self._child is not None
        code = self._child.wait()
        self._loop.unwatch(self._pidfd)
        os.close(self._pidfd)
        _kill_leftovers(self._child.pid)
        self._child = None
        if self._kill is not None:
            self._kill.cancel()
        if self._stopped is not None:
            self._stopped()
            return
        if time.monotonic() - self._started > STEADY_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        self._log("api_died", level="error", exit_code=code, again_in_seconds=self._pause)
        self._timer = self._loop.after(self._pause, self.start)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)


def _kill_leftovers(group: int) -> None:
    # The arbiter may have died without its worker, which would go on taking requests from the shared socket.
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass  # the usual case: nobody is left


def _begin_child() -> None:
    # Until gunicorn has handlers of its own, a signal that switches the log would end it.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
