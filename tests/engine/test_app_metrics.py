"""Metrics of applications on real slots and a real service: one series, however many processes."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from longshore.job.status import Outcome, Reason
from real_pool import RealPool
from service import Service
from worker_service import Worker


@pytest.fixture
def pool(make_pool: Callable[..., RealPool]) -> RealPool:
    return make_pool(apps=("longshore_samples.echo", "metric_jobs"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("metrics"), {"apps": "metric_jobs", "metric_series": 5})
    service.start()
    yield service
    service.end()


def args(**named: object) -> bytes:
    return orjson.dumps(named)


def scraped(service: Service) -> dict[str, float]:
    """Every line of the scrape, by name and labels."""
    text = service.request("GET", "/metrics").body.decode()
    return {name: float(value) for name, value in re.findall(r"^([^#\s].*) (\S+)$", text, re.MULTILINE)}


def touched(pool: RealPool) -> float | None:
    return pool.listener.metrics.sample("shop_touched_total", {})


def test_handlers_in_many_processes_and_views_make_one_series(service: Service) -> None:
    before = scraped(service)
    job = {"handler": "pays", "args": {"currency": "EUR", "times": 2}}
    ended = [service.client().submit(job, wait=30) for _ in range(6)]
    for _ in range(3):
        assert 204 == service.request("POST", "/shop/touch").status
    after = scraped(service)

    assert ["Succeeded"] * 6 == [one["status"]["phase"] for one in ended]
    assert 12 == after['shop_paid_total{currency="EUR"}'] - before.get('shop_paid_total{currency="EUR"}', 0)
    assert 9 == after["shop_touched_total"] - before["shop_touched_total"]
    assert 7 == after["shop_depth"]
    assert 6 == after['shop_size_bytes_bucket{kind="small",le="10.0"}']
    assert 1 == after['shop_release{version="1.2"}']


def test_labels_without_bound_are_capped_counted_and_told_once(service: Service) -> None:
    for _ in range(2):
        service.client().submit({"handler": "pays_many", "args": {"labels": 50}}, wait=30)
    after = scraped(service)

    assert 5 == sum(name.startswith("shop_paid_total") for name in after)
    assert after['longshore_app_metric_changes_dropped_total{metric="shop_paid",reason="series"}'] >= 90
    said = [line for line in service.log.read_text().splitlines() if '"metric_full"' in line]
    assert ["shop_paid"] == [orjson.loads(line)["metric"] for line in said]


def test_a_slot_that_is_replaced_leaves_its_counts(pool: RealPool) -> None:
    first = pool.run("pays", args(currency="EUR")).result
    second = pool.run("pays", args(currency="EUR"), runner="process").result
    third = pool.run("pays", args(currency="EUR"), runner="process").result

    assert len({first, second, third}) >= 2
    assert 3 == pool.listener.metrics.sample("shop_paid_total", {"currency": "EUR"})


def test_a_killed_slot_loses_its_last_second_at_most_and_its_part_of_a_sum(pool: RealPool, tmp_path: Path) -> None:
    go_on = tmp_path / "go"
    key = pool.start("counts_and_waits", args(counted=5, go_on=str(go_on), die=True))
    metrics = pool.listener.metrics
    pool.until(lambda: metrics.sample("shop_busy", {}) == 1 and touched(pool) == 5)
    go_on.touch()
    ended = pool.end_of(key)

    assert Outcome.LOST == ended.outcome
    assert 5 == touched(pool)
    assert 0 == metrics.sample("shop_busy", {})


def test_threads_count_and_children_of_a_handler_do_not(pool: RealPool) -> None:
    pool.run("counts_in_threads", args(threads=4, times=500))
    pool.run("counts_in_a_child")

    assert 2001 == touched(pool)


def test_odd_numbers_and_odd_labels_do_not_fail_a_handler(pool: RealPool) -> None:
    assert Outcome.SUCCEEDED == pool.run("counts_oddly").outcome
    assert 1 == touched(pool)
    assert 1 == pool.listener.metrics.sample("shop_size_bytes_count", {"kind": "?" * 128})


def test_a_metric_that_is_made_inside_a_handler_fails_it_and_says_where_it_belongs(pool: RealPool) -> None:
    ended = pool.run("makes_a_metric")

    assert (Outcome.FAILED, "RuntimeError") == (ended.outcome, ended.error_type)
    assert "at the top of a module" in ended.error_message


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"counted":[["shop_touched",[],1e308],["shop_touched",[],-5]]}', id="huge and negative"),
        pytest.param('{"counted":[["shop_touched",[],"1"],null,7,["shop_touched"],[{},[],1]]}', id="no changes"),
        pytest.param('{"counted":[["shop_paid",["' + "x" * 100_000 + '"],1]]}', id="a label of 100 kB"),
        pytest.param('{"counted":[["made_up",[],1],["longshore_slots",[],1]]}', id="metrics that nobody declared"),
        pytest.param('{"counted":[["shop_size_bytes",["a"],[1,[1,-1,1,1]]]]}', id="buckets below nothing"),
        pytest.param('{"counted":[' + '["shop_paid",["a"],1],' * 3000 + '["shop_paid",["b"],1]]}', id="thousands"),
    ],
)
def test_forged_counts_hurt_neither_slot_nor_engine(pool: RealPool, body: str) -> None:
    pool.run("pays", args(currency="EUR"))
    assert Outcome.SUCCEEDED == pool.run("says", args(body=body)).outcome

    assert 1 == touched(pool)
    pool.run("pays", args(currency="EUR"))
    assert 2 == pool.listener.metrics.sample("shop_paid_total", {"currency": "EUR"})


@pytest.mark.parametrize("body", ['{"counted":{"a":1}}', '{"counted":1}'])
def test_counts_that_are_no_list_end_the_slot_of_their_job_alone(pool: RealPool, body: str) -> None:
    ended = pool.run("says", args(body=body))

    assert Reason.SLOT_BROKEN == ended.reason or Outcome.SUCCEEDED == ended.outcome
    assert Outcome.SUCCEEDED == pool.run("pays", args(currency="EUR")).outcome


def test_a_metric_at_odds_with_another_stops_the_start(start_service: Callable[..., Service], tmp_path: Path) -> None:
    (tmp_path / "second_shop.py").write_text('from longshore import Counter\nCounter("shop_paid", "", ["country"])\n')
    with pytest.raises(AssertionError) as raised:
        start_service(apps="metric_jobs,second_shop", path=str(tmp_path))

    said = "metric 'shop_paid' is declared in metric_jobs and again in second_shop, and the two differ in labels"
    assert said in str(raised.value)


def test_a_worker_shows_what_its_attempts_and_views_count(tmp_path: Path) -> None:
    worker = Worker(tmp_path, {"apps": "metric_jobs"})
    try:
        worker.start()
        attempt = worker.attempt("pays", args={"currency": "EUR"})
        worker.offer(attempt)
        worker.outcome(attempt)
        worker.request("POST", "/shop/touch")
        after = scraped(worker)
    finally:
        worker.end()

    assert 1 == after['shop_paid_total{currency="EUR"}']
    assert 1 <= after["shop_touched_total"] <= 2
