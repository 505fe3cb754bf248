"""``/metrics``: the requests that Flask sees, and everything that the engine counts, in one scrape."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_flask_exporter import PrometheusMetrics

from longshore.api import app_metrics, parse
from longshore.api.connections.limits import COUNTS
from longshore.api.waiting import Budget
from longshore.errors import LongshoreError
from longshore.store.port import ServicePort

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# Long on purpose: their time says how long a client listened, not how fast the service is.
STREAMS = ("streams.logs", "streams.all_events", "streams.job_events", "attempts.feed", "attempts.logs")

Measures = Callable[[], Sequence[tuple[str, str, float]]]
"""Gauges as name, help and value."""


class EngineCollector(Collector):
    """Asks the engine once a scrape; a dead engine is a metric, never a failed scrape."""

    def __init__(self, store: ServicePort, budget: Budget, tokens: Measures) -> None:
        self._store, self._budget, self._tokens = store, budget, tokens

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not call the engine."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The engine's families."""
        yield GaugeMetricFamily("longshore_streams_open", "Streams of logs and events.", self._budget.open_streams)
        yield GaugeMetricFamily("longshore_http_connections", "Open connections of callers.", COUNTS.open)
        for name, text, value in self._tokens():
            yield GaugeMetricFamily(name, text, value)
        closed = CounterMetricFamily(
            "longshore_http_connections_closed",
            "Connections that the service closed or refused, by reason.",
            labels=["reason"],
        )
        for reason, count in COUNTS.closed.copy().items():
            closed.add_metric([reason], count)
        yield closed
        app_metrics.send(self._store)
        try:
            families = self._store.metrics()
        except LongshoreError:
            yield GaugeMetricFamily(f"longshore_{self._store.backend}_up", "Whether it answers.", 0)
            return
        yield from map(_family, families)


def _family(plain: Mapping[str, object]) -> Metric:
    metric = Metric(str(plain["name"]), str(plain["help"]), str(plain["type"]))
    for name, labels, value, exemplar in cast("Sequence[tuple[str, dict[str, str], float, object]]", plain["samples"]):
        metric.add_sample(name, labels, value, exemplar=_exemplar(exemplar))
    return metric


def _exemplar(plain: object) -> Exemplar | None:
    if plain is None:
        return None
    labels, value, timestamp = cast("tuple[dict[str, str], float, float]", plain)
    return Exemplar(labels, value, timestamp)


def install(app: Flask, store: ServicePort, budget: Budget, tokens: Measures) -> None:
    """Count requests by route, and serve everything at ``/metrics``."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    registry.register(EngineCollector(store, budget, tokens))
    exporter = PrometheusMetrics(
        app, path=None, registry=registry, group_by="url_rule", buckets=BUCKETS, excluded_paths=None,
    )  # fmt: skip

    @exporter.do_not_track()  # type: ignore[untyped-decorator]  # the exporter ships no types
    def metrics() -> Response:
        """Prometheus text, or OpenMetrics with exemplars for whoever asks for it."""
        parse.known_parameters(namespaced=False)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(registry), content_type=content_type)

    app_metrics.install(app, store)
    app.add_url_rule("/metrics", "metrics", metrics)
    for endpoint in app.view_functions.keys() & set(STREAMS):
        app.view_functions[endpoint] = exporter.do_not_track()(app.view_functions[endpoint])
