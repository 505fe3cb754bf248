"""A job's output in the service's log: whole lines and whole letters, in whatever pieces a job writes them."""

import os

import orjson
from hypothesis import given
from hypothesis import strategies as st

from longshore.engine.echo import LINE_BYTES, Echo
from longshore.engine.journal import Journal


def lines(*pieces: bytes, limit: int = 1 << 20) -> list[str]:
    echo = Echo(limit)
    found = [line for piece in pieces for line in echo.add(piece)] + echo.rest()
    return [line.decode() for line in found]


def test_a_line_that_comes_in_pieces_is_one_line() -> None:
    assert ['{"event": "paid"}'] == lines(b'{"event": ', b'"paid"}', b"\n")


def test_a_letter_that_comes_in_pieces_is_one_letter() -> None:
    smile = "\N{GRINNING FACE}\n".encode()

    assert ["\N{GRINNING FACE}"] == lines(smile[:2], smile[2:])


def test_a_line_without_an_end_is_told_at_the_end() -> None:
    assert ["one", "half"] == lines(b"one\nha", b"lf")


def test_a_progress_bar_is_one_line_as_it_stood_in_the_end() -> None:
    assert ["100%", "next"] == lines(*[f"\r{n:3d}%".encode() for n in range(101)], b"\r\nnext\r\n")


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=50)


@given(texts, st.integers(1, 100), st.lists(st.integers(0, 8000), max_size=5))
def test_whatever_is_printed_is_told_as_it_is(text: str, times: int, cuts: list[int]) -> None:
    text *= times
    data = text.encode()
    places = sorted(min(cut, len(data)) for cut in cuts)
    pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    found = lines(*pieces)

    assert "".join(text.split("\n")) == "".join(found)
    assert all(len(line.encode()) <= LINE_BYTES for line in found)


def test_no_more_is_told_than_allowed() -> None:
    echo = Echo(10)

    assert [b"0123456", b"89"] == [*echo.add(b"0123456\n89abc\nx\n"), *echo.rest()]
    assert echo.cut
    assert [] == echo.add(b"more\n")


def test_the_log_goes_on_with_whole_lines_after_one_that_its_reader_did_not_take() -> None:
    reading, writing = os.pipe()
    journal = Journal(writing, style="json")
    for _ in range(40):
        journal("failed", traceback="x" * 9000)  # together more than a pipe takes while nobody reads
    data = os.read(reading, 1 << 20)
    journal("after")
    data += os.read(reading, 1 << 20)
    os.close(reading)
    os.close(writing)

    assert journal.dropped
    *_, cut, last, end = data.split(b"\n")
    assert ("after", b"") == (orjson.loads(last)["action"], end)
    assert cut.startswith(b'{"time":')
