"""The log of an api process: what the application, the libraries and the store say, as JSON lines in a pod."""

import logging
import sys

from longshore.api.connections.log_lines import JsonLines
from longshore.settings import Settings


def as_json(log_format: str) -> bool:
    """Whether lines are JSON: as the setting says; ``auto`` is text on a terminal alone."""
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())


def set_up(settings: Settings) -> None:
    """To standard error, as the settings say; warnings of Python too."""
    handler = logging.StreamHandler()
    if as_json(settings.log_format):
        handler.setFormatter(JsonLines())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    logging.captureWarnings(True)
