"""Cutting what is nested too deeply out of JSON."""

import json

import pytest

from longshore.job.nesting import CUT, cut, shallow


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "[]"),
        ("[[]]", "[[]]"),
        ('{"a":[1,[2,[3]]],"b":{}}', f'{{"a":[1,"{CUT}"],"b":{{}}}}'),
        ('[[{"x":"]}"},[[[]]]],1]', f'[["{CUT}","{CUT}"],1]'),
        (r'["\"[[[", {"k": [{"z": "\\"}]}]', rf'["\"[[[", {{"k": "{CUT}"}}]'),
        ("[" * 5000 + "]" * 5000, f'[["{CUT}"]]'),
        ("1", "1"),
    ],
)
def test_what_is_too_deep_is_a_text_and_the_rest_stays(text: str, expected: str) -> None:
    assert expected.encode() == cut(text.encode(), 2)
    if len(text) < 1000:
        assert json.loads(expected) == shallow(json.loads(text), 2)


@pytest.mark.parametrize("text", ["[[[", "]]]", '["[[[', "[[[]", '["a\\'])
def test_what_is_no_json_stays_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        json.loads(cut(text.encode(), 2))


def test_a_text_without_an_end_is_read_once() -> None:
    """By its length: this one took a day when the end was looked for anew at every quote."""
    text = b'["' + rb"\"" * 4_000_000

    assert text == cut(text, 2)
