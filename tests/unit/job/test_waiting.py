import pytest

from longshore.job.items import ArrayState
from longshore.job.lane import Entry
from longshore.job.limits import QueuePolicy
from longshore.job.line import Line
from longshore.job.status import JobError
from longshore.job.waiting import Held, Prerequisites, enter, obstacle

NOW = 1000.0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"runnable": False}, Held.HANDLER, id="no worker knows its handler"),
        pytest.param({"runnable": False, "waits": True}, Held.DEPENDENCIES, id="other jobs come before workers"),
        pytest.param({"waits": True, "suspend": True}, Held.SUSPENDED, id="a person comes before other jobs"),
        pytest.param({"suspend": True, "cancel": True}, Held.ENDING, id="an end comes before everything"),
    ],
)
def test_the_first_obstacle_is_named(changes: dict[str, bool], expected: Held | None) -> None:
    nothing = {"cancel": False, "suspend": False, "waits": False, "runnable": True}
    assert expected == obstacle(**(nothing | changes))


def make_array(*, again: float | None = None, parallelism: int = 1) -> ArrayState:
    array = ArrayState(1, parallelism)
    array.begin(0)
    if again is not None:
        array.again(0, again)
    return array


@pytest.mark.parametrize(
    ("array", "not_before", "expected"),
    [
        pytest.param(None, 0.0, ("ready", "", 0.0), id="a job that may start"),
        pytest.param(None, NOW, ("ready", "", 0.0), id="a job whose time has come"),
        pytest.param(None, NOW + 1, ("delayed", "", NOW + 1), id="a job whose time comes"),
        pytest.param(ArrayState(1, None), 0.0, ("ready", "", 0.0), id="an item that may start"),
        pytest.param(make_array(again=NOW - 1), 0.0, ("ready", "", 0.0), id="an item after its back-off"),
        pytest.param(make_array(again=NOW + 5), 0.0, ("delayed", "", NOW + 5), id="an item that backs off"),
        pytest.param(make_array(again=NOW + 5), NOW + 9, ("delayed", "", NOW + 9), id="the later of two times"),
        pytest.param(make_array(), 0.0, ("held", Held.ITEMS, 0.0), id="no item to start"),
    ],
)
def test_a_job_enters_its_line(array: ArrayState | None, not_before: float, expected: tuple[str, str, float]) -> None:
    line, entry = Line(QueuePolicy(), NOW), Entry("a", since=0.0, not_before=not_before)
    enter(line, entry, None, array, NOW)
    assert expected == (entry.place, entry.why, entry.not_before)
    assert "a" in line


def test_what_is_held_is_held_whatever_its_time() -> None:
    line, entry = Line(QueuePolicy(), NOW), Entry("a", since=0.0)
    enter(line, entry, Held.SUSPENDED, ArrayState(1, None), NOW)
    assert ["a"] == line.held(Held.SUSPENDED)
    assert None is line.pop(NOW)


def test_an_array_wakes_when_its_next_item_may_start() -> None:
    array = ArrayState(2, 2)
    assert NOW == array.wake(NOW)
    array.begin(0)
    array.begin(1)
    assert None is array.wake(NOW)
    array.again(0, NOW + 5)
    assert NOW + 5 == array.wake(NOW)
    array.fail(1, JobError(type="E"))
    assert NOW + 5 == array.wake(NOW + 5)


def test_prerequisites_are_met_one_by_one() -> None:
    wanted: Prerequisites[str] = Prerequisites()
    wanted.expect("child", ["a", "b"])
    wanted.expect("other", ["b"])
    assert ({"a", "b"}, ["child"]) == (wanted.of("child"), wanted.behind("a"))
    assert {"child", "other"} == set(wanted.behind("b"))
    wanted.met("child", "a")
    assert ({"b"}, []) == (wanted.of("child"), wanted.behind("a"))
    wanted.expect("child", ["c"])
    assert ({"c"}, ["other"]) == (wanted.of("child"), wanted.behind("b"))


def test_prerequisites_leave_nothing_behind() -> None:
    wanted: Prerequisites[str] = Prerequisites()
    empty = repr(vars(wanted))
    wanted.expect("met", ["a", "b"])
    wanted.expect("gone", ["b"])
    for name in ("a", "b", "b"):
        wanted.met("met", name)
    wanted.expect("gone", ())
    wanted.expect("never", ())
    assert empty == repr(vars(wanted))
