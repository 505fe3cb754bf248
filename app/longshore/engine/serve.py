"""``longshore serve``: engine, store, api and probes in one service on one machine."""

import gc

from longshore.engine.engine import Engine
from longshore.engine.journal import say
from longshore.engine.parent import Parent
from longshore.errors import SettingsError
from longshore.settings import Settings
from longshore.store.sqlite.ledger import SqliteLedger
from longshore.version import __version__


class Service(Parent):
    """The laptop's service; ``run`` returns when it has ended."""

    linger_seconds = 1.0  # after the last job of a drain, so that whoever polls can read its end

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.ledger = SqliteLedger(
            settings.database, synchronous=settings.synchronous, retention_jobs=settings.retention_jobs,
            retention_bytes=settings.retention_bytes,
        )  # fmt: skip
        if self.ledger.exposed:
            self.journal("data_dir_open", level="warning", detail=self.ledger.exposed)
        self.engine = Engine(self.loop, settings, self.ledger, self.journal, self._children)
        socket_path = settings.data_dir.absolute() / "engine.sock"
        self._attach(self.engine, socket_path, {"db": str(settings.database.absolute())})

    def _begin(self) -> None:
        lost = self.engine.restore()
        gc.freeze()  # a hundred thousand waiting jobs are no garbage: do not walk them for each batch that comes in
        gc.set_threshold(50_000, 20, 100)
        if lost:
            self.journal("recovered", level="warning", lost_attempts=lost)

    def _announce(self) -> None:
        url = self.url
        if self.journal.json:  # who reads the log is a program
            self.journal("listening", url=url, slots=self.engine.pool.size)
            return
        handler = "echo" if "echo" in self.engine.handlers else "HANDLER"
        say(f"Longshore {__version__} is ready on {url} with {self.engine.pool.size} slots. Try:")
        body = f'{{"handler": "{handler}", "args": {{"x": 1}}}}'
        say(f"  curl -s {url}/v1/jobs -H 'Content-Type: application/json' -H 'Prefer: wait=10' -d '{body}'")
        if self.settings.docs:
            say(f"API in a browser: {url}/docs. Stop with Ctrl-C.")

    def _end(self) -> None:
        self.engine.outbox.close()
        self.ledger.close()


def run(settings: Settings) -> None:
    """Run the service until SIGTERM or Ctrl-C; raises StartError when it cannot start."""
    if settings.auth == "kubernetes":
        raise SettingsError("auth: kubernetes belongs to `longshore api`; this service knows callers by tokens_file")
    if settings.worker_tokens_file is not None:
        # The settings let an address be reached by others because of it, but it guards a worker alone.
        raise SettingsError("worker_tokens_file: belongs to `longshore worker`; `longshore serve` has tokens_file")
    Service(settings).run()
