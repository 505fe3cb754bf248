"""An OpenTelemetry collector for tests: takes OTLP over HTTP, decodes it by the protocol's own messages, keeps the spans."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """What has come: spans by name, in the order of their arrival."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._spans: list[Any] = []

    @property
    def address(self) -> str:
        """For ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://127.0.0.1:{self.port}"

    def take(self, body: bytes) -> None:
        """A request of an exporter."""
        message = ExportTraceServiceRequest.FromString(body)
        self._spans += [span for one in message.resource_spans for scope in one.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Any]:
        """The spans of that name."""
        return [span for span in list(self._spans) if span.name == name]


@contextmanager
def collector() -> Iterator[Collector]:
    """One on loopback, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(server.server_address[1])
        yield from _serving(server, found)


def _serving(server: socketserver.TCPServer, found: Collector) -> Iterator[Collector]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
