"""What the command line warns of before a YAML file goes on to kubectl."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.cli.yaml_traps import MOST, warnings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("args: {y: 1}", ['line 1: kubectl reads the key y as "true" (YAML 1.1); write "y" with quotes']),
        ("retry:\n  on: [E]", ['line 2: kubectl reads the key on as "true" (YAML 1.1); write "on" with quotes']),
        ("args: {x: No}", ['line 1: kubectl reads No as a boolean (YAML 1.1); write "No" with quotes, or true or false']),
        ("command: [echo, off]", ['line 1: kubectl reads off as a boolean (YAML 1.1); write "off" with quotes, or true or false']),
        ("args: {a: {x: null}}", ["line 1: client-side `kubectl apply` loses x, which is null; use --server-side"]),
        ("items: [{x: }]", ["line 1: client-side `kubectl apply` loses x, which is null; use --server-side"]),
        ("args: {'y': 1, x: 'no', z: true, w: 'null'}", []),
        ("queue: null", []),
        ("{", []),
        ("a: &a {b: *a}", []),
    ],
)  # fmt: skip
def test_what_kubectl_reads_otherwise_is_named_with_its_line(text: str, said: list[str]) -> None:
    assert said == warnings(text)


def test_a_file_of_traps_has_no_more_than_ten_warnings_and_their_number() -> None:
    found = warnings("\n".join(["args:", *(f"  - {{y: {number}}}" for number in range(25))]))
    assert (MOST + 1, "and 15 more") == (len(found), found[-1])


@given(st.text(alphabet=":-[]{}&*!|>'\"%@`ynot ,#\n", max_size=60))
def test_any_text_is_looked_at(text: str) -> None:
    assert len(warnings(text)) <= MOST + 1
