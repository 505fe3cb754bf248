"""Pools in numbers, for Prometheus, and through it for a HorizontalPodAutoscaler or KEDA."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from longshore_operator.scaling.decide import Decision, Why
from longshore_operator.scaling.state import State

LABELS = ("namespace", "pool")


class PoolMetrics(Collector):
    """Gauges read off the pools at each scrape; only the leader has any, because only it knows what runs where."""

    def __init__(
        self, registry: CollectorRegistry, states: Callable[[], Iterable[State]], clock: Callable[[], float]
    ) -> None:
        """``clock`` is monotonic."""
        self._states, self._clock = states, clock
        self._decisions = Counter(
            "longshore_operator_scale_decisions", "Decisions of the scaler that differ from the one before.",
            ("reason",), registry=registry,
        )  # fmt: skip
        self._took_busy = Counter(
            "longshore_operator_scale_in_busy_workers", "Workers with jobs whose pods went right after a shrink.", registry=registry,
        )  # fmt: skip
        for why in Why:
            self._decisions.labels(why.value)
        registry.register(self)

    def decided(self, decision: Decision) -> None:
        """The scaler has changed its mind."""
        self._decisions.labels(decision.why.value).inc()

    def took_busy(self) -> None:
        """A worker that ran jobs is going although nobody drained it."""
        self._took_busy.inc()

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the pools."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges of this moment."""

        def gauge(name: str, text: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"longshore_pool_{name}", text, labels=LABELS)

        slots = gauge("wanted_slots", "Slots for what runs, waits and is due soon; divide by the slots of a worker.")
        desired = gauge("desired_replicas", "Workers that the scaler wants.")
        replicas = gauge("replicas", "Workers that the Deployment asks for.")
        most = gauge("max_replicas", "Workers that there may be.")
        idle = gauge("idle_seconds", "Time without anything to do.")
        limited = GaugeMetricFamily("longshore_pool_limited", "Whether more workers are wanted than there may be, by what keeps them.", labels=(*LABELS, "reason"))  # fmt: skip
        now = self._clock()
        for key, state in {state.pool.key: state for state in self._states()}.items():  # two of a name are not scaled
            if state.decision is None and state.refused is None:
                continue  # a new leader has not looked at it: what there is to do is not known, and an autoscaler would take 0 at its word
            headroom = state.pool.knobs.headroom_slots if state.pool.knobs is not None else 0
            slots.add_metric(key, state.demand.slots(headroom))
            replicas.add_metric(key, state.pool.replicas)
            if state.decision is None or state.history is None or state.pool.knobs is None:
                continue
            desired.add_metric(key, state.decision.workers)
            most.add_metric(key, state.pool.knobs.max_workers)
            idle.add_metric(key, max(0.0, now - state.history.active_at))
            for why in Why:
                if why.limited:
                    limited.add_metric((*key, why.value), state.decision.why is why)
        return iter((slots, desired, replicas, most, idle, limited))
