"""``longshore worker``: a worker's engine, its api and probes in one service, which holds nothing on a disk."""

import tempfile
from pathlib import Path

from longshore.engine.parent import Parent
from longshore.engine.worker import WorkerEngine
from longshore.errors import SettingsError, StartError
from longshore.settings import Settings
from longshore.store.results import open_results


class Worker(Parent):
    """The worker's service; ``run`` returns when it has ended."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        results = open_results(settings.results_dir)
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="longshore-")
        except OSError as error:
            raise StartError(f"cannot make a folder for the engine's socket: {error.strerror}; set TMPDIR") from error
        self.engine = WorkerEngine(self.loop, settings, self.journal, self._children, results)
        self._attach(self.engine, Path(self._folder.name) / "engine.sock", {"role": "worker"})

    def _jobs_url(self) -> str:
        return self.settings.api_url

    def _announce(self) -> None:
        self.journal("listening", url=self.url, boot=self.engine.boot)

    def _end(self) -> None:
        self._folder.cleanup()


def run(settings: Settings) -> None:
    """Run the worker until SIGTERM or Ctrl-C; raises StartError when it cannot start."""
    if settings.worker_tokens_file is None:
        raise SettingsError("worker_tokens_file: a worker needs it; the file holds the operator's token")
    if settings.debugpy:
        raise SettingsError("debugpy: belongs to `longshore serve`; a debugger is for where code is written")
    if settings.dev:
        raise SettingsError("dev: belongs to `longshore serve`; a worker gets new code with a new pod")
    Worker(settings).run()
