"""Where a request ends, as it comes in, piece by piece; gunicorn's own parser is the judge."""

import itertools

import pytest
from gunicorn.config import Config
from gunicorn.http import errors
from gunicorn.http.body import ChunkedReader
from gunicorn.http.parser import RequestParser
from hypothesis import given
from hypothesis import strategies as st

from longshore.api.connections.framing import IncomingRequest, Need

MAX_BODY = 1000


def fed(pieces: list[bytes]) -> IncomingRequest:
    """The request after as many pieces as it needs."""
    request = IncomingRequest(bytearray(), MAX_BODY)
    for piece in pieces:
        request.data += piece
        if request.look() is Need.NOTHING or request.status:
            break
    return request


@pytest.mark.parametrize(
    ("case", "raw", "need", "end"),
    [
        ("nothing", b"", Need.HEAD, 0),
        ("half a line", b"GET / HT", Need.HEAD, 0),
        ("half the headers", b"GET / HTTP/1.1\r\nHost: x\r\n", Need.HEAD, 0),
        ("no body", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET", Need.NOTHING, 27),
        ("an empty line first", b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", Need.NOTHING, 29),
        ("half a body", b"POST / HTTP/1.1\r\ncontent-LENGTH: 3\r\n\r\nab", Need.BODY, 41),
        ("a body", b"POST / HTTP/1.1\r\ncontent-LENGTH: 3\r\n\r\nabc", Need.NOTHING, 41),
        ("a chunk", b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n", Need.BODY, 0),
        ("chunks", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\nGET", Need.NOTHING, 64),
        ("trailers", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", Need.NOTHING, 58),
    ],
)  # fmt: skip
def test_a_request_is_whole_where_it_ends(case: str, raw: bytes, need: Need, end: int) -> None:
    request = IncomingRequest(bytearray(raw), MAX_BODY)

    assert (need, end, False, 0) == (request.look(), request.end, request.cut, request.status), case


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
    ],
)
def test_what_will_be_refused_is_not_waited_for(raw: bytes) -> None:
    request = IncomingRequest(bytearray(raw), MAX_BODY)

    assert (Need.NOTHING, True) == (request.look(), request.cut)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"G" * 9000, 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 12_000, 431),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 9000, 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 3000, 431),
    ],
)
def test_what_has_no_end_is_refused_at_its_limit(raw: bytes, status: int) -> None:
    request = IncomingRequest(bytearray(raw), MAX_BODY)
    request.look()

    assert status == request.status


def test_tiny_chunks_cannot_cost_more_than_they_carry() -> None:
    request = IncomingRequest(bytearray(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 10**9)
    request.look()
    for _ in range(40):
        request.data += b"1\r\na\r\n" * 1000
        request.look()

    assert 400 == request.status


PARTS = [
    b"POST / HTTP/1.1", b"GET /a HTTP/1.0", b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"Host: x\r\n", b"Content-Length: 3", b"Content-Length: 0",
    b"Transfer-Encoding: chunked", b"transfer-encoding:identity", b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b";", b" ",
    b"GET / HTTP/1.1\r\n\r\n", b"content-length : 3", b"Expect: 100-continue\r\n", b"\x00", b"\xff",
]  # fmt: skip
BEGIN = b"POST / HTTP/1.1\r\nHost: x\r\n"


@given(
    st.lists(st.sampled_from(PARTS), max_size=12).map(b"".join), st.booleans(), st.lists(st.integers(1, 9), max_size=40)
)
def test_no_way_of_sending_moves_the_end_and_the_parser_agrees(tail: bytes, begun: bool, steps: list[int]) -> None:
    raw = (BEGIN if begun else b"") + tail
    at = [0, *(min(len(raw), place) for place in itertools.accumulate(steps)), len(raw)]
    slowly = fed([raw[begin:end] for begin, end in itertools.pairwise(at)])
    whole = fed([raw])

    if whole.look() is not Need.NOTHING or whole.status:
        return
    assert (slowly.cut, slowly.status) == (whole.cut, 0)
    if whole.cut:
        return
    assert (slowly.end, slowly.head_end) == (whole.end, whole.head_end)
    try:
        parsed = next(RequestParser(Config(), iter([bytes(whole.data[: whole.end])]), ("192.0.2.1", 1)))
        body = parsed.body.read()
    except (errors.ParseException, errors.NoMoreData, StopIteration):
        return  # refused, and its connection ends
    assert isinstance(parsed.body.reader, ChunkedReader) == whole.chunked
    if not whole.chunked:
        assert len(body) == whole.length, "the parser reads to the same end"
