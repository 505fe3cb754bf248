"""What the operator counts, and what it reads when somebody asks."""

from prometheus_client.parser import text_string_to_metric_families

from longshore.job.status import Outcome
from longshore_operator.metrics import MAX_REASONS, OperatorMetrics, QueueLine, Snapshot

Series = dict[tuple[str, ...], float]


def read(metrics: OperatorMetrics, name: str) -> Series:
    """Values by labels, as a Prometheus would read them."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        tuple(sample.labels.values()): sample.value
        for family in families for sample in family.samples if sample.name == f"longshore_{name}"
    }  # fmt: skip


def test_a_series_goes_with_its_queue() -> None:
    now = [Snapshot(queues=[QueueLine("a", "x", 3, 2, 7.5), QueueLine("a", "y", 0, 1)])]
    metrics = OperatorMetrics(lambda: now[0])
    assert {("a", "x"): 3, ("a", "y"): 0} == read(metrics, "queue_depth")
    assert {("a", "x"): 2, ("a", "y"): 1} == read(metrics, "queue_running")
    assert {("a", "x"): 7.5, ("a", "y"): 0} == read(metrics, "queue_oldest_age_seconds")
    now[0] = Snapshot(queues=[QueueLine("a", "y", 4, 0, 1)])
    for name in ("queue_depth", "queue_running", "queue_oldest_age_seconds"):
        assert {("a", "y")} == set(read(metrics, name))


def test_the_rest_of_too_many_queues_is_one_and_places_are_kept() -> None:
    now = [
        Snapshot(queues=[QueueLine("n", name, 1, 10, age) for name, age in (("m", 5), ("n", 9), ("o", 7), ("p", None))])
    ]
    metrics = OperatorMetrics(lambda: now[0], max_queues=2)
    assert {("n", "m"): 1, ("n", "n"): 1, ("", "other"): 2} == read(metrics, "queue_depth")
    assert 20 == read(metrics, "queue_running")["", "other"]
    assert 7 == read(metrics, "queue_oldest_age_seconds")["", "other"]
    # A new queue, first in the list, takes nobody's place; the place of a queue that is gone goes to the next.
    now[0] = Snapshot(queues=[QueueLine("n", name, 1, 0) for name in "amn"])
    assert {("n", "m"), ("n", "n"), ("", "other")} == set(read(metrics, "queue_depth"))
    now[0] = Snapshot(queues=[QueueLine("n", name, 1, 0) for name in "an"])
    assert {("n", "a"), ("n", "n")} == set(read(metrics, "queue_depth"))


def test_the_state_of_the_operator() -> None:
    metrics = OperatorMetrics(
        lambda: Snapshot(
            workers={"ready": 2, "draining": 1}, slots={"free": 3, "busy": 5}, leading=True, loop_late_seconds=0.25,
            watch_age_seconds={"jobs": 1.5}, desk={"jobs": 9},
        )
    )  # fmt: skip
    assert {("ready",): 2, ("draining",): 1} == read(metrics, "workers")
    assert {("free",): 3, ("busy",): 5} == read(metrics, "slots")
    assert {(): 1} == read(metrics, "operator_leader")
    assert {(): 0.25} == read(metrics, "operator_loop_late_seconds")
    assert {("jobs",): 1.5} == read(metrics, "operator_watch_age_seconds")
    assert {("jobs",): 9} == read(metrics, "operator_desk_size")


def test_what_is_counted() -> None:
    metrics = OperatorMetrics()
    assert {(outcome.value,): 0 for outcome in Outcome} == read(metrics, "operator_attempts_total")
    metrics.attempt_ended(Outcome.FAILED)
    metrics.retried()
    metrics.api_request("patch", "200")
    metrics.api_request("patch", "unreachable")
    assert 1 == read(metrics, "operator_attempts_total")["failed",]
    assert {(): 1} == read(metrics, "operator_retries_total")
    assert {("patch", "200"): 1, ("patch", "unreachable"): 1} == read(metrics, "operator_api_requests_total")


def test_the_time_until_a_worker_has_a_job() -> None:
    metrics = OperatorMetrics()
    for seconds in (0.0008, 0.003, 4000, -2):
        metrics.dispatched(seconds)
    buckets = read(metrics, "operator_dispatch_seconds_bucket")
    assert (2, 2, 3, 3, 4) == tuple(buckets[bound,] for bound in ("0.001", "0.0025", "0.005", "3600.0", "+Inf"))
    assert 4000.0038 == read(metrics, "operator_dispatch_seconds_sum")[()]


def test_reasons_are_bounded() -> None:
    metrics = OperatorMetrics()
    for number in range(MAX_REASONS + 5):
        metrics.disrupted(f"Strange{number}")
        metrics.disrupted("WorkerLost")
    found = read(metrics, "operator_disruptions_total")
    assert MAX_REASONS + 1 == len(found)
    assert MAX_REASONS + 5 == found["WorkerLost",]
    assert 2 * (MAX_REASONS + 5) == sum(found.values())
