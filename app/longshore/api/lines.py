"""The log of an api process: what the application, the libraries and the store say, as JSON lines in a pod."""

import logging
import sys

from longshore.api.connections.log_lines import JsonLines
from longshore.settings import Settings

TELL_TOO_MUCH = ("kubernetes", "urllib3")
"""Libraries whose debug lines are never written: bodies of the API server's answers are in them, with callers' tokens."""


def as_json(log_format: str) -> bool:
    """Whether lines are JSON: as the setting says; ``auto`` is text on a terminal alone."""
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())


def set_up(settings: Settings) -> None:
    """To standard error, as the settings say; warnings of Python too."""
    handler = logging.StreamHandler()
    if as_json(settings.log_format):
        handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler])
    logging.captureWarnings(True)
    for name in TELL_TOO_MUCH:
        logging.getLogger(name).setLevel(logging.INFO)


def set_level(name: str) -> None:
    """Which lines are written from now on: ``debug``, ``info``, ``warning`` or ``error``."""
    logging.getLogger().setLevel(name.upper())
