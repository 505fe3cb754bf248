"""The trace context of a caller, by the rules of the W3C: what breaks them is dropped, never refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.job.trace_context import MAX_LENGTH, MAX_MEMBERS, traceparent, tracestate

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="none"),
        pytest.param("hello", id="no context"),
        pytest.param("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", id="a version that there is not"),
        pytest.param("00-00000000000000000000000000000000-00f067aa0ba902b7-01", id="a trace of zeros"),
        pytest.param("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", id="a span of zeros"),
        pytest.param("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", id="capitals"),
        pytest.param(PARENT + "\n", id="a line end"),
    ],
)
def test_what_is_no_traceparent_is_dropped_and_its_tracestate_too(text: str) -> None:
    assert "" == traceparent(text) == tracestate("a=1", text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        pytest.param("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", id="plain"),
        pytest.param("a=1 ,\tb=2,, c=3", "a=1,b=2,c=3", id="spaces and empty members"),
        pytest.param("fw529a3039@dt=FfAAA", "fw529a3039@dt=FfAAA", id="a tenant"),
        pytest.param("0tenant@sys=1", "0tenant@sys=1", id="a tenant that begins with a digit"),
        pytest.param("a=b c", "a=b c", id="a space within a value"),
        pytest.param(",".join(f"k{n}=v" for n in range(MAX_MEMBERS)), ",".join(f"k{n}=v" for n in range(MAX_MEMBERS)), id="32"),
        pytest.param(",".join(f"k{n}=v" for n in range(MAX_MEMBERS + 1)), "", id="33 members"),
        pytest.param("a=1,a=2", "", id="a key twice"),
        pytest.param("A=1", "", id="a capital in a key"),
        pytest.param("0a=1", "", id="a key that begins with a digit"),
        pytest.param("a=1,b", "", id="a member without a value"),
        pytest.param("a=1=2", "", id="an equals sign in a value"),
        pytest.param("a=\u00e9", "", id="a letter beyond ASCII"),
        pytest.param("a=", "", id="an empty value"),
        pytest.param("a=" + "v" * 257, "", id="a value of 257"),
        pytest.param("a=1,b=" + "v" * 200 + ",c=" + "w" * 250 + ",d=" + "x" * 100, "a=1,d=" + "x" * 100, id="long ones go first"),
        pytest.param(",".join(f"k{n}=" + "v" * 100 for n in range(6)), ",".join(f"k{n}=" + "v" * 100 for n in range(4)), id="then the last"),
    ],
)  # fmt: skip
def test_a_tracestate_is_kept_in_whole_members_or_dropped(text: str, kept: str) -> None:
    assert kept == tracestate(text, PARENT)


@given(st.text(alphabet="ab=@,- \t1é", max_size=200) | st.lists(st.text("ab1", min_size=1), max_size=40).map(
    lambda keys: ",".join(f"{key}={key * 9}" for key in keys)))  # fmt: skip
def test_what_is_kept_is_short_and_is_kept_again(text: str) -> None:
    kept = tracestate(text, PARENT)

    assert len(kept) <= MAX_LENGTH
    assert kept == tracestate(kept, PARENT)
