"""Index sets and the items of array jobs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.job.items import ArrayState, IndexSet
from longshore.job.lifecycle import Course, Verdict
from longshore.job.status import ItemsStatus, JobError, Phase

OOPS = JobError(type="Oops")


@given(st.lists(st.integers(0, 200)))
def test_an_index_set_is_a_set(indexes: list[int]) -> None:
    found = IndexSet()
    for index in indexes:
        there = index in found
        assert found.add(index) != there

    assert sorted(set(indexes)) == list(found)
    assert len(set(indexes)) == len(found)
    assert all((n in found) == (n in set(indexes)) for n in range(201))
    assert found == IndexSet.parse(str(found))


def test_ranges_are_written_short() -> None:
    assert "0-97,99" == str(IndexSet([*range(98), 99]))


@pytest.mark.parametrize("text", ["1-", "-1", "3-2", "1,1", "a", "1-3,2", "1,2"])
def test_nonsense_is_no_index_set(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        IndexSet.parse(text)


@given(size=st.integers(1, 30), parallelism=st.integers(1, 5), data=st.data())
def test_every_item_runs_to_an_end_and_never_too_many_at_once(size: int, parallelism: int, data: st.DataObject) -> None:
    array = ArrayState(size, parallelism)
    attempts = dict.fromkeys(range(size), 0)
    while not array.ended:
        index = array.next_index(0.0)
        if index is not None and data.draw(st.booleans() if array.running else st.just(True)):
            assert index not in array.running
            array.begin(index)
            attempts[index] += 1
            assert len(array.running) <= parallelism
            continue
        index = data.draw(st.sampled_from(sorted(array.running)))
        fate = data.draw(st.sampled_from(["succeed", "fail", "again"] if attempts[index] < 3 else ["succeed", "fail"]))
        if fate == "again":
            array.again(index, 0.0)
        elif fate == "fail":
            array.fail(index, OOPS)
        else:
            array.succeed(index)

    assert set(range(size)) == set(array.succeeded) | set(array.failed)
    assert not array.running


def test_an_item_in_back_off_lets_others_go_first_and_comes_back() -> None:
    array = ArrayState(2, None)
    array.begin(0)
    array.again(0, 50.0)

    assert 1 == array.next_index(10.0)
    array.begin(1)
    assert (None, 50.0) == (array.next_index(10.0), array.next_wake())
    assert 0 == array.next_index(50.0)


def test_a_restart_takes_over_what_had_ended_and_a_redrive_only_what_had_failed() -> None:
    array = ArrayState(4, None)
    for index in range(4):
        array.begin(index)
    array.succeed(0)
    array.unkept.add(0)
    array.fail(2, OOPS)
    again = ArrayState(4, None)
    again.restore(ItemsStatus.model_validate_json(array.status().model_dump_json()))

    assert 1 == again.next_index(0.0)
    assert [2] == again.reopen_failed()
    assert ("0", "0") == (str(again.succeeded), str(again.unkept))
    assert 2 == again.next_index(0.0)


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (Phase.SUCCEEDED, ({0}, set(), None)),
        (Phase.FAILED, (set(), {0}, None)),
        (Phase.PENDING, (set(), set(), 50.0)),
        (Phase.CANCELLED, (set(), set(), None)),
    ],
)
def test_the_end_of_an_attempt_settles_its_item(
    phase: Phase, expected: tuple[set[int], set[int], float | None]
) -> None:
    array = ArrayState(1, None)
    array.begin(0)
    verdict = Verdict(Course(phase), "Because", "", 50.0 if phase is Phase.PENDING else None)
    error = array.settle(0, verdict, "", "x" * 2000)

    back = array.next_wake() if phase is Phase.PENDING else None
    assert expected == (set(array.succeeded), set(array.failed), back)
    assert not array.running
    assert (None if phase is Phase.SUCCEEDED else JobError(type="Because", message="x" * 1024)) == error
    assert int(phase is Phase.FAILED) == len(array.status().errors)


@pytest.mark.parametrize(
    ("ends", "cancel", "expected"),
    [
        pytest.param("s-", False, (Phase.RUNNING, ""), id="some have not ended"),
        pytest.param("sr", True, (Phase.RUNNING, ""), id="cancelled, one still runs"),
        pytest.param("s-", True, (Phase.CANCELLED, "Cancelled"), id="cancelled, nothing runs"),
        pytest.param("ss", True, (Phase.CANCELLED, "Cancelled"), id="cancelled, all had ended"),
        pytest.param("sf", False, (Phase.FAILED, "ItemsFailed"), id="one failed"),
        pytest.param("ss", False, (Phase.SUCCEEDED, ""), id="all succeeded"),
    ],
)
def test_what_became_of_the_whole_array(ends: str, cancel: bool, expected: tuple[Phase, str]) -> None:
    array = ArrayState(len(ends), None)
    for index, end in enumerate(ends):
        if end != "-":
            array.begin(index)
        if end == "s":
            array.succeed(index)
        elif end == "f":
            array.fail(index, OOPS)
    course = Course(Phase.RUNNING, 7, 1, 2, 3, cancel)
    verdict = array.verdict(course)

    assert expected == (verdict.course.phase, verdict.reason)
    assert (7, 1, 2, 3, cancel) == tuple(getattr(verdict.course, name) for name in Course.__slots__[1:])


@pytest.mark.parametrize(
    ("failed", "unkept", "message"),
    [
        ([], [], ""),
        ([1], [], "1 of 2 items failed"),
        ([], [0, 1], "results of 2 of 2 items were not kept: the worker has no results directory"),
        ([1], [0], "1 of 2 items failed; results of 1 of 2 items were not kept: the worker has no results directory"),
    ],
)
def test_an_array_says_at_its_end_what_is_missing(failed: list[int], unkept: list[int], message: str) -> None:
    array = ArrayState(2, None)
    for index in range(2):
        array.begin(index)
        array.fail(index, OOPS) if index in failed else array.succeed(index)
    array.unkept = IndexSet(unkept)

    assert message == array.verdict(Course(Phase.RUNNING)).message
