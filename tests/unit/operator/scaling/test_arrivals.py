"""What came when: from files of numbers, from jobs as they are printed, and at random."""

import itertools
import json
from typing import Any

import pytest

from longshore_operator.scaling.arrivals import Arrival, BadTrace, at_random, read, written

DAY = 86_400
JOB = {
    "metadata": {"uid": "a", "creationTimestamp": "2027-01-01T00:00:10Z"}, "spec": {"handler": "resize"},
    "status": {"history": [{"startedAt": "2027-01-01T00:00:11.500Z", "finishedAt": "2027-01-01T00:00:13.750Z"}]},
}  # fmt: skip


def job(uid: str, created: int, *attempts: tuple[float, float], **spec: Any) -> dict[str, Any]:
    """Seconds of one minute."""

    def at(second: float) -> str:
        return f"2027-01-01T00:00:{second:06.3f}Z"

    history = [{"startedAt": at(began), "finishedAt": at(ended)} for began, ended in attempts]
    meta = {"uid": uid, "creationTimestamp": at(created)}
    return {"metadata": meta, "spec": {"handler": "echo", **spec}, "status": {"history": history}}


def taken(*jobs: Any) -> list[tuple[float, float, str]]:
    text = json.dumps({"kind": "List", "items": jobs}, indent=4)
    return [(round(one.at, 3), round(one.seconds, 3), one.handler) for one in read(text.splitlines(keepends=True))]


def test_numbers_with_and_without_a_handler() -> None:
    assert [Arrival(0, 2.5), Arrival(1.5, 3, "resize")] == list(read(["0,2.5\n", "1.5,3, resize\n"]))


@pytest.mark.parametrize("line", ["1", "1,2,a,b", "a,2", "1,nan", "inf,1", "", "-1,2", "1,-2"])
def test_a_line_that_is_no_arrival_is_told_by_its_number(line: str) -> None:
    with pytest.raises(BadTrace, match="^line 2 of the trace"):
        list(read(["0,1\n", line + "\n", "3,1\n"]))


def test_a_trace_is_read_as_it_was_written() -> None:
    arrivals = [Arrival(0.0, 1.25, "a"), Arrival(3.5, 0.0, "b")]
    assert arrivals == list(read(written(arrivals)))


def test_jobs_come_in_the_order_of_their_creation_from_the_first_on() -> None:
    late, early = job("b", 20, (25, 27.5)), job("a", 10, (11, 12))
    assert [(0, 1, "echo"), (10, 2.5, "echo")] == taken(late, early)


def test_each_attempt_is_an_arrival() -> None:
    assert [(0, 1, "echo"), (7, 2, "echo")] == taken(job("a", 10, (11, 12), (17, 19)))


def test_a_delayed_job_comes_at_its_time() -> None:
    assert [(0, 1, "echo"), (5, 1, "echo")] == taken(
        job("a", 10, (10, 11)), job("b", 10, (18, 19), startAfter="2027-01-01T00:00:15Z")
    )


def test_what_has_not_ended_and_arrays_are_left_out() -> None:
    assert [(0, 1, "echo")] == taken(job("a", 10), job("b", 10, (11, 12)), job("c", 1, (2, 3), count=5))


def test_a_job_may_start_before_the_second_that_its_creation_is_rounded_to() -> None:
    assert [(0, 1, "echo")] == taken(job("a", 10, (9.9, 10.9)))


def test_the_last_of_several_sights_of_a_job_holds() -> None:
    sights = [job("a", 10), job("a", 10, (11, 12)), job("b", 12, (13, 15))]
    watched = "".join(json.dumps(one, indent=4) + "\n" for one in sights)
    lines = "".join(json.dumps(one) + "\n" for one in sights)
    for text in (watched, lines):
        assert [(0, 1), (2, 2)] == [(one.at, one.seconds) for one in read(text.splitlines(keepends=True))]


def test_jobs_of_the_api_are_jobs() -> None:
    ours = {"id": "x", "createdAt": "2027-01-01T00:00:10.250Z", "spec": {"command": ["true"]}, "status": job("", 0, (10.5, 11))["status"]}  # fmt: skip
    for text in (json.dumps({"items": [ours]}), json.dumps([ours], indent=2)):
        assert [Arrival(0, 0.5, "command")] == list(read(text.splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("text", "said"), [("{broken", "is none"), ('{"kind": "Status"}', "no job"), ("[1]", "no job")]
)
def test_json_that_holds_no_jobs_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadTrace, match=said):
        list(read([text]))


def test_a_day_has_its_rate_and_its_swing() -> None:
    day = list(itertools.takewhile(lambda one: one.at < DAY, at_random(0.5, 2.0, 1, swing=0.8)))
    night = [one for one in day if one.at < DAY / 8 or one.at > DAY * 7 / 8]

    assert len(day) == pytest.approx(0.5 * DAY, rel=0.03)
    assert sum(one.seconds for one in day) / len(day) == pytest.approx(2.0, rel=0.03)
    # ∫ of 1 − 0.8·cos over that quarter of the circle
    assert len(night) / len(day) == pytest.approx(0.25 - 0.8 * 2**0.5 / (2 * 3.14159), abs=0.01)
