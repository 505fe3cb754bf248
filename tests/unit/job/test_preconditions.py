"""If-Match and If-None-Match as RFC 9110 wants them compared."""

from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.errors import InvalidRequest, PreconditionFailed
from longshore.job.preconditions import NONE, from_wire, known, policy_tag, queue_tag, read

REFUSED = pytest.raises(PreconditionFailed)
DONE: Any = nullcontext()


@pytest.mark.parametrize(
    ("match", "none_match", "outcome"),
    [
        (None, None, DONE),
        ('"a-5"', None, DONE),
        ('"b-1", "a-5"', None, DONE),
        (',, "a-5" ,', None, DONE),
        ("*", None, DONE),
        ('"a-5-gzip"', None, DONE),
        ('W/"a-5"', None, REFUSED),
        ('"a-55"', None, REFUSED),
        ('"xa-5"', None, REFUSED),
        ('"x-²"', None, REFUSED),
        ("", None, REFUSED),
        (None, "*", REFUSED),
        (None, '"a-5"', REFUSED),
        (None, 'W/"a-5"', REFUSED),
        (None, '"a-6"', DONE),
    ],
)  # fmt: skip
def test_a_change_is_made_only_in_the_state_that_was_asked_for(match: Any, none_match: Any, outcome: Any) -> None:
    only = from_wire(read(match, none_match).wire())
    with outcome:
        only.check("a-5", "job x")


@pytest.mark.parametrize("header", ["a-5", '"a-5', 'w/"a-5"', '"a" "b"', '*, "a"'])
def test_a_header_that_cannot_be_read_is_refused_and_not_ignored(header: str) -> None:
    with pytest.raises(InvalidRequest, match="If-Match"):
        read(header, None)
    assert known(header) == ()


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_header_raises_anything_else(match: str, none_match: str) -> None:
    try:
        only = read(match, none_match)
    except InvalidRequest:
        return
    assert only == from_wire(only.wire())
    assert only != NONE


def test_the_depth_of_a_queue_changes_its_tag_but_not_what_a_change_depends_on() -> None:
    before: dict[str, object] = {"name": "a", "policy": {"paused": False}, "waiting": 1, "overridden": []}
    deeper = {**before, "waiting": 2}
    paused = {**before, "policy": {"paused": True}}

    assert queue_tag(before) != queue_tag(deeper)
    assert policy_tag(before) == policy_tag(deeper) != policy_tag(paused)
    read(f'"{queue_tag(before)}"', None).of_first_word().check(policy_tag(deeper), "queue a")
