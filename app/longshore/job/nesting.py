"""JSON that is nested deeper than anything here can read or write: cut, so that the rest can be read.

An API server takes ten thousand levels. orjson reads 1,024 and writes 254; we refuse more than 64 in what is submitted.
"""

import re

SHOWN_DEPTH = 100  # levels that a result may have, and that are shown of a document or a list of them
CUT = "nested too deeply to be shown"
# A text without an end goes to the end: to look for another one at each quote in it would take hours, and nobody else would be served.
_MARKS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def cut(data: bytes, levels: int) -> bytes:
    """The same JSON with a text in place of every list and object beyond so many levels. What is no JSON stays none."""
    kept = bytearray()  # not a list of pieces: there may be millions
    depth = begun = 0
    for mark in _MARKS.finditer(data):
        match mark[0]:
            case b"[" | b"{":
                depth += 1
                if depth == levels + 1:
                    kept += data[begun : mark.start()]
            case b"]" | b"}":
                if depth == levels + 1:
                    kept += b'"%s"' % CUT.encode()
                    begun = mark.end()
                depth -= 1
    return bytes(kept + data[begun:]) if depth <= levels else data


def deeper_than(data: bytes, levels: int) -> bool:
    """Whether JSON is nested deeper than so many levels."""
    if data.count(b"[") + data.count(b"{") <= levels:
        return False  # nearly all there is: two looks, and no walk through it
    depth = 0
    for mark in _MARKS.finditer(data):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(mark[0], 0)
        if depth > levels:
            return True
    return False


def shallow(value: object, levels: int) -> object:
    """The same of what has been read."""
    if isinstance(value, dict):
        return {key: shallow(inner, levels - 1) for key, inner in value.items()} if levels else CUT
    if isinstance(value, list):
        return [shallow(inner, levels - 1) for inner in value] if levels else CUT
    return value
