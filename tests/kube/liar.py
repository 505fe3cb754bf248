"""A worker that says whatever a test tells it to: the attempts API without anything behind it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
BOOT = "0badcafe"
TOLD_SECONDS = 0.2  # a poll that has nothing new waits so long


class Liar:
    """Takes every attempt and tells nothing true; ``say`` changes its feed from now on."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.offers: list[Json] = []
        self.stops: list[str] = []
        self.polls = 0
        self.heard: set[tuple[str, str]] = set()
        """Namespace and token of every request."""
        self.feed: Json = {
            "version": 1, "release": "0", "worker": "liar", "boot": BOOT, "cursor": f"{BOOT}:1", "entries": [],
            "slots": {"total": 2, "free": 2}, "draining": False, "handlers": [], "running": [],
        }  # fmt: skip
        self.answer: Callable[[], bytes] = lambda: json.dumps(self.feed).encode()
        self.status = 200
        self.patience = TOLD_SECONDS
        self.takes = threading.Event()
        """Attempts are taken when it is set; until then nobody is answered, and there is nothing to stop."""
        self.takes.set()
        self._said = threading.Event()
        self._server = ThreadingHTTPServer((host, 0), self._handler())
        self.port = int(self._server.server_address[1])

    def say(self, **changes: Any) -> None:
        """Of the feed."""
        self.feed = self.feed | changes
        self._said.set()

    def ends(self, uid: str, number: int, **changes: Any) -> None:
        """Tell of an end, under a new cursor."""
        seq = int(self.feed["cursor"].partition(":")[2]) + 1
        entry = {
            "kind": "ended", "seq": seq, "uid": uid, "number": number, "outcome": "succeeded", "result": "a lie",
            "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z", **changes,
        }  # fmt: skip
        self.say(entries=[entry], cursor=f"{self.feed['boot']}:{seq}")

    @contextmanager
    def serving(self) -> Iterator["Liar"]:
        """While the test needs it."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def parse_request(self) -> bool:
                fine = super().parse_request()
                if fine:
                    token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                    liar.heard.add((self.headers.get("Longshore-Namespace", ""), token))
                return fine

            def do_GET(self) -> None:
                liar.polls += 1
                liar._said.wait(liar.patience)
                liar._said.clear()
                self._send(liar.answer())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                liar.offers += body["attempts"]
                liar.takes.wait(20)
                results = [
                    {"uid": one["uid"], "number": one["number"], "result": "accepted"} for one in body["attempts"]
                ]
                self._send(json.dumps({"version": 1, "boot": BOOT, "results": results, "free": 0}).encode())

            def do_DELETE(self) -> None:
                liar.stops.append(self.path)
                self._send(b"{}", liar.status if liar.takes.is_set() else 404)

            def _send(self, data: bytes, status: int = 0) -> None:
                self.send_response(status or liar.status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        return Handler
