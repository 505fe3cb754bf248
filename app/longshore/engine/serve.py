"""``longshore serve``: engine, store, api and probes in one service on one machine."""

import gc
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from longshore.debugging import Listener
from longshore.engine import reload
from longshore.engine.engine import Engine
from longshore.engine.hello import HandlerInfo
from longshore.engine.journal import say
from longshore.engine.live_code import LiveCode
from longshore.engine.parent import Parent
from longshore.engine.reload import Answer
from longshore.engine.slots import SlotPool
from longshore.engine.web import Web
from longshore.errors import SettingsError
from longshore.settings import Settings
from longshore.store.sqlite.ledger import SqliteLedger
from longshore.version import __version__


class Service(Parent):
    """The laptop's service; ``run`` returns when it has ended."""

    linger_seconds = 1.0  # after the last job of a drain, so that whoever polls can read its end

    def __init__(self, settings: Settings, file: Path | None, reread: Callable[[], Settings]) -> None:
        super().__init__(settings)
        self._debugger = Listener(settings.debugpy) if settings.debugpy else None
        self.ledger = SqliteLedger(
            settings.database, synchronous=settings.synchronous, retention_jobs=settings.retention_jobs,
            retention_bytes=settings.retention_bytes,
        )  # fmt: skip
        if self.ledger.exposed:
            self.journal("data_dir_open", level="warning", detail=self.ledger.exposed)
        self.engine = Engine(self.loop, settings, self.ledger, self.journal, self._children)
        self.engine.reload = self._reload
        socket_path = settings.data_dir.absolute() / "engine.sock"
        self._attach(self.engine, socket_path, {"db": str(settings.database.absolute())})
        self._live_code = LiveCode(self, file, reread) if settings.dev else None

    # -- what development mode puts new code into ------------------------------------------------------------

    @property
    def pool(self) -> SlotPool:
        """Where handlers run."""
        return self.engine.pool

    def use_web(self, web: Web) -> Web:
        """Serve by this api process from now on; returns the one before."""
        old, self.web = self.web, web
        return old

    def when_settled(self, call: Callable[[], None]) -> None:
        """Call when no claimed attempt is on its way to a slot."""
        if not self.engine.turn.starting:
            call()
            return
        self.engine.turn.urgent()
        self.loop.after(0.0, lambda: self.when_settled(call))

    def code_fault(self, text: str) -> None:
        """Why the code that was saved does not start; empty once it has."""
        self.engine.code_fault = text

    def reload(self, answer: Answer) -> None:
        """Begin anew with new settings, as ``longshore reload`` does."""
        self._reload(answer)

    def _children(self) -> list[int]:
        debugger = [self._debugger.pid] if self._debugger is not None else []
        return [*super()._children(), *debugger, *(self._live_code.pids() if self._live_code is not None else [])]

    def _close_side(self, closed: Callable[[], None]) -> None:
        if self._live_code is None:
            closed()
        else:
            self._live_code.close(closed)

    def _begin(self) -> None:
        if self._live_code is not None:
            self._live_code.start()
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
        say(f"Longshore {__version__} is ready on {url} with {self.engine.pool.size} slots.")
        body = example(self.engine.handlers.values(), commands=self.settings.commands)
        if body is None:
            say("It has no handlers: --apps or LONGSHORE_APPS names the modules that bring them.")
        else:
            token = "" if self.settings.tokens_file is None else ' -H "Authorization: Bearer $LONGSHORE_TOKEN"'
            wanted = f"-H 'Content-Type: application/json' -H 'Prefer: wait=10'{token}"
            say(f"Try:\n  curl -s {url}/v1/jobs {wanted} -d '{body}'")
        if self.settings.debugpy:
            say(f"A debugger of handlers and views attaches to {self.settings.debugpy}.")
        if self.settings.docs:
            say(f"API in a browser: {url}/docs. Stop with Ctrl-C.")

    def _end(self) -> None:
        if self._debugger is not None:
            self._debugger.close()
        self.engine.outbox.close()
        self.ledger.close()


def example(handlers: Iterable[HandlerInfo], *, commands: bool) -> str | None:
    """Body of a submit that this service takes; None when it could run nothing at all."""
    ready = [found for found in handlers if not cast("dict[str, object]", found["args"]).get("required")]
    for found in sorted(
        ready, key=lambda found: found["name"] != "echo"
    ):  # whatever it is called, it needs no arguments
        args: dict[str, object] = (
            {"x": 1} if cast("dict[str, object]", found["args"]).get("additionalProperties") is True else {}
        )
        return json.dumps({"handler": found["name"], **({"args": args} if args else {})})
    for found in handlers:
        args = example_args(cast("dict[str, object]", found["args"]))
        return json.dumps({"handler": found["name"], "args": args}).replace("'", "'\\''")
    return json.dumps({"command": ["echo", "hello"]}) if commands else None


_BY_TYPE: dict[str, object] = {"integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}, "null": None}


def example_args(schema: dict[str, object]) -> dict[str, object]:
    """A value for each argument that has to be given, by its type alone; text where nothing better is known."""
    fields = cast("dict[str, dict[str, object]]", schema.get("properties") or {})
    values: dict[str, object] = {}
    for name in cast("list[str]", schema.get("required") or []):
        field = fields.get(name, {})
        choices = cast("list[object]", field.get("examples") or field.get("enum") or [])
        values[name] = choices[0] if choices else _BY_TYPE.get(str(field.get("type")), "text")
    return values


def run(settings: Settings, file: Path | None, reread: Callable[[], Settings]) -> None:
    """Run the service until SIGTERM or Ctrl-C; raises StartError when it cannot start.

    ``file`` is the settings file, and ``reread`` reads the settings again when development mode sees it saved.
    """
    if settings.auth == "kubernetes":
        raise SettingsError("auth: kubernetes belongs to `longshore api`; this service knows callers by tokens_file")
    if settings.worker_tokens_file is not None:
        # The settings let an address be reached by others because of it, but it guards a worker alone.
        raise SettingsError("worker_tokens_file: belongs to `longshore worker`; `longshore serve` has tokens_file")
    if reload.is_check():
        reload.try_code(settings)
    Service(settings, file, reread).run()
