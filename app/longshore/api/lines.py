"""The log of an api without an engine: what the libraries and the store say, as JSON lines in a pod."""

import logging
import sys
import time

import orjson

from longshore.settings import Settings


class JsonLines(logging.Formatter):
    """One object a line; ``action`` is who speaks."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as JSON."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
        line = {"time": when, "level": record.levelname.lower(), "action": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def set_up(settings: Settings) -> None:
    """To standard error, as the settings say."""
    handler = logging.StreamHandler()
    if settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty()):
        handler.setFormatter(JsonLines())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
