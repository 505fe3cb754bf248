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
REFUSAL = "longshore.refusal"
"""Key of a WSGI environment: who was refused and why, as fields of the debug line."""


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
    requests = "errors"
    """Which requests cost a line, as the setting ``access_log`` says: ``all``, ``errors`` or ``off``."""
    debugging = False
    """Whether every request costs a line, which says why it was refused too; switched while the process runs."""

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
            wanted = self.requests == "all" or (self.requests == "errors" and status >= 400)
            if not wanted and not self.debugging:
                return
            path = str(environ.get("PATH_INFO", "")).encode("latin-1", "replace").decode("utf-8", "replace")
            known = {name.lower(): value for name, value in resp.headers}
            level = "error" if status >= 500 else "warning" if status >= 400 else "info" if wanted else "debug"
            self._write({
                "level": level, "action": "request", "method": str(environ.get("REQUEST_METHOD", ""))[:20],
                "path": path[:MAX_PATH], "status": status, "seconds": request_time.total_seconds(),
                "requestId": known.get("x-request-id", ""),
                **(self._at_debug(environ) if self.debugging else {}),
            })  # fmt: skip
        except Exception:  # see the class
            self.exception("A request could not be logged")

    def refused(self, status: int, detail: str, address: str, request_id: str) -> None:
        """Called for every request that did not reach the application."""
        if self.requests != "off" or self.debugging:
            self._write({"level": "warning", "action": "request_refused", "status": status, "detail": detail,
                         "from": address, "requestId": request_id})  # fmt: skip

    @staticmethod
    def _at_debug(environ: dict[str, Any]) -> dict[str, Any]:
        return {"from": environ.get("REMOTE_ADDR", ""), **environ.get(REFUSAL, {})}

    def switched(self, level: str, configured: str) -> None:
        """Say that the log has another level now."""
        self._write({"level": "info", "action": "log_level", "now": level, "configured": configured})

    def _write(self, fields: dict[str, Any]) -> None:
        line = {"time": timestamp(time.time()), **fields}
        self.access_log.info("%s", json_line(line) if self.json else text_line(line))
