"""Whose a namespace is, by the markers in it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.ownership import owners

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def marker(namespace: str, name: str, holder: object, at: str = EARLY) -> dict[str, Any]:
    meta = {"namespace": namespace, "name": name, "creationTimestamp": at}
    return {"metadata": meta, "spec": {"holderIdentity": holder}}


def test_the_oldest_marker_counts_and_of_equally_old_ones_the_first_by_name() -> None:
    found = owners([
        marker("a", "x", "late", LATE), marker("a", "y", "early"),
        marker("b", "y", "second"), marker("b", "x", "first"),
    ])  # fmt: skip
    assert {"a": "early", "b": "first"} == found


def test_a_marker_without_a_holder_marks_nothing_and_a_broken_one_stops_nothing() -> None:
    broken: list[dict[str, Any]] = [{}, {"metadata": {"name": "x"}}, {"metadata": 7}]
    assert {"b": "me"} == owners([*broken, marker("a", "x", ""), marker("a", "y", None), marker("b", "x", "me")])


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from("pq")), unique=True))
def test_the_order_of_a_list_does_not_matter(entries: list[tuple[str, str, str]]) -> None:
    unique = {(namespace, name): holder for namespace, name, holder in entries}
    leases = [marker(*key, holder) for key, holder in unique.items()]
    assert owners(leases) == owners(reversed(leases))
