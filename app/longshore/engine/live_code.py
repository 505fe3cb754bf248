"""Development mode: code that was saved replaces the code that runs, while jobs run and others are submitted.

A save starts a second template and a second gunicorn beside those that serve; both wait for it with everything imported
but the applications. When both have imported the applications,
they take over in one step: free slots are replaced, a running job ends in the slot and the code that it began with, and
the old gunicorn answers what it has begun. When either cannot, both are ended, the old ones go on, and the traceback is
on the terminal and in each job that runs meanwhile. Another save while a trial is under way starts the trial again.

A change of the settings file reaches every part of the engine, so it takes the way of ``longshore reload``: jobs that run
may finish, and then the program begins anew with its sockets open.
"""

import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from longshore.engine.hello import Hello
from longshore.engine.journal import Journal
from longshore.engine.loop import Loop, Timer
from longshore.engine.reload import CHECK_SECONDS, Answer
from longshore.engine.slots import SlotPool
from longshore.engine.source_watch import Watcher
from longshore.engine.template import Template
from longshore.engine.web import Web
from longshore.errors import AppError, Conflict, LongshoreError, SettingsError, StartError
from longshore.settings import Settings

RESTART_SECONDS = 2.0
"""A trial is started anew by another save as long as the first save is younger than this; then it ends first."""
AGAIN_SECONDS = 0.5
SPARE_SECONDS = 0.5
"""After a reload, before the next one is prepared: what was waited for goes first."""
PACKAGE = Path(__file__).resolve().parents[1]

WebReady = Callable[[], None]
Failed = Callable[[AppError], None]


class CodeHost(Protocol):
    """What new code is put into: the parent of a service."""

    settings: Settings
    loop: Loop
    journal: Journal

    @property
    def pool(self) -> SlotPool: ...
    def new_web(self, on_ready: WebReady, on_failed: Failed) -> Web: ...
    def use_web(self, web: Web) -> Web: ...
    def when_settled(self, call: Callable[[], None]) -> None: ...
    def code_fault(self, text: str) -> None: ...
    def reload(self, answer: Answer) -> None: ...


class _Trial:
    """A template and a gunicorn that import what was saved."""

    def __init__(self, host: CodeHost, passed: Callable[["_Trial"], None], failed: Failed) -> None:
        self.hello: Hello | None = None
        self._host, self._passed, self._failed = host, passed, failed
        self._web_ready = self._over = False
        self.template: Template = host.pool.candidate(self._imported, self._broke)
        self.web = host.new_web(self._serves, self._broke)
        self._late: Timer | None = None

    def start(self, *, wait: bool) -> None:
        """Start both; to ``wait`` is to import what every application needs, and no application before ``go``."""
        self.template.start(wait=wait)
        self.web.start(wait=wait)
        if not wait:
            self.go()

    def go(self) -> None:
        """Import what the code is now."""
        self._late = self._host.loop.after(CHECK_SECONDS, self._too_late)
        self.template.go()
        self.web.go()

    def end(self) -> None:
        """End both at once: nothing has been asked of them."""
        self.over()
        self._host.pool.drop_candidate()
        self.web.kill()

    def over(self) -> None:
        """Neither of them is asked about any more."""
        self._over = True
        if self._late is not None:
            self._late.cancel()

    def _imported(self, hello: Hello) -> None:
        self.hello = hello
        self._look()

    def _serves(self) -> None:
        self._web_ready = True
        self._look()

    def _look(self) -> None:
        if self.hello is not None and self._web_ready and not self._over:
            self._passed(self)

    def _broke(self, error: AppError) -> None:
        if not self._over:
            # Not from within the callback of what is about to be ended.
            self._host.loop.after(0.0, lambda: None if self._over else self._failed(error))

    def _too_late(self) -> None:
        self._broke(AppError(f"the import took longer than {CHECK_SECONDS:g} seconds"))


