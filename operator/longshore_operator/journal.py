"""The operator's log: one JSON object a line, on standard error."""

import logging
import sys
import time

import orjson

from longshore.job.spec import rfc3339_at

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Journal:
    """``journal("worker_lost", level="warning", worker=…)``."""

    def __init__(self, level: str = "info") -> None:
        self._least = LEVELS.get(level, 20)

    def __call__(self, action: str, *, level: str = "info", **fields: object) -> None:
        if LEVELS[level] >= self._least:
            line = {"at": rfc3339_at(time.time()), "level": level, "action": action, **fields}
            sys.stderr.write(orjson.dumps(line, default=str).decode() + "\n")
            sys.stderr.flush()


class Handler(logging.Handler):
    """Takes the lines of modules and libraries that use ``logging``."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        action = getattr(record, "action", record.name)
        self._journal(action, level=level if level in LEVELS else "info", detail=record.getMessage())
