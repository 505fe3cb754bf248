"""What the store counts of itself: its requests to the API server."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric

from longshore.version import __version__

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Measures:
    """Its own registry, so that it can cross the port as plain data."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter("longshore_kube_requests", "Requests to the API server.",
                                 ("verb", "resource", "code"), registry=self.registry)  # fmt: skip
        self._seconds = Histogram("longshore_kube_request_seconds", "Time of requests to the API server but watches.",
                                  ("verb", "resource"), buckets=BUCKETS, registry=self.registry)  # fmt: skip
        self.watch_connected = Gauge("longshore_kube_watch_connected", "Whether the watch of jobs is open.",
                                     registry=self.registry)  # fmt: skip
        self.watch_events = Counter("longshore_kube_watch_events", "Changes of jobs that the watch told.",
                                    registry=self.registry)  # fmt: skip
        self.contained = Counter("longshore_kube_contained_errors", "Jobs that the watch could not tell of.",
                                 registry=self.registry)  # fmt: skip
        self.waiting = Gauge("longshore_waiting_requests", "Requests that wait for a job.", registry=self.registry)
        info = Gauge("longshore_build_info", "Release.", ("version",), registry=self.registry)
        info.labels(__version__).set(1)

    def count(self, verb: str, resource: str, code: str, seconds: float | None) -> None:
        """One request; the code is an HTTP status or ``away``. A watch has no time of its own."""
        self._requests.labels(verb, resource, code).inc()
        if seconds is not None:
            self._seconds.labels(verb, resource).observe(seconds)

    def families(self) -> list[Mapping[str, object]]:
        """As ``JobStore.metrics`` wants them."""
        return [_plain(family) for family in self.registry.collect()]


def _plain(family: Metric) -> dict[str, object]:
    samples = [
        [sample.name, sample.labels, sample.value, None]
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]
    return {"name": family.name, "type": family.type, "help": family.documentation, "samples": samples}
