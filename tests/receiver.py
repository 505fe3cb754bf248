"""A receiver of webhooks on loopback."""

import http.server
import json
import ssl
import threading
from typing import Any


class Receiver:
    """An HTTP server that keeps what it gets and answers as it was told: a status each, the last one for ever."""

    def __init__(self, *answers: int, hangs: bool = False, tls: ssl.SSLContext | None = None,
                 host: str = "127.0.0.1") -> None:  # fmt: skip
        self.got: list[tuple[dict[str, str], bytes, str]] = []
        self.answers, self.hangs = list(answers or (204,)), hangs
        self.go = threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append((headers, body, self.path))
                if receiver.hangs:
                    receiver.go.wait(60)
                status = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{receiver.url}/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = Server((host, 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._host = host
        self._scheme = "https" if tls is not None else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self._host}:{self._server.server_address[1]}"

    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body, _ in self.got]

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that left is no news."""
