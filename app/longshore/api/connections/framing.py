"""How much of a request has come in: where its head ends, and where its body.

gunicorn's parser stays the judge of what a request means. Here is found out no more than where it ends, so that a
thread is given whole requests only. What gunicorn is going to refuse anyway (two lengths, a length beside chunks, a
bare line feed) counts as whole as soon as that is clear, and its connection ends after the answer.
"""

import enum
import re

MAX_LINE_BYTES = 8190
"""Longest request line, as in ``serving.py``."""
MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together; gunicorn alone would take 64 headers of 8 KiB."""
MAX_TRAILER_BYTES = 16 * 1024
CHUNK_OVERHEAD = 4  # times the decoded bytes; more means chunks of a byte or two, which cost us more than the sender

_FIELDS = re.compile(rb"\r\n(content-length|transfer-encoding|expect)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_HEX = re.compile(rb"[0-9a-fA-F]{1,15}")
_MOST_DIGITS = 18  # a longer length is beyond every limit; int() of thousands of digits raises


class Need(enum.Enum):
    """What has to come before the request can be answered."""

    HEAD = "head"
    """The rest of the request line or of the headers."""
    BODY = "body"
    """The rest of the body."""
    NOTHING = "nothing"
    """Nothing: it is whole, or as whole as it has to be to be refused."""


class IncomingRequest:
    """The bytes of one request and of what follows it; ``look`` after each addition to ``data``."""

    __slots__ = (
        "_checked",
        "_chunks",
        "_max_body",
        "cut",
        "data",
        "end",
        "expects_continue",
        "head_end",
        "length",
        "status",
    )

    def __init__(self, data: bytearray, max_body_bytes: int) -> None:
        self.data = data
        self.head_end = 0
        """Where the body begins; 0 until the head is whole."""
        self.end = 0
        """Where the request ends; what lies beyond belongs to the next."""
        self.length = 0
        """Content-Length of the body that is waited for."""
        self.cut = False
        """Whether gunicorn gets less than the request claims to have: the connection must not be used again."""
        self.status = 0
        """The status to refuse it with at once; 0: gunicorn reads it."""
        self.expects_continue = False
        self._max_body = max_body_bytes
        self._checked = 0
        self._chunks: _Chunks | None = None

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self._chunks is not None

    @property
    def missing(self) -> int:
        """Bytes of the body that are known to be missing; 0 where that is not known."""
        return max(0, self.head_end + self.length - len(self.data)) if self.head_end else 0

    def look(self) -> Need:
        """What is missing still."""
        if not self.head_end and not self._find_head():
            return Need.NOTHING if self.cut or self.status else Need.HEAD
        if self.cut:
            return Need.NOTHING
        if self._chunks is not None:
            return self._look_at_chunks(self._chunks)
        self.end = self.head_end + self.length
        return Need.NOTHING if len(self.data) >= self.end else Need.BODY

    def _find_head(self) -> bool:
        data = self.data
        # One empty line before the request line is allowed (RFC 9112, 2.2); gunicorn skips it too.
        begin = 2 if data.startswith(b"\r\n") else 0
        if data.startswith(b"\r\n\r\n"):
            self._cut_at(len(data))
            return False
        end = data.find(b"\r\n\r\n", max(begin, self._checked - 3))
        if end < 0:
            self._check_unfinished(begin)
            return False
        self.head_end = end + 4
        if data.count(b"\n", 0, self.head_end) != data.count(b"\r\n", 0, self.head_end):
            self._cut_at(self.head_end)
        else:
            self._read_fields(begin)
        return True

    def _check_unfinished(self, begin: int) -> None:
        data, checked = self.data, self._checked
        if data[checked - 1 : checked] == b"\r":
            checked -= 1  # its line feed may have come now
        self._checked = len(data)
        if data.count(b"\n", checked) != data.count(b"\r\n", checked):
            self._cut_at(len(data))  # no head would ever end that way: gunicorn says so
        elif data.find(b"\r\n", begin, begin + MAX_LINE_BYTES + 2) < 0 and len(data) - begin > MAX_LINE_BYTES:
            self.status = 414
        elif len(data) > MAX_HEAD_BYTES:
            self.status = 431

    def _read_fields(self, begin: int) -> None:
        lengths, codings = [], []
        for name, value in _FIELDS.findall(self.data, begin, self.head_end):
            kind = name[:1].lower()
            if kind == b"c":
                lengths.append(bytes(value).rstrip(b" \t"))
            elif kind == b"t":
                codings.append(bytes(value).rstrip(b" \t").lower())
            else:
                self.expects_continue = value.rstrip(b" \t").lower() == b"100-continue"
        if codings:
            if lengths or codings != [b"chunked"]:
                self._cut_at(self.head_end)
            else:
                self._chunks = _Chunks(self.head_end, self._max_body)
        elif lengths:
            self._read_length(lengths)

    def _read_length(self, lengths: list[bytes]) -> None:
        text = lengths[0]
        if len(lengths) > 1 or not text.isdigit() or len(text) > _MOST_DIGITS or int(text) > self._max_body:
            self._cut_at(self.head_end)
        else:
            self.length = int(text)

    def _look_at_chunks(self, chunks: "_Chunks") -> Need:
        if not self.end and not chunks.scan(self.data):
            return Need.BODY
        self.status = chunks.status
        self.end = chunks.at
        return Need.NOTHING

    def _cut_at(self, end: int) -> None:
        self.cut, self.end = True, end


class _Chunks:
    """Finds the end of a chunked body (RFC 9112, 7.1) without copying it; what it lets pass gunicorn checks again."""

    __slots__ = ("_begin", "_decoded", "_in_trailers", "_max_body", "_skip", "at", "status")

    def __init__(self, begin: int, max_body_bytes: int) -> None:
        self._begin = self.at = begin
        self._max_body = max_body_bytes
        self._decoded = self._skip = 0
        self._in_trailers = False
        self.status = 0
        """Why it is refused."""

    def scan(self, data: bytearray) -> bool:
        """Go on where the last scan ended; whether the end was found, or a reason to refuse it."""
        while True:
            if self._in_trailers:
                return self._scan_trailers(data)
            if self._skip:
                end = self.at + self._skip
                if len(data) < end + 2:
                    return False
                if data[end : end + 2] != b"\r\n":
                    return self._refuse(400)
                self.at, self._skip = end + 2, 0
                if self.at - self._begin > CHUNK_OVERHEAD * self._decoded + MAX_HEAD_BYTES:
                    return self._refuse(400)
            if not self._scan_size(data):
                return bool(self.status)

    def _scan_size(self, data: bytearray) -> bool:
        end = data.find(b"\r\n", self.at, self.at + MAX_LINE_BYTES + 2)
        if end < 0:
            if len(data) - self.at > MAX_LINE_BYTES:
                self._refuse(400)
            return False
        size = _HEX.fullmatch(data[self.at : end].partition(b";")[0].rstrip(b" \t"))
        if size is None:
            self._refuse(400)
            return False
        self._skip = int(size[0], 16)
        self._decoded += self._skip
        if self._decoded > self._max_body:
            self._refuse(413)
            return False
        self.at = end + 2
        self._in_trailers = not self._skip
        return True

    def _scan_trailers(self, data: bytearray) -> bool:
        if data.startswith(b"\r\n", self.at):
            self.at += 2
            return True
        end = data.find(b"\r\n\r\n", self.at, self.at + MAX_TRAILER_BYTES)
        if end >= 0:
            self.at = end + 4
            return True
        return len(data) - self.at > MAX_TRAILER_BYTES and self._refuse(431)

    def _refuse(self, status: int) -> bool:
        self.status = status
        return True
