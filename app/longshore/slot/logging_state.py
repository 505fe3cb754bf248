"""The logging configuration of a slot: of all loggers that were there when it was ready, and of those made since."""

import logging
from operator import attrgetter
from typing import Any

_of_logger = attrgetter("level", "disabled", "propagate", "handlers", "filters")
_OF_MODULE = ("raiseExceptions", "lastResort", "_loggerClass", "_logRecordFactory")


def _of_handler(handler: logging.Handler) -> tuple[Any, ...]:
    return handler.level, handler.formatter, handler.filters, getattr(handler, "stream", None)


class LoggingState:
    """What ``logging`` looked like; ``restore`` makes it so again.

    A logger that a job made, by importing a library or for itself, is set to a logger's defaults: else each job that
    adds a handler to it would double the next one's lines.
    """

    def __init__(self) -> None:
        self._manager = logging.root.manager
        self._loggers: list[logging.Logger] = [logging.root, *self._made()]
        self._names = set(self._manager.loggerDict)
        self._saved = [_copied(_of_logger(logger)) for logger in self._loggers]
        self._handlers = list({id(h): h for logger in self._loggers for h in logger.handlers}.values())
        self._saved_handlers = [_copied(_of_handler(handler)) for handler in self._handlers]
        self._disabled = self._manager.disable
        self._module = [getattr(logging, name, None) for name in _OF_MODULE]

    def _made(self) -> list[logging.Logger]:
        return [logger for logger in self._manager.loggerDict.values() if isinstance(logger, logging.Logger)]

    def restore(self) -> None:
        """Put back what differs."""
        if len(self._manager.loggerDict) != len(self._names):
            self._adopt()
        if self._manager.disable != self._disabled or list(map(_of_logger, self._loggers)) != self._saved:
            self._restore_loggers()
        if list(map(_of_handler, self._handlers)) != self._saved_handlers:
            self._restore_handlers()
        for name, found in zip(_OF_MODULE, self._module, strict=True):
            if getattr(logging, name, None) is not found:
                setattr(logging, name, found)
        if getattr(logging, "_warnings_showwarning", None) is not None:
            logging.captureWarnings(False)

    def _restore_loggers(self) -> None:
        self._manager.disable = self._disabled
        for logger, saved in zip(self._loggers, self._saved, strict=True):
            logger.level, logger.disabled, logger.propagate = saved[:3]
            logger.handlers[:], logger.filters[:] = saved[3:]
        if (clear := getattr(self._manager, "_clear_cache", None)) is not None:
            clear()  # of what each logger has found to be enabled

    def _restore_handlers(self) -> None:
        for handler, saved in zip(self._handlers, self._saved_handlers, strict=True):
            handler.level, handler.formatter = saved[:2]
            handler.filters[:] = saved[2]
            if saved[3] is not None:
                handler.stream = saved[3]  # type: ignore[attr-defined]  # it had one

    def _adopt(self) -> None:
        for logger in self._made():
            if logger.name not in self._names:
                quiet = [handler for handler in logger.handlers if isinstance(handler, logging.NullHandler)]
                self._loggers.append(logger)
                self._saved.append((logging.NOTSET, False, True, quiet, []))
        self._names = set(self._manager.loggerDict)
        known = set(map(id, self._loggers))
        for logger in self._made():  # was a mere placeholder before
            if id(logger) not in known:
                self._loggers.append(logger)
                self._saved.append((logging.NOTSET, False, True, [], []))


def _copied(value: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(list(part) if isinstance(part, list) else part for part in value)
