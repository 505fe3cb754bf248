"""A real worker for tests, and the operator's side of its attempts API."""

import itertools
import time
from pathlib import Path
from typing import Any

import orjson

from longshore.job.attempts import EndedEntry, Feed, Taken, TakenResults
from service import Answer, Service

TOKEN = "token-of-the-operator"
LONG = 30  # seconds that a poll may wait: an answer that comes with something to tell comes long before


def write_slow_app(folder: Path, name: str, text: str = "") -> Path:
    """A module that a worker's template imports until the returned file is there; its api, which imports it too, does not wait."""
    gate = folder / f"{name}-is-imported"
    wait = f'while "gunicorn" not in sys.modules and not pathlib.Path({str(gate)!r}).exists():\n    time.sleep(0.02)\n'
    (folder / f"{name}.py").write_text(f"import pathlib, sys, time\n{wait}{text}")
    return gate


class Worker(Service):
    """``python -m longshore worker`` on free loopback ports, and what an operator would do with it."""

    role = "worker"

    def __init__(self, folder: Path, settings: dict[str, object]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.tokens = folder / "tokens"
        self.tokens.write_text(f"{TOKEN}\n")
        super().__init__(folder, {"worker_tokens_file": str(self.tokens), "grace_seconds": 0.3, **settings})
        self.cursor = ""
        self._uids = itertools.count(1)

    def ask(self, method: str, path: str, body: object = None, *, token: str = TOKEN, **more: Any) -> Answer:
        """A request with the operator's token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.request(method, path, body, headers={**headers, **more.pop("headers", {})}, **more)

    def attempt(self, handler: str = "echo", *, number: int = 1, uid: str = "", **fields: object) -> dict[str, Any]:
        """An attempt as the operator writes it."""
        whole: dict[str, Any] = {
            "uid": uid or f"uid-{next(self._uids)}", "job": "a-job", "namespace": "default", "number": number,
            **({} if "command" in fields else {"handler": handler}), **fields,
        }  # fmt: skip
        return whole

    def offer(self, *attempts: dict[str, Any]) -> list[Taken]:
        """Hand attempts over; what became of each."""
        answer = self.ask("POST", "/v1/attempts", {"version": 1, "attempts": attempts})
        assert answer.status == 200, answer.body
        said = TakenResults.model_validate_json(answer.body, by_alias=True, by_name=False)
        assert [(one.uid, one.number) for one in said.results] == [(one["uid"], one["number"]) for one in attempts]
        return [one.result for one in said.results]

    def start(self, *, ready: bool = True) -> None:
        """Start it and wait until it takes attempts on every slot."""
        super().start(ready=ready)
        if ready:
            self._wait_free(None)

    def poll(self, after: str | None = None, *, wait: float = 0.0) -> Feed:
        """Ask the feed, from the test's own cursor unless told otherwise; the cursor goes on only by ``read``."""
        at = self.cursor if after is None else after
        answer = self.ask("GET", f"/v1/attempts?wait={wait:g}" + (f"&after={at}" if at else ""), timeout=LONG + 10)
        assert answer.status == 200, answer.body
        # As the operator reads it: results may be nested deeper than pydantic's own parser goes.
        return Feed.model_validate(orjson.loads(answer.body), strict=False, by_alias=True, by_name=False)

    def read(self, *, wait: float = 0.0) -> Feed:
        """Ask the feed, and acknowledge what it says with the next time."""
        feed = self.poll(wait=wait)
        self.cursor = feed.cursor
        return feed

    def outcome(self, attempt: dict[str, Any], *, seconds: float = LONG) -> EndedEntry:
        """Read the feed until the attempt has ended."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            for entry in self.read(wait=LONG).entries:
                if isinstance(entry, EndedEntry) and entry.uid == attempt["uid"] and entry.number == attempt["number"]:
                    return entry
        raise AssertionError(f"no outcome of {attempt} in time:\n{self.log.read_text()[-3000:]}")

    def _wait_free(self, slots: int | None) -> None:
        """Until so many slots are free; None: all of them."""
        limit, feed = time.monotonic() + LONG, self.poll("")
        while feed.slots.free < (feed.slots.total if slots is None else slots):
            assert time.monotonic() < limit
            feed = self.poll(feed.cursor, wait=5)

    def run(self, handler: str = "echo", **fields: Any) -> EndedEntry:
        """Run one attempt to its outcome, in the next slot that is free."""
        attempt = self.attempt(handler, **fields)
        self._wait_free(1)
        assert self.offer(attempt) == ["accepted"]
        return self.outcome(attempt)

    def stop_attempt(self, attempt: dict[str, Any], query: str = "") -> int:
        """Ask for its end; the status of the answer."""
        return self.ask("DELETE", f"/v1/attempts/{attempt['uid']}/{attempt['number']}{query}").status
