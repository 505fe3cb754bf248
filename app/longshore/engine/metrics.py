"""What the engine counts. The api process asks for it once a scrape and puts it beside its own."""

from collections.abc import Iterable
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar

from longshore.job.status import Outcome

# Slots answer in fractions of a millisecond and jobs run for hours: the buckets must cover both ends.
BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
OTHER = "other"  # a handler that this worker does not know; keeps labels bounded
COMMAND = "command"
_Metric = TypeVar("_Metric", Counter, Histogram)


class EngineMetrics:
    """Counters and histograms of one engine process; gauges are computed when asked."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._known: set[str] = set()
        self._series: dict[tuple[object, ...], Any] = {}
        self.submitted = self._counter("jobs_submitted", "Jobs accepted.", "handler", "source")
        self.rejected = self._counter("jobs_rejected", "Jobs refused by the engine.", "reason")
        self.finished = self._counter("jobs_finished", "Attempts that ended.", "handler", "outcome")
        self.ended = self._counter("jobs_ended", "Jobs that reached their end.", "phase")
        self.retries = self._counter("job_retries", "Attempts repeated after a failure.", "handler")
        self.disruptions = self._counter("job_disruptions", "Attempts lost through no fault of the job.", "reason")
        self.slot_restarts = self._counter("slot_restarts", "Slots replaced.", "reason")
        self.log_bytes = self._counter("job_log_bytes", "Output of jobs.")
        self.log_dropped = self._counter("job_log_dropped_bytes", "Output of jobs that was not kept.")
        self.offered = self._counter("attempts_offered", "Attempts that the operator handed over.", "result")
        self.deliveries = self._counter("webhook_deliveries", "Webhook attempts.", "result")
        self.wait = self._histogram("job_wait_seconds", "From ready to run until given to a slot.", "handler")
        self.run = self._histogram("job_run_seconds", "Run time of an attempt.", "handler", "outcome")
        self.store = self._histogram("store_seconds", "Time of a store operation.", "op")
        self.store.labels("commit")
        for reason in ("full", "quota", "draining", "invalid", "store"):
            self.rejected.labels(reason)
        for result in ("delivered", "failed", "refused"):
            self.deliveries.labels(result)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"longshore_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"longshore_{name}", text, labels, registry=self.registry, buckets=BUCKETS)

    def know(self, handlers: Iterable[str]) -> None:
        """Create every series of these handlers, so that rates start at zero."""
        for handler in (*handlers, OTHER, COMMAND):
            self._known.add(handler)
            self.retries.labels(handler)
            self.wait.labels(handler)
            for outcome in Outcome:
                self.finished.labels(handler, outcome.value)
                self.run.labels(handler, outcome.value)

    def series(self, metric: _Metric, *labels: str) -> _Metric:
        """``metric.labels(…)`` without its look-ups, which cost more than the counting."""
        found: _Metric | None = self._series.get((metric, *labels))
        if found is None:
            found = self._series[metric, *labels] = metric.labels(*labels)
        return found

    def label(self, handler: str) -> str:
        """The handler as a label: its name when it is known here."""
        if not handler:
            return COMMAND
        return handler if handler in self._known else OTHER

    def families(self, gauges: Iterable[Metric]) -> list[dict[str, object]]:
        """All metric families as plain lists: ``{name, type, help, samples: [[name, labels, value, exemplar]]}``."""
        return [_plain(family) for family in (*self.registry.collect(), *gauges)]


def gauge(name: str, text: str, samples: Iterable[tuple[dict[str, str], float]]) -> Metric:
    """A gauge that is computed now; every sample has its labels."""
    rows = list(samples)
    family = GaugeMetricFamily(f"longshore_{name}", text, labels=list(rows[0][0]) if rows else [])
    for labels, value in rows:
        family.add_metric(list(labels.values()), value)
    return family


def _plain(family: Metric) -> dict[str, object]:
    return {
        "name": family.name, "type": family.type, "help": family.documentation,
        "samples": [
            [sample.name, sample.labels, sample.value, _exemplar(sample.exemplar)]
            for sample in family.samples if not sample.name.endswith("_created")
        ],
    }  # fmt: skip


def _exemplar(exemplar: Exemplar | None) -> list[object] | None:
    return [dict(exemplar.labels), exemplar.value, exemplar.timestamp] if exemplar else None
