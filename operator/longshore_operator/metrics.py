"""What the operator counts, and what it reads off its desk when somebody asks.

Labels are bounded: at most ``MAX_QUEUES`` queues have series of their own, and reasons beyond ``MAX_REASONS`` count as ``other``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from longshore.job.status import Outcome, Reason
from longshore_operator.contain import CONTAINED

MAX_QUEUES: Final = 200
MAX_REASONS: Final = 32
OTHER: Final = "other"
# From a warm pod, which takes a few milliseconds, to a queue that waits for nodes.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One queue at this moment."""

    namespace: str
    queue: str
    depth: int
    running: int
    oldest_age_seconds: float | None = None
    """None when nothing waits."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The operator at this moment; computed for each scrape, so nothing is counted up and down."""

    queues: Sequence[QueueLine] = ()
    workers: Mapping[str, int] = field(default_factory=dict)
    """How many by state, such as ready, draining, unreachable."""
    slots: Mapping[str, int] = field(default_factory=dict)
    """How many by state: free, busy."""
    leading: bool = False
    loop_late_seconds: float = 0.0
    watch_age_seconds: Mapping[str, float] = field(default_factory=dict)
    """Since the last sign of life of the watch of each kind."""
    desk: Mapping[str, int] = field(default_factory=dict)
    """How many of each are remembered, such as jobs, queues, schedules, expiries."""


class OperatorMetrics:
    """The registry of one operator process."""

    def __init__(self, snapshot: Callable[[], Snapshot] = Snapshot, *, max_queues: int = MAX_QUEUES) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(_Desk(snapshot, max_queues))
        self.registry.register(CONTAINED)
        self._reasons: set[str] = {
            Reason.WORKER_LOST,
            Reason.DRAINED,
            Reason.SLOT_KILLED,
            Reason.CONTAINER_OUT_OF_MEMORY,
        }
        self._dispatch = Histogram(
            "longshore_operator_dispatch_seconds", "From a job's creation until a worker has taken its first attempt.",
            registry=self.registry, buckets=BUCKETS,
        )  # fmt: skip
        self._api = self._counter("api_requests", "Requests to the API server.", "kind", "result")
        self._attempts = self._counter("attempts", "Attempts that ended.", "outcome")
        self._retries = self._counter("retries", "Jobs sent round again after a failure.")
        self._disruptions = self._counter("disruptions", "Attempts lost through no fault of the job.", "reason")
        for outcome in Outcome:
            self._attempts.labels(outcome.value)
        for reason in self._reasons:
            self._disruptions.labels(reason)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"longshore_operator_{name}", text, labels, registry=self.registry)

    def dispatched(self, seconds: float) -> None:
        """A worker has taken a job's first attempt, so long after its creation."""
        self._dispatch.observe(max(seconds, 0))  # the API server's clock may be ahead of ours

    def api_request(self, kind: str, result: str) -> None:
        """The client's ``counted``."""
        self._api.labels(kind, result).inc()

    def attempt_ended(self, outcome: Outcome) -> None:
        """An attempt ended, and that is recorded."""
        self._attempts.labels(outcome.value).inc()

    def retried(self) -> None:
        """A job waits for another attempt after a failure."""
        self._retries.inc()

    def disrupted(self, reason: str) -> None:
        """An attempt was lost."""
        if len(self._reasons) < MAX_REASONS:
            self._reasons.add(reason)
        self._disruptions.labels(reason if reason in self._reasons else OTHER).inc()

    def render(self) -> bytes:
        """Everything, in the text format of Prometheus."""
        return generate_latest(self.registry)


class _Desk(Collector):
    """Gauges from a snapshot: a series goes with its object."""

    def __init__(self, snapshot: Callable[[], Snapshot], max_queues: int) -> None:
        self._snapshot, self._max_queues = snapshot, max_queues
        self._shown: dict[tuple[str, str], None] = {}

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask for a snapshot."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges of this moment."""
        now = self._snapshot()
        yield from self._queues(now.queues)
        yield _by("workers", "Workers by state.", "state", now.workers)
        yield _by("slots", "Slots of all workers by state.", "state", now.slots)
        yield _by("operator_watch_age_seconds", "Since a watch last gave a sign of life.", "kind", now.watch_age_seconds)  # fmt: skip
        yield _by("operator_desk_size", "Objects remembered by the operator.", "kind", now.desk)
        yield GaugeMetricFamily("longshore_operator_loop_late_seconds", "How late the event loop is.", now.loop_late_seconds)  # fmt: skip
        yield GaugeMetricFamily("longshore_operator_leader", "Whether this process leads.", now.leading)

    def _queues(self, queues: Sequence[QueueLine]) -> Iterator[Metric]:
        lines = self._bounded({(line.namespace, line.queue): line for line in queues})
        labels = ("namespace", "queue")
        depth = GaugeMetricFamily("longshore_queue_depth", "Jobs that wait.", labels=labels)
        running = GaugeMetricFamily("longshore_queue_running", "Attempts on a worker.", labels=labels)
        oldest = GaugeMetricFamily("longshore_queue_oldest_age_seconds", "Wait of the oldest waiting job.", labels=labels)  # fmt: skip
        for line in lines:
            key = (line.namespace, line.queue)
            depth.add_metric(key, line.depth)
            running.add_metric(key, line.running)
            oldest.add_metric(key, line.oldest_age_seconds or 0)
        return iter((depth, running, oldest))

    def _bounded(self, lines: Mapping[tuple[str, str], QueueLine]) -> list[QueueLine]:
        """As many queues as have a place, and the rest as one; who has a place keeps it, or series would come and go."""
        self._shown = {key: None for key in self._shown if key in lines}
        for key in lines:
            if len(self._shown) >= self._max_queues:
                break
            self._shown[key] = None
        rest = [line for key, line in lines.items() if key not in self._shown]
        shown = [lines[key] for key in self._shown]
        if not rest:
            return shown
        ages = [line.oldest_age_seconds for line in rest if line.oldest_age_seconds is not None]
        depth, running = sum(line.depth for line in rest), sum(line.running for line in rest)
        # No namespace is called "", so this is no queue of that name.
        return [*shown, QueueLine("", OTHER, depth, running, max(ages, default=None))]


def _by(name: str, text: str, label: str, numbers: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"longshore_{name}", text, labels=[label])
    for key, number in numbers.items():
        family.add_metric([key], number)
    return family
