"""What ``after`` means: who lets whom start, and the order of a chain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.job.dependencies import Prospect, chain, cycle, in_order, obstructed, prospect
from longshore.job.status import Phase

NAMES = "abcdefgh"
graphs = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES + "xyz"), max_size=4, unique=True), max_size=8
)


@pytest.mark.parametrize(
    ("phase", "redriving", "ran", "expected"),
    [
        (Phase.SUCCEEDED, False, False, Prospect.MET),
        (Phase.PENDING, False, False, Prospect.WAITS),
        (Phase.RUNNING, False, True, Prospect.WAITS),
        (Phase.FAILED, False, False, Prospect.FAILED),
        (Phase.FAILED, False, True, Prospect.FAILED),
        (Phase.FAILED, True, False, Prospect.WAITS),
        (Phase.CANCELLED, False, True, Prospect.FAILED),
        (Phase.CANCELLED, True, False, Prospect.FAILED),
        (None, False, False, Prospect.MISSING),
        (None, False, True, Prospect.MET),
    ],
)
def test_a_dependency_means_this(phase: Phase | None, redriving: bool, ran: bool, expected: Prospect) -> None:
    assert expected is prospect(phase, redriving=redriving, ran=ran)


def test_the_first_that_lets_nobody_pass_is_named() -> None:
    phases = {"good": Phase.SUCCEEDED, "bad": Phase.FAILED, "worse": Phase.CANCELLED}

    def phase_of(name: str) -> tuple[Phase | None, bool]:
        return phases.get(name), False

    assert ("bad", Phase.FAILED) == obstructed(["good", "bad", "worse"], phase_of, ran=False)
    assert ("nobody", None) == obstructed(["good", "nobody"], phase_of, ran=False)
    assert obstructed(["good", "nobody"], phase_of, ran=True) is None


@given(graphs)
def test_each_stands_behind_those_that_it_waits_for(after: dict[str, list[str]]) -> None:
    order = in_order(after)

    assert len(set(order)) == len(order)
    for place, name in enumerate(order):
        assert set(after[name]).intersection(after) <= set(order[:place])


@given(graphs)
def test_a_job_is_left_out_when_a_cycle_holds_it_and_then_one_is_named(after: dict[str, list[str]]) -> None:
    found = cycle(after)

    assert (found is None) == (len(in_order(after)) == len(after))
    if found is not None:
        name, other = found
        assert other in after[name]
        reached, left = set[str](), [other]
        while left:
            reached.add(at := left.pop())
            left += [one for one in after.get(at, ()) if one not in reached]
        assert name in reached, "it waits for itself"


def test_a_chain_has_those_behind_the_first_alone() -> None:
    after = {"z": ["b", "c"], "c": ["a"], "b": ["a", "other"], "alone": ["other"], "a": ["upstream"]}

    assert ["c", "b", "z"] == chain("a", after)
    assert [] == chain("z", after)
