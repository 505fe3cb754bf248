"""Metrics of applications: what may be declared, what gathers in a process, and what the totals take."""

import math
from collections.abc import Callable, Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore import Counter, Gauge, Histogram
from longshore.app_metrics.changes import CHANGES, FRAME_BYTES, Changes, frames
from longshore.app_metrics.declared import DECLARED, Declaration, Declarations
from longshore.app_metrics.totals import Totals
from longshore.testing import sample_value


@pytest.fixture(autouse=True)
def _none_declared() -> Iterator[None]:
    before = dict(DECLARED.by_name)
    DECLARED.by_name.clear()
    DECLARED.open()
    yield
    CHANGES.take()
    DECLARED.by_name.clear()
    DECLARED.by_name.update(before)


def full(_name: str) -> None:
    raise AssertionError("nothing should be full")


def totals(*declared: Declaration, most: int = 10, on_full: Callable[[str], None] = full) -> Totals:
    made = Totals(most, on_full)
    made.declare(declared)
    return made


COUNTER = Declaration("c", "counter", "", ("l",), module="one")
GAUGE = Declaration("g", "gauge", "", module="one")
LIVE = Declaration("v", "gauge", "", livesum=True, module="one")
HISTOGRAM = Declaration("h", "histogram", "", buckets=(1.0, 10.0), module="one")


def test_the_three_count_as_those_of_prometheus_client_do() -> None:
    paid = Counter("paid_total", "Paid.", ["currency"], namespace="shop")
    depth = Gauge("depth", "Depth.")
    size = Histogram("size", "Size.", unit="bytes", buckets=(1, 10))

    paid.labels("EUR").inc()
    paid.labels(currency="EUR").inc(2.5)
    depth.set(5)
    depth.dec(2)
    for value in (1, 2, 100):
        size.observe(value)
    with size.time():
        pass
    with pytest.raises(KeyError), paid.labels("USD").count_exceptions():
        raise KeyError

    assert 3.5 == sample_value("shop_paid_total", {"currency": "EUR"})
    assert 1 == sample_value("shop_paid_total", {"currency": "USD"})
    assert 3 == sample_value("depth")
    assert [2, 3, 4] == [sample_value("size_bytes_bucket", {"le": le}) for le in ("1.0", "10.0", "+Inf")]
    assert 4 == sample_value("size_bytes_count")
    assert sample_value("nothing") is None


def test_a_function_is_timed_and_its_errors_counted_by_a_decorator() -> None:
    seconds, errors = Histogram("seconds", "Time."), Counter("errors", "Errors.")

    @seconds.time()
    @errors.count_exceptions(ValueError)
    def fails(wrong: bool) -> None:
        if wrong:
            raise ValueError("it was wrong")

    fails(False)
    with pytest.raises(ValueError, match="it was wrong"):
        fails(True)

    assert (2, 1) == (sample_value("seconds_count"), sample_value("errors_total"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda: Counter("longshore_x", ""), "Longshore's own", id="a name of ours"),
        pytest.param(lambda: Gauge("flask_x", ""), "Longshore's own", id="a name of the exporter's"),
        pytest.param(lambda: Counter("a-b", ""), "no metric name", id="no name"),
        pytest.param(lambda: Counter("a", "", "label"), "sequence of names", id="labels as text"),
        pytest.param(lambda: Counter("a", "", ["b", "b"]), "twice", id="a label twice"),
        pytest.param(lambda: Histogram("a", "", ["le"]), "reserved", id="a reserved label"),
        pytest.param(lambda: Histogram("a", "", buckets=(2, 1)), "rising", id="buckets that fall"),
        pytest.param(lambda: Histogram("a", "", buckets=()), "rising", id="no buckets"),
        pytest.param(lambda: Gauge("a", "", multiprocess_mode="all"), "mostrecent or livesum", id="an unknown mode"),  # type: ignore[arg-type]  # the point
        pytest.param(lambda: Counter("a", "").labels("x"), "no labels", id="labels that are not there"),
        pytest.param(lambda: Counter("a", "", ["l"]).labels(), "has the labels l", id="labels that are missing"),
        pytest.param(lambda: Counter("a", "", ["l"]).labels(m=1), "has the labels l", id="another label"),
        pytest.param(lambda: Counter("a", "", ["l"]).inc(), "needs its labels", id="counting without labels"),
        pytest.param(lambda: Counter("a", "").inc(-1), "negative", id="a counter that goes down"),
    ],
)
def test_what_cannot_be_a_metric_is_refused_with_the_reason(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("second", "what"),
    [
        pytest.param(Declaration("c", "gauge", "", ("l",), module="two"), "type", id="type"),
        pytest.param(Declaration("c", "counter", "", ("m",), module="two"), "labels", id="labels"),
        pytest.param(Declaration("c_total", "gauge", "", module="two"), "both write c_total", id="overlapping names"),
    ],
)
def test_two_applications_with_one_metric_that_differs_are_both_named(second: Declaration, what: str) -> None:
    declared = Declarations()
    declared.add(COUNTER)

    with pytest.raises(ValueError, match=r"one.*two|two.*one") as raised:
        declared.add(second)

    assert what in str(raised.value)
    declared.add(Declaration("c", "counter", "the same", ("l",), module="two"))


