"""The operator's log: one JSON object a line, on standard error."""

import json
import logging
import sys
import time
import traceback

import orjson

from longshore.job.spec import rfc3339_at

FIELDS = ("kind", "namespace", "object", "job")  # of records that have them
MAX_TRACEBACK = 4000
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Journal:
    """``journal("worker_lost", level="warning", worker=…)``."""

    def __init__(self, level: str = "info") -> None:
        self._least = LEVELS.get(level, 20)

    def __call__(self, action: str, *, level: str = "info", **fields: object) -> None:
        if LEVELS[level] >= self._least:
            line = {"at": rfc3339_at(time.time()), "level": level, "action": action, **fields}
            sys.stderr.write(_text(line) + "\n")
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
        told = {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            told["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))[-MAX_TRACEBACK:]
        self._journal(action, level=level if level in LEVELS else "info", detail=record.getMessage(), **told)


def _text(line: dict[str, object]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # half a surrogate pair, a number of 30 digits: what somebody wrote must not end its teller
        return json.dumps(line, default=str)
