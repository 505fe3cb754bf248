"""A small server of external.metrics.k8s.io for tests: of prometheus-adapter, what one external rule without resources asks for."""

import datetime
import json
import re
import ssl
import threading
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

GROUP, VERSION = "external.metrics.k8s.io", "v1beta1"
ROOT = f"/apis/{GROUP}/{VERSION}"
METRIC = re.compile(f"{ROOT}/namespaces/[^/]+/([^/]+)")
Json = dict[str, Any]
Samples = Callable[[str], list[Json]]
"""What an instant query of Prometheus finds, as ``{metric, value: [time, text]}``."""


class Adapter:
    """It answers those alone whom an authority has signed."""

    def __init__(self, rule: Json, query: Samples, certificate: Path, callers: Path) -> None:
        """``rule`` is one of the list ``rules.external`` of prometheus-adapter. ``callers``: the authority's certificate."""
        self._rule, self._query = rule, query
        self.asked = 0
        """How often somebody wanted the number."""
        adapter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = adapter._answer(self.path)
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(callers))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # The handshake is left to the caller's thread: one who says nothing must not keep the others waiting.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, name="external-metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, target: str) -> tuple[int, Json]:
        url = urllib.parse.urlsplit(target)
        if url.path == ROOT:
            return 200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}", "resources": [{
                "name": self._rule["seriesQuery"], "singularName": "", "namespaced": True,
                "kind": "ExternalMetricValueList", "verbs": ["get"],
            }]}  # fmt: skip
        found = METRIC.fullmatch(url.path)
        if found is None or found[1] != self._rule["seriesQuery"]:
            return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        self.asked += 1
        selector = urllib.parse.parse_qs(url.query).get("labelSelector", [""])[0]
        matchers = ",".join(
            f'{name}="{value}"' for name, _, value in (one.partition("=") for one in selector.split(","))
        )
        samples = self._query(self._rule["metricsQuery"].replace("<<.LabelMatchers>>", matchers))
        return 200, {"kind": "ExternalMetricValueList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": [
            {"metricName": found[1], "metricLabels": one["metric"], "timestamp": _time(one["value"][0]),
             "value": f"{float(one['value'][1]) * 1000:.0f}m"} for one in samples
        ]}  # fmt: skip


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