class LiveCode:
    """Watches the sources and puts what was saved in the place of what runs."""

    def __init__(self, host: CodeHost, settings_file: Path | None, reread: Callable[[], Settings]) -> None:
        if importlib.util.find_spec("watchfiles") is None:
            raise StartError("development mode needs watchfiles: pip install 'longshore[dev]'")
        self._host, self._file, self._reread = host, settings_file, reread
        self._watcher = Watcher(host.loop, host.settings, settings_file, self._changed, host.journal)
        self._spare: _Trial | None = None
        """Waits for the next save, with all imported but the applications: that is most of the time of a reload."""
        self._trial: _Trial | None = None
        self._first_saved = self._last_saved = 0.0
        self._again = self._closed = False
        self._retiring: list[Web] = []
        self._gone: Callable[[], None] | None = None

    def start(self) -> None:
        """Watch from now on."""
        self._watcher.start()
        self._prepare_soon()

    def _prepare_soon(self) -> None:
        self._host.loop.after(SPARE_SECONDS, self._prepare)

    def _prepare(self) -> None:
        if self._spare is None and self._trial is None and not self._closed:
            self._spare = self._new_trial(wait=True)

    def _new_trial(self, *, wait: bool) -> _Trial:
        trial = _Trial(self._host, self._passed, lambda error: self._refused(trial, error))
        trial.start(wait=wait)
        return trial

    def pids(self) -> list[int]:
        """Of every process that it has started and that no other list names."""
        webs = [*self._retiring, *(trial.web for trial in (self._trial, self._spare) if trial is not None)]
        return [pid for pid in (self._watcher.pid, *(web.pid for web in webs)) if pid is not None]

    def close(self, gone: Callable[[], None]) -> None:
        """Watch no more; ``gone`` is called when the last gunicorn that was replaced has answered what it had begun."""
        self._closed, self._gone = True, gone
        self._watcher.close()
        for trial in (self._trial, self._spare):
            if trial is not None:
                trial.end()
        self._trial = self._spare = None
        self._check_gone()

    def _check_gone(self) -> None:
        if self._gone is not None and not self._retiring:
            gone, self._gone = self._gone, None
            gone()

    # -- code ------------------------------------------------------------------------------------------------

    def _changed(self, paths: list[str]) -> None:
        if self._closed:
            return
        self._last_saved = max((_saved_at(path) for path in paths), default=0.0) or time.time()
        if any(Path(path).is_relative_to(PACKAGE) for path in paths):
            self._begin_anew()  # Longshore itself is being written
            return
        if self._file is not None and str(self._file.resolve()) in paths:
            self._settings_saved()
        if any(path.endswith(".py") for path in paths):
            self._code_saved()

    def _code_saved(self) -> None:
        if self._trial is None:
            self._first_saved = time.monotonic()
        elif time.monotonic() - self._first_saved > RESTART_SECONDS:
            self._again = True  # saves that never pause must not keep all of them out
            return
        else:
            self._trial.end()
        if self._spare is not None:
            self._trial, self._spare = self._spare, None
            self._trial.go()
        else:
            self._trial = self._new_trial(wait=False)

    def _passed(self, trial: _Trial) -> None:
        trial.over()
        # Claims that are on their way were made for slots that are about to go.
        self._host.when_settled(lambda: self._take_over(trial))

    def _take_over(self, trial: _Trial) -> None:
        if self._trial is not trial:
            return  # saved again meanwhile, or the service ends
        self._trial = None
        assert trial.hello is not None
        old = self._host.use_web(trial.web)
        self._retiring.append(old)
        old.stop(lambda: self._retired(old))
        self._host.pool.use_candidate(trial.hello)
        self._host.code_fault("")
        seconds = round(time.time() - self._last_saved, 3)
        self._host.journal("reloaded", seconds=seconds, handlers=len(trial.hello.handlers))
        self._once_more()

    def _retired(self, web: Web) -> None:
        self._retiring.remove(web)
        self._check_gone()

    def _refused(self, trial: _Trial, error: AppError) -> None:
        trial.end()
        if self._spare is trial:  # it died while it waited
            self._spare = None
            self._prepare_soon()
            return
        self._trial = None
        self._host.code_fault(error.message)
        self._host.journal("reload_failed", level="error", detail="the code that was saved does not start, and the "
                           f"code before it goes on: {error.message}")  # fmt: skip
        self._once_more()

    def _once_more(self) -> None:
        if self._again:
            self._again = False
            self._code_saved()
        self._prepare_soon()

    # -- settings --------------------------------------------------------------------------------------------

    def _settings_saved(self) -> None:
        try:
            if self._reread() != self._host.settings:
                self._begin_anew()
            else:
                self._code_saved()  # settings of an application, perhaps, which are read when it is imported
        except SettingsError as error:
            self._host.journal("reload_failed", level="error", detail=f"the settings before go on: {error.message}")

    def _begin_anew(self) -> None:
        try:
            self._host.reload(self._settings_tried)
        except Conflict:  # it is starting, or about to begin anew: in a moment it can, or need not
            self._host.loop.after(AGAIN_SECONDS, lambda: None if self._closed else self._begin_anew())

    def _settings_tried(self, error: LongshoreError | None) -> None:
        if error is not None:
            self._host.code_fault(error.message)  # its line in the log is written


def _saved_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0  # removed
