"""``longshore serve``: engine, store, api and probes in one service, from the first line to the last."""

import gc
import signal
import socket
from collections.abc import Callable

from longshore.engine.engine import Engine
from longshore.engine.journal import Journal, say
from longshore.engine.loop import READ, Loop
from longshore.engine.probes import Probes
from longshore.engine.rpc import RpcServer
from longshore.engine.slots import become_subreaper
from longshore.engine.web import Web, listen
from longshore.errors import SettingsError
from longshore.settings import Settings
from longshore.store.sqlite.ledger import SqliteLedger
from longshore.version import __version__

LINGER_SECONDS = 1.0  # after the last job of a drain, so that whoever polls can read its end


class Service:
    """The laptop's service; ``run`` returns when it has ended."""

    def __init__(self, settings: Settings) -> None:
        become_subreaper()
        self.settings = settings
        self.journal = Journal(style=settings.log_format, level=settings.log_level)
        self.loop = Loop()
        self._api_socket = listen(settings.host, settings.port, "port")
        self._probe_socket = listen(settings.probe_host or settings.host, settings.probe_port, "probe_port")
        ledger = SqliteLedger(
            settings.database, synchronous=settings.synchronous, retention_jobs=settings.retention_jobs
        )
        self.ledger = ledger
        self.engine = Engine(self.loop, settings, ledger, self.journal, self._children)
        socket_path = settings.data_dir.absolute() / "engine.sock"
        self.rpc = RpcServer(self.loop, socket_path, self.engine.commands.serve)
        self.probes = Probes(self.loop, self._probe_socket, self.engine.health)
        boot: dict[str, object] = {
            "rpc": str(socket_path),
            "db": str(settings.database.absolute()),
            "settings": settings.dump(),
        }
        self.web = Web(self.loop, self._api_socket, boot, self.journal)
        self._stopping = self._ended = False
        self._announced = False
        self._signals = _Signals(self.loop, self._signalled)

    def _children(self) -> list[int]:
        return [self.web.pid] if self.web.pid else []

    def run(self) -> None:
        """Serve until told to stop; raises AppError when the applications do not import."""
        lost = self.engine.restore()
        gc.freeze()  # a hundred thousand waiting jobs are no garbage: do not walk them for each batch that comes in
        gc.set_threshold(50_000, 20, 100)
        if lost:
            self.journal("recovered", level="warning", lost_attempts=lost)
        self.web.start()
        self.engine.pool.start()
        self.engine.run(lambda: self._ended or self.engine.failure is not None or self._announce())
        failure = self.engine.failure
        self._close()
        if failure is not None:
            raise failure

    def _announce(self) -> bool:
        """Say where the service is, once it can run jobs; never a reason to stop."""
        if self.engine.ready and not self._announced:
            self._announced = True
            host, port = self._api_socket.getsockname()[:2]
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            handler = "echo" if "echo" in self.engine.policies.handlers else "HANDLER"
            say(f"Longshore {__version__} is ready on {url} with {self.engine.pool.size} slots. Try:")
            body = f'{{"handler": "{handler}", "args": {{"x": 1}}}}'
            say(f"  curl -s {url}/v1/jobs -H 'Content-Type: application/json' -H 'Prefer: wait=10' -d '{body}'")
            if self.settings.docs:
                say(f"API in a browser: {url}/docs. Stop with Ctrl-C.")
        return False

    def _signalled(self, number: int) -> None:
        if not self._stopping:
            self._stopping = True
            self.journal("stopping", signal=signal.Signals(number).name)
            self.engine.finish(self.settings.drain_seconds, self._drained)
        else:
            self.engine.hurry()

    def _drained(self) -> None:
        self.loop.after(LINGER_SECONDS if self.engine.ready else 0.0, lambda: self.web.stop(self._web_stopped))

    def _web_stopped(self) -> None:
        self.engine.pool.close(self._pool_closed)

    def _pool_closed(self) -> None:
        self._ended = True

    def _close(self) -> None:
        if self.engine.failure is not None:
            done: list[bool] = []
            self.web.stop(lambda: self.engine.pool.close(lambda: done.append(True)))
            while not done:
                self.loop.turn()
        self.engine.outbox.close()
        self.rpc.close()
        self.probes.close()
        self._api_socket.close()
        self.ledger.close()
        self.journal("stopped")


class _Signals:
    """Signals as bytes in the loop, so that a handler never interrupts a turn."""

    def __init__(self, loop: Loop, call: Callable[[int], None]) -> None:
        self._reading, self._writing = socket.socketpair()
        self._call = call
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)
        loop.watch(self._reading.fileno(), READ, self._ready)

    def _ready(self, _events: int) -> None:
        for number in self._reading.recv(64):
            self._call(number)


def run(settings: Settings) -> None:
    """Run the service until SIGTERM or Ctrl-C; raises StartError when it cannot start."""
    if settings.auth == "kubernetes":
        raise SettingsError("auth: kubernetes belongs to `longshore api`; this service knows callers by tokens_file")
    Service(settings).run()
