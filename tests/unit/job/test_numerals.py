"""Text that is a number, and text that only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.job.numerals import decimal, signed, whole

NONE_OF_THEM = ["", "²", "٣", "1_0", " 5", "5 ", "5\n", "+5", "nan", "inf", "Infinity", "0x10", "1e", "9" * 19, "9" * 5000, "1.", ".5"]  # fmt: skip


@pytest.mark.parametrize("text", NONE_OF_THEM)
def test_what_only_looks_like_a_number_is_none(text: str) -> None:
    assert (None, None, None) == (whole(text), signed(text), decimal(text))


@given(st.text(max_size=30))
def test_no_text_raises(text: str) -> None:
    for read in (whole, signed, decimal):
        assert read(text) is None or all(letter in "0123456789+-.eE" for letter in text)


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_numbers_are_read_as_they_are_written(number: int) -> None:
    assert number == signed(str(number))
    assert (number if number >= 0 else None) == whole(str(number))


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e17, max_value=1e17))
def test_floats_are_read_as_they_are_written(number: float) -> None:
    assert number == decimal(repr(number))


def test_a_number_that_no_float_holds_is_none() -> None:
    assert decimal("1e999") is None
