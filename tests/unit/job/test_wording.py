"""What is wrong, in words that no validation library has a part in."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from longshore.job.limits import QueuePolicy
from longshore.job.spec import Submission
from longshore.job.wording import sentence

FOREIGN = (
    "pydantic",
    "Input",
    "Value error",
    "valid dictionary",
    "validation",
    "Extra inputs",
    "Field required",
    "Assertion",
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [field.alias or name for name, field in Submission.model_fields.items()]


def faults(body: object, model: type[Submission | QueuePolicy] = Submission) -> list[str]:
    try:
        model.model_validate_json(orjson.dumps(body), by_alias=True, by_name=False)
    except ValidationError as error:
        return [sentence(fault["type"], fault["msg"]) for fault in error.errors()]
    return []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"handler": "echo", "priority": "high"}, "should be a whole number"),
        ({"handler": "echo", "priority": 1.5}, "should be a whole number"),
        ({"handler": "echo", "args": []}, "should be an object"),
        ({"handler": "echo", "suspend": "maybe"}, "should be true or false"),
        ({"handler": "echo", "after": ["a"] * 65}, "should have at most 64 items, not 65"),
        ({"handler": 7}, "should be text"),
        ({"handler": "echo", "colour": "red"}, "there is no such field"),
    ],
)
def test_a_fault_is_said_in_plain_words(body: dict[str, object], says: str) -> None:
    assert [says] == faults(body)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
def test_no_fault_has_the_words_of_the_validation_library(body: dict[str, object]) -> None:
    for text in faults(body):
        assert not [word for word in FOREIGN if word in text], text
