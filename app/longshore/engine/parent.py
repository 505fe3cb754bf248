"""The parent process of a service, whatever its role: sockets, signals, api and probes around an engine.

From the first line to the last: listen, start the api and the slots, serve, drain on a signal, end them in order.
"""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from longshore import tls
from longshore.current_url import JOBS_URL
from longshore.engine.host import SlotHost
from longshore.engine.journal import Journal
from longshore.engine.loop import READ, Loop
from longshore.engine.probes import Probes
from longshore.engine.reload import Answer, NewCode, become_new
from longshore.engine.rpc import RpcServer
from longshore.engine.slots import become_subreaper
from longshore.engine.web import Web, listen
from longshore.errors import AppError, Conflict, LongshoreError
from longshore.settings import Settings

LOG_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
"""SIGUSR1: debug lines are written; SIGUSR2: the level is the one of the settings again."""


class Parent:
    """A role makes its engine, hands it to ``_attach``, and says what it does at its start, when ready, and at its end."""

    linger_seconds = 0.0
    """How long the api answers after the engine has nothing left to do."""

    def __init__(self, settings: Settings) -> None:
        become_subreaper()
        self.settings = settings
        self.journal = Journal(style=settings.log_format, level=settings.log_level)
        self.loop = Loop()
        if settings.tls_dir is not None:
            tls.server_context(settings.tls_dir)  # what is wrong with it is said before anything has started
        self._api_socket = listen(settings.host, settings.port, "port")
        self._probe_socket = listen(settings.probe_host or settings.host, settings.probe_port, "probe_port")
        self._stopping = self._ended = self._announced = False
        self._replacing = self._closing = False
        self._new_code = NewCode(self.loop, self.journal)
        self._signals = _Signals(self.loop, self._signalled)

    def _attach(self, engine: SlotHost, socket_path: Path, boot: dict[str, object]) -> None:
        """The engine of this role, where the api reaches it, and what else the api has to know."""
        self._engine = engine
        self.rpc = RpcServer(self.loop, socket_path, engine.commands.serve)
        self.probes = Probes(self.loop, self._probe_socket, engine.probe)
        self._boot = {"rpc": str(socket_path), "settings": self.settings.dump(), **boot}
        os.environ[JOBS_URL] = self._jobs_url()
        self.web = self.new_web(lambda: None, engine.cannot_start)

    def new_web(self, on_ready: Callable[[], None], on_failed: Callable[[AppError], None]) -> Web:
        """An api process, not started yet, at the listening socket that all of them share."""
        return Web(self.loop, self._api_socket, self._boot, on_failed, self.journal, on_ready)

    def _children(self) -> list[int]:
        return [*([self.web.pid] if self.web.pid else []), *self._new_code.pids()]

    def _jobs_url(self) -> str:
        """Where handlers of this service submit jobs of their own."""
        host, port = self._api_socket.getsockname()[:2]
        if host in ("0.0.0.0", "::"):
            return f"{self.url.partition('://')[0]}://localhost:{port}"
        return self.url

    @property
    def url(self) -> str:
        """Address of the api."""
        host, port = self._api_socket.getsockname()[:2]
        scheme = "https" if self.settings.tls_dir is not None else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def run(self) -> None:
        """Serve until told to stop; raises AppError when the applications do not import."""
        self._begin()
        self.web.start()
        self._engine.pool.start()
        self._engine.run(lambda: self._ended or self._engine.failure is not None or self._tell_ready())
        failure = self._engine.failure
        kept = self._kept_sockets() if self._replacing and failure is None else None
        self._close()
        if failure is not None:
            raise failure
        if kept is not None:
            become_new(kept)

    def _begin(self) -> None:
        """Before anything is started."""

    def _announce(self) -> None:
        """Say where the service is; called once, when it can run jobs."""

    def _end(self) -> None:
        """Let go of what the role holds."""

    def _tell_ready(self) -> bool:
        if self._engine.ready and not self._announced:
            self._announced = True
            self._announce()
        return False  # never a reason to stop

    def _signalled(self, number: int) -> None:
        if number in LOG_SIGNALS:
            self.journal.switch(debug=number == signal.SIGUSR1)
            self.web.switch_log(number)
            return
        if not self._stopping:
            self._stopping, self._replacing = True, False
            self.journal("stopping", signal=signal.Signals(number).name)
            if self._closing:
                return  # a reload was about to begin anew; now it ends there
            self._engine.finish(self.settings.drain_seconds, self._drained)
        elif number != signal.SIGHUP:  # a terminal that closes may send more than one, and asks for no haste
            self._engine.hurry()

    def _reload(self, answer: Answer) -> None:
        """Try the new code, tell how that went, and hand over to it; raises Conflict while something else is under way."""
        if self._stopping or self._replacing or self._engine.draining or not self._engine.ready:
            raise Conflict("the service is starting, draining, stopping or being reloaded")

        def checked(error: LongshoreError | None) -> None:
            if error is None and (self._stopping or self._engine.draining):
                error = Conflict("the service was told to drain meanwhile")
            answer(error)
            if error is None:
                self._replacing = True
                self._engine.hand_over(self.settings.drain_seconds, self._stop_web)

        self._new_code.check(checked)

    def _kept_sockets(self) -> dict[str, tuple[str, int, int]]:
        """Copies of the listening sockets, which close with the rest here; by setting, with the address that was set."""
        chosen = self.settings
        api, probes = os.dup(self._api_socket.fileno()), os.dup(self._probe_socket.fileno())
        return {"port": (chosen.host, chosen.port, api),
                "probe_port": (chosen.probe_host or chosen.host, chosen.probe_port, probes)}  # fmt: skip

    def _drained(self) -> None:
        self.loop.after(self.linger_seconds if self._engine.ready else 0.0, self._stop_web)

    def _stop_web(self) -> None:
        self._closing = True
        self._engine.waiters.close()
        self._close_side(lambda: self.web.stop(lambda: self._engine.pool.close(self._pool_closed)))

    def _close_side(self, closed: Callable[[], None]) -> None:
        """End what the role has started beside api and slots, then call ``closed``."""
        closed()

    def _pool_closed(self) -> None:
        self._ended = True

    def _close(self) -> None:
        if self._engine.failure is not None:
            done: list[bool] = []
            self.web.stop(lambda: self._engine.pool.close(lambda: done.append(True)))
            while not done:
                self.loop.turn()
        self.rpc.close()
        self.probes.close()
        self._api_socket.close()
        self._end()
        self.journal("stopped")


class _Signals:
    """Signals as bytes in the loop, so that a handler never interrupts a turn."""

    def __init__(self, loop: Loop, call: Callable[[int], None]) -> None:
        self._reading, self._writing = socket.socketpair()
        self._call = call
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, *LOG_SIGNALS):
            signal.signal(number, lambda _number, _frame: None)
        # A terminal that is closed ends the service as SIGTERM does; one that `nohup` started outlives it.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda _number, _frame: None)
        loop.watch(self._reading.fileno(), READ, self._ready)

    def _ready(self, _events: int) -> None:
        for number in self._reading.recv(64):
            self._call(number)
