"""Results as JSON: the table of docs/handlers.md, what is refused, and what an annotation tells before anything runs."""

import collections
import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import typing
import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from longshore.json_form import NotJson, encode, objection


class Point(typing.NamedTuple):
    x: int
    y: object


def _kind(value: object) -> str:
    return type(value).__name__


class Colour(enum.Enum):
    RED = "red"


class Model(BaseModel):
    a: int = 1
    f: float = 1.5


@dataclasses.dataclass
class Row:
    x: float
    y: object = None


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Point(1, 2), [1, 2]),
        ({"p": Point(1, {3})}, {"p": [1, [3]]}),
        (Model(), {"a": 1, "f": 1.5}),
        ([Model(a=2), None], [{"a": 2, "f": 1.5}, None]),
        (Row(1.0), {"x": 1.0, "y": None}),
        (Row(1.0, Row(2.0, {1: None})), {"x": 1.0, "y": {"x": 2.0, "y": {"1": None}}}),
        (decimal.Decimal("1.10"), "1.10"),
        (pathlib.Path("/x/y"), "/x/y"),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({2, 1}), [1, 2]),
        (Colour.RED, "red"),
        ({Colour.RED: 1, 2: None}, {"red": 1, "2": None}),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.date(2026, 11, 28), "2026-11-28"),
        ({datetime.date(2026, 11, 28): 1, True: 2, None: 3}, {"2026-11-28": 1, "true": 2, "null": 3}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (2**64 - 1, 2**64 - 1),
        (orjson.Fragment(b'{"a":null}'), {"a": None}),
        (None, None),
    ],
    ids=_kind,
)
def test_what_has_a_faithful_form_is_written_in_it(value: object, written: object) -> None:
    assert written == orjson.loads(encode(value))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "the result is nan"),
        ({"mean": math.inf}, "at mean is inf"),
        ({"a": [1, {"b": -math.inf}]}, r"at a\[1\]\.b is -inf"),
        (Model(f=math.nan), "at f is nan"),
        ({"m": [Model(f=math.inf)]}, r"at m\[0\]\.f is inf"),
        (Row(math.nan), "at x is nan"),
        (decimal.Decimal("NaN"), "NaN"),
        ({1: "int", "1": "str"}, "two keys that are both '1'"),
        ({"a": {None: 1, "null": 2}}, "at a has two keys"),
        ({(1, 2): 3}, "a key of type tuple"),
        (b"x", "base64"),
        ({"a": bytearray(b"x")}, "at a is of type bytearray"),
        (2**64, "more than 64 bits"),
        (1j, "complex"),
        (object(), "object, which is not JSON serializable"),
        (orjson.Fragment(b"{"), "Fragment"),
        (orjson.Fragment(b"[" * 101 + b"]" * 101), "100 levels"),
        ("half a pair \ud800", "UTF-8"),
        (pathlib.Path("caf\udce9"), "UTF-8"),
    ],
    ids=_kind,
)
def test_what_has_none_is_refused_by_its_place(value: object, said: str) -> None:
    with pytest.raises(NotJson, match=said):
        encode(value)


def test_what_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append({"a": circle})

    with pytest.raises(NotJson):
        encode(circle)


def test_numbers_of_numpy_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")

    assert b"1.5" == encode(numpy.float64(1.5))
    assert b'{"n":3,"a":[0,1,2],"b":true}' == encode(
        {"n": numpy.int64(3), "a": numpy.arange(3), "b": numpy.bool_(True)}
    )
    assert b'{"n":3,"a":[0,1],"x":null}' == encode({"n": numpy.int64(3), "a": numpy.arange(4)[::2] // 2, "x": None})
    for wrong in (numpy.float64("nan"), numpy.array([1.0, numpy.inf]), {"a": numpy.array([[numpy.nan]])}):
        with pytest.raises(NotJson, match="which JSON has no number for"):
            encode(wrong)
    assert "" == objection(numpy.ndarray) == objection(numpy.float64)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=25,
)  # fmt: skip


@given(plain)
def test_plain_values_come_back_as_they_were(value: object) -> None:
    assert value == orjson.loads(encode(value))


@given(plain, st.sampled_from([math.nan, math.inf, -math.inf]), st.integers(0, 3))
def test_a_number_that_is_none_is_found_wherever_it_is(value: object, wrong: float, where: int) -> None:
    hidden: object = [
        {"a": value, "b": wrong},
        (value, [wrong]),
        {"x": Row(wrong, value)},
        [Point(value, Model(f=wrong))],
    ][where]

    with pytest.raises(NotJson):
        encode(hidden)


@pytest.mark.parametrize(
    "annotation",
    [
        bytes, bytes | None, list[bytes], dict[str, complex], tuple[int, bytearray], typing.Iterator[int],
        typing.Generator[int, None, None], typing.Callable[[], int], type, datetime.timedelta,
        typing.Annotated[bytes, "x"], memoryview | None, pytest.Item,
    ],
    ids=str,
)  # fmt: skip
def test_an_annotation_tells_what_cannot_be_kept(annotation: object) -> None:
    # pytest.Item is abstract: what is returned is a subclass, of which nothing is known.
    assert bool(objection(annotation)) is (annotation is not pytest.Item)


@pytest.mark.parametrize(
    "annotation",
    [
        None, int, str, float, bool, object, Any, dict[str, object], list[Row], Model, Row, Point, Colour, set[int],
        pathlib.Path, decimal.Decimal, uuid.UUID, datetime.datetime, typing.Mapping[str, int], typing.Sequence[int],
        typing.Iterable[int], typing.Literal["a", 1], int | None, typing.TypeVar("T"), "a name that is not resolved",
        typing.TypedDict("T", {"a": int}), orjson.Fragment, collections.OrderedDict[str, int],
    ],
    ids=str,
)  # fmt: skip
def test_an_annotation_that_fits_or_tells_nothing_passes(annotation: object) -> None:
    assert "" == objection(annotation)
