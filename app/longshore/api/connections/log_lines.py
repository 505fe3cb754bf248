"""What the api process writes to its log: one JSON object a line, with time and level, whatever a caller sends.

On a terminal the same as text, in which control characters of a caller are escaped: a path cannot forge a line.
"""

import datetime
import logging
import time
from typing import Any

import orjson
from gunicorn.glogging import Logger

MAX_PATH = 1000
"""Characters of a path that are logged."""


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, as the engine writes it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")


class JsonLines(logging.Formatter):
    """One object a line; ``action`` is who speaks."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as JSON; one that cannot be formatted says so instead of raising."""
        try:
            message = record.getMessage()
        except (
            Exception
        ) as error:  # arguments that do not fit their message: a library's mistake, not worth a lost line
            message = f"{record.msg} ({type(error).__name__})"
        line = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "action": record.name,
            "message": message,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json_line(line)


def json_line(fields: dict[str, Any]) -> str:
    """The fields as JSON. Text that is not Unicode is shown with its odd characters replaced."""
    try:
        return orjson.dumps(fields, default=str).decode()
    except TypeError:
        plain = {name: str(value).encode("utf-8", "replace").decode() for name, value in fields.items()}
        return orjson.dumps(plain).decode()


def text_line(fields: dict[str, Any]) -> str:
    """The fields for a person."""
    clock = datetime.datetime.now().strftime("%H:%M:%S")
    told = " ".join(
        f"{name}={_shown(value)}" for name, value in fields.items() if name not in ("time", "level", "action")
    )
    return f"{clock} {fields['level']:<7} {fields['action']} {told}"


def _shown(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text.isascii() else ascii(text)


class RequestLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's logger, with lines of ours. Never raises: a request is not refused because its line is odd."""

    json = True
    only_errors = True
    """Whether requests that went well cost no line."""

    def setup(self, cfg: Any) -> None:
        """As gunicorn says, in our form."""
        super().setup(cfg)
        if self.json:
            for handler in self.error_log.handlers:
                handler.setFormatter(JsonLines())

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: datetime.timedelta) -> None:  # noqa: ARG002 - gunicorn calls it so
        """Called by gunicorn after every request that reached the application."""
        try:
            status = int(str(resp.status).split()[0])
            if status < 400 and self.only_errors:
                return
            path = str(environ.get("PATH_INFO", "")).encode("latin-1", "replace").decode("utf-8", "replace")
            known = {name.lower(): value for name, value in resp.headers}
            self._request(status, str(environ.get("REQUEST_METHOD", "")), path, request_time.total_seconds(),
                          known.get("x-request-id", ""))  # fmt: skip
        except Exception:  # see the class
            self.exception("A request could not be logged")

    def refused(self, status: int, detail: str, address: str, request_id: str) -> None:
        """Called for every request that did not reach the application."""
        self._write({"level": "warning", "action": "request_refused", "status": status, "detail": detail, "from": address,
                     "requestId": request_id})  # fmt: skip

    def _request(self, status: int, method: str, path: str, seconds: float, request_id: str) -> None:
        level = "error" if status >= 500 else "warning" if status >= 400 else "info"
        self._write({"level": level, "action": "request", "method": method[:20], "path": path[:MAX_PATH], "status": status,
                     "seconds": seconds, "requestId": request_id})  # fmt: skip

    def _write(self, fields: dict[str, Any]) -> None:
        if self.access_log_enabled:
            line = {"time": timestamp(time.time()), **fields}
            self.access_log.info("%s", json_line(line) if self.json else text_line(line))
