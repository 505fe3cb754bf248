"""What a Deployment says of its pool; whatever its annotations hold, somebody else wrote them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.scaling.decide import Knobs
from longshore_operator.scaling.pool import ANNOTATIONS, HANDLERS, MAX, MIN, Pool, handlers_kept, handlers_text, pool
from trusted import TRUST

BEFORE = Knobs(1, 7)


def deployment(annotations: dict[str, str], *, slots: str | None = None, queues: str | None = None) -> dict[str, Any]:
    of_pods = {} if queues is None else {"longshore.dev/queues": queues}
    container = {"name": "worker", "env": [] if slots is None else [{"name": "LONGSHORE_SLOTS", "value": slots}]}
    return {
        "metadata": {"namespace": "demo", "name": "ls-worker", "uid": "u", "generation": 1, "annotations": annotations,
                     "labels": {"longshore.dev/pool": "default"}},
        "spec": {"template": {"metadata": {"annotations": of_pods}, "spec": {"containers": [container]}}},
        "status": {"observedGeneration": 1},
    }  # fmt: skip


def made(annotations: dict[str, str], **more: str) -> Pool:
    return pool(deployment(annotations, **more), TRUST, BEFORE)


def test_the_knobs_are_the_annotations() -> None:
    found = made({MIN: "2", MAX: "9", "longshore.dev/target-wait-seconds": "0.5"})

    assert (Knobs(2, 9, target_wait_seconds=0.5), "", ("demo", "default")) == (found.knobs, found.bad, found.key)
    assert made({}).knobs is None, "without a maximum somebody else scales it"


@pytest.mark.parametrize(
    ("annotations", "says"),
    [
        ({MIN: "1"}, "min-workers is set without longshore.dev/max-workers"),
        ({MIN: "5", MAX: "4"}, "min-workers (5) is greater than longshore.dev/max-workers (4)"),
        ({MAX: "-1"}, "max-workers is -1, not from 0 to 10000"),
        ({MAX: "many"}, "max-workers is no whole number: 'many'"),
        ({MAX: "1.5"}, "max-workers is no whole number: '1.5'"),
        ({MAX: "9" * 5000}, "max-workers is no whole number: '999"),
        ({MAX: "4", "longshore.dev/idle-seconds": "nan"}, "idle-seconds is nan, not from 0 to 86400"),
        ({MAX: "4", "longshore.dev/scale-down-percent": "0"}, "scale-down-percent is 0, not from 1 to 100"),
    ],
)
def test_what_is_wrong_is_named_and_the_last_good_values_hold(annotations: dict[str, str], says: str) -> None:
    found = made(annotations)

    assert says in found.bad
    assert BEFORE == found.knobs


def test_what_its_workers_run_is_kept_for_the_next_leader_until_the_template_changes() -> None:
    runs = frozenset({"", "echo", "shop.resize"})
    text = handlers_text(made({MAX: "4"}), runs)

    assert runs == handlers_kept(made({HANDLERS: text}))
    assert handlers_kept(made({HANDLERS: text}, slots="9")) is None, "other pods"
    assert text == handlers_text(made({HANDLERS: text}), None), "nobody has told yet"
    assert not handlers_text(made({}), frozenset(f"handler-{number}" for number in range(2000))), "too long to be kept"


@pytest.mark.parametrize(
    "told", ["", "echo", "[]", "7", "{}", '{"template": "%s"}', '{"template": "%s", "handlers": [1, "echo"]}',
             '{"template": "%s", "handlers": "echo"}', '{"template": "%s", "handlers": [["echo"]]}'],
)  # fmt: skip
def test_what_somebody_else_wrote_about_handlers_is_not_taken(told: str) -> None:
    assert handlers_kept(made({HANDLERS: told.replace("%s", made({}).template)})) is None


def test_a_pool_that_names_no_queue_is_wrong() -> None:
    assert "queues names no queue" in made({MAX: "4"}, queues=" , ").bad


@pytest.mark.parametrize(("value", "slots"), [("8", 8), (None, 1), ("²", 1), ("many", 1), ("9" * 5000, 1), ("", 1)])
def test_slots_are_read_off_the_template_where_that_makes_sense(value: str | None, slots: int) -> None:
    assert slots == pool(deployment({}, slots=value), TRUST).slots


@given(st.dictionaries(st.sampled_from([name for name, *_ in ANNOTATIONS.values()]), st.text()), st.text())
def test_no_annotation_ends_the_operator(annotations: dict[str, str], slots: str) -> None:
    found = made(annotations, slots=slots)

    assert bool(found.bad) == (found.knobs is BEFORE)


@pytest.mark.parametrize(
    ("replicas", "status", "refused"),
    [
        pytest.param(3, {"replicas": 1}, 2, id="some"),
        pytest.param(3, {}, 3, id="all"),
        pytest.param(1, {"replicas": 1}, 0, id="enough are there"),
        pytest.param(3, {"replicas": 1, "observedGeneration": 0}, 0, id="the specification is newer"),
        pytest.param(3, {"replicas": 1, "conditions": None}, 0, id="they only take their time"),
    ],
)
def test_pods_that_are_refused_are_counted(replicas: int, status: dict[str, Any], refused: int) -> None:
    body = deployment({MAX: "9"})
    body["spec"]["replicas"] = replicas
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded\nquota: one"}
    body["status"] |= {"conditions": [failure], **status}
    found = pool(body, TRUST)
    assert (refused, "exceeded quota: one" if refused else "") == (found.refused, found.refusal)
