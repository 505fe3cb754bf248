"""The calls of the client that are about schedules."""

import secrets
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]
PAGE = 1000


class ScheduleCalls(ABC):
    """What a client asks of ``/v1/schedules``."""

    @abstractmethod
    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, *,
             headers: Mapping[str, str] | None = None, wait: float = 0.0) -> Json:  # fmt: skip
        """One request and its JSON answer."""

    def schedules(self) -> Iterator[Json]:
        """All schedules by name, page after page."""
        cursor = ""
        while True:
            query = urllib.parse.urlencode({"limit": PAGE, "cursor": cursor})
            page = self.call("GET", f"/v1/schedules?{query}")
            yield from page["items"]
            if not (cursor := page["nextCursor"]):
                return

    def schedule(self, name: str, *, next_times: int = 1) -> Json:
        """One schedule with its next times."""
        return self.call("GET", f"{_path(name)}?next={next_times}")

    def put_schedule(self, name: str, schedule: Mapping[str, Any]) -> Json:
        """Make a schedule or replace it: fields of the specification, or a manifest."""
        return self.call("PUT", _path(name), schedule)

    def delete_schedule(self, name: str) -> None:
        """Remove a schedule and its jobs."""
        self.call("DELETE", _path(name))

    def pause_schedule(self, name: str, *, on: bool = True) -> Json:
        """Create no more jobs of a schedule, or go on."""
        return self.call("POST", f"{_path(name)}:{'pause' if on else 'resume'}")

    def trigger_schedule(self, name: str, *, key: str = "") -> Json:
        """A job of the schedule now; sent under an idempotency key, a fresh one by default."""
        return self.call("POST", f"{_path(name)}:trigger", headers={"Idempotency-Key": key or secrets.token_hex(16)})


def _path(name: str) -> str:
    return f"/v1/schedules/{urllib.parse.quote(name, safe='')}"