def test_what_is_no_finite_number_is_left_out_and_counted() -> None:
    counter = Counter("odd", "")

    for value in (math.nan, math.inf, 1):
        counter.inc(value)

    assert 1 == sample_value("odd_total")
    assert 1 == sample_value("longshore_app_metric_changes_dropped_total", {"metric": "odd", "reason": "value"})


def test_further_label_values_are_dropped_counted_and_told_once() -> None:
    told: list[str] = []
    sums = totals(COUNTER, GAUGE, most=3, on_full=told.append)

    sums.apply("a", [["c", [str(number)], 1] for number in range(10)] * 2)
    sums.apply("a", [["g", [], [True, 4]]])

    assert ["c"] == told
    assert 2 == sums.sample("c_total", {"l": "2"})
    assert 14 == sums.sample("longshore_app_metric_changes_dropped_total", {"metric": "c", "reason": "series"})
    assert 4 == sums.sample("g", {})


def test_all_metrics_together_are_bounded_too() -> None:
    many = [Declaration(f"c{number}", "counter", "", ("l",)) for number in range(100)]
    sums = totals(*many, most=1000, on_full=lambda _name: None)

    for one in many:
        sums.apply("a", [[one.name, [str(number)], 1] for number in range(1000)])

    assert 20_000 == sums.sample("longshore_app_metric_series", {})


def test_a_gauge_shows_what_was_set_last_or_the_sum_of_the_living() -> None:
    sums = totals(GAUGE, LIVE)

    for source, value in (("a", 1), ("b", 2)):
        sums.apply(source, [["g", [], [True, value]], ["v", [], [True, value]], ["v", [], [False, 10]]])
    assert (2, 23) == (sums.sample("g", {}), sums.sample("v", {}))

    sums.forget("b")
    assert (2, 11) == (sums.sample("g", {}), sums.sample("v", {}))


def test_a_metric_that_changed_its_shape_begins_anew() -> None:
    sums = totals(COUNTER)
    sums.apply("a", [["c", ["x"], 5]])

    sums.declare([COUNTER])
    assert 5 == sums.sample("c_total", {"l": "x"})

    sums.declare([Declaration("c", "counter", "", ())])
    sums.apply("a", [["c", [], 1]])
    assert 1 == sums.sample("c_total", {})


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["c", "g", "h", "v"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=8,
)  # fmt: skip
_hostile = st.one_of(
    _anything,
    st.tuples(st.sampled_from(["c", "g", "h", "v"]), st.lists(st.text(max_size=200), max_size=2), _anything).map(list),
    st.tuples(st.just("h"), st.just([]), st.tuples(st.floats(), st.lists(st.integers(), min_size=3, max_size=3))).map(list),
)  # fmt: skip


@given(st.lists(_hostile, max_size=10))
def test_whatever_a_slot_says_the_totals_stay_finite_and_can_be_shown(changes: list[object]) -> None:
    sums = totals(COUNTER, GAUGE, LIVE, HISTOGRAM, on_full=lambda _name: None)
    sums.apply("good", [["c", ["x"], 3]])

    sums.apply("hostile", changes)

    shown = orjson.loads(orjson.dumps(sums.families()))
    values = [sample[2] for family in shown for sample in family["samples"]]
    assert all(value is not None and math.isfinite(value) for value in values)
    assert 3 <= (sums.sample("c_total", {"l": "x"}) or 0)


def test_frames_stay_below_what_a_slot_may_say() -> None:
    changes = Changes()
    for number in range(5000):
        changes.add(("name" * 50, (f"{number}" * 20,)), 1)

    made = [orjson.dumps(frame) for frame in frames(changes.take())]

    assert all(len(frame) <= FRAME_BYTES + 1024 for frame in made)
    assert 5000 == sum(len(orjson.loads(frame)["counted"]) for frame in made)
    assert [] == changes.take()


def test_a_long_job_sends_what_it_counts_once_a_second_and_a_short_one_at_its_end() -> None:
    sent: list[list[list[object]]] = []
    changes = Changes()
    changes.send_by(sent.append)
    key = ("c", ())

    changes.begin_job(float("inf"))  # it has just begun, and goes on having just begun
    for _ in range(100):
        changes.add(key, 1)
    assert [] == sent

    changes.begin_job(0.0)  # it began long ago
    changes.add(key, 1)
    assert [[["c", (), 101.0]]] == sent
