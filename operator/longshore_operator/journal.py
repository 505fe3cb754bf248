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
DEBUG = "longshore.operator.debug"
"""Logger above those of all debug lines."""
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Journal:
    """``journal("worker_lost", level="warning", worker=…)``."""

    def __init__(self, level: str = "info") -> None:
        self._configured = level if level in LEVELS else "info"
        self._least = LEVELS[self._configured]

    def __call__(self, action: str, *, level: str = "info", **fields: object) -> None:
        if LEVELS[level] >= self._least:
            self._write(action, level, fields)

    def switch(self, *, debug: bool) -> None:
        """Write debug lines too, or again what the settings say. A line tells of the change, whatever the level is."""
        name = "debug" if debug else self._configured
        self._least = LEVELS[name]
        set_debugging(on=name == "debug")
        self._write("log_level", "info", {"now": name, "configured": self._configured})

    def take_over(self) -> None:
        """Take the lines of modules and libraries that use ``logging`` too: of libraries from warnings up."""
        logging.basicConfig(handlers=[Handler(self)], level=logging.WARNING, force=True)
        logging.getLogger("longshore.tls").setLevel(logging.INFO)  # a renewed certificate is worth a line
        set_debugging(on=self._configured == "debug")

    @staticmethod
    def _write(action: str, level: str, fields: dict[str, object]) -> None:
        line = {"at": rfc3339_at(time.time()), "level": level, "action": action, **fields}
        sys.stderr.write(_text(line) + "\n")
        sys.stderr.flush()


class DebugLog:
    """Debug lines of a module: ``if debug: debug("offer_answered", worker=…)``. One that is off costs the question alone."""

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(f"{DEBUG}.{name}")

    def __bool__(self) -> bool:
        return self._log.isEnabledFor(logging.DEBUG)

    def __call__(self, action: str, **fields: object) -> None:
        self._log.debug(action, extra={"action": action, "fields": fields})


def set_debugging(*, on: bool) -> None:
    """Whether debug lines are made. Libraries keep silent: what kopf and aiohttp say at debug is of no use here."""
    logging.getLogger(DEBUG).setLevel(logging.DEBUG if on else logging.WARNING)


class Handler(logging.Handler):
    """Takes the lines of modules and libraries that use ``logging``."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        action = getattr(record, "action", record.name)
        if (fields := getattr(record, "fields", None)) is not None:  # a DebugLog's
            self._journal(action, level=level, **fields)
            return
        told = {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            told["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))[-MAX_TRACEBACK:]
        self._journal(action, level=level if level in LEVELS else "info", detail=record.getMessage(), **told)


def _text(line: dict[str, object]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # half a surrogate pair, a number of 30 digits: what somebody wrote must not end its teller
        return json.dumps(line, default=str)
