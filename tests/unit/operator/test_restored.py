"""What the metadata of a restored job tells."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.job.status import RESTORING, Phase
from longshore_operator.restored import APPLIED, CONSENT, VELERO, ended_as, obstacle


def applied(status: object, **annotations: str) -> dict[str, Any]:
    text = json.dumps({"kind": "Job", "spec": {}, "status": status})
    return {"annotations": {APPLIED: text, **annotations}}


@pytest.mark.parametrize(
    ("metadata", "phase"),
    [
        (applied({"phase": "Succeeded"}), Phase.SUCCEEDED),
        (applied({"phase": "Failed"}), Phase.FAILED),
        (applied({"phase": "Running"}), None),
        (applied({"phase": "Done"}), None),
        (applied([]), None),
        (applied({"phase": {}}), None),
        (applied({"phase": "Succeeded"}, **{CONSENT: "true"}), None),
        ({"annotations": {APPLIED: '{"kind": "Job", "spec": {"handler": "x"}}'}}, None),
        ({"annotations": None}, None),
        ({}, None),
    ],
)
def test_the_end_of_a_copy_is_read_from_what_was_applied(metadata: dict[str, Any], phase: Phase | None) -> None:
    assert phase == ended_as(metadata)


@given(st.text(max_size=60))
def test_whatever_the_annotation_holds_nothing_is_raised(text: str) -> None:
    assert ended_as({"annotations": {APPLIED: f'"status"{text}'}}) is None


def test_what_velero_made_waits_for_consent() -> None:
    labels = {VELERO: "r"}
    assert "restored by Velero" in obstacle({"labels": labels})
    assert "" == obstacle({"labels": labels, "annotations": {CONSENT: "true"}}) == obstacle({"labels": {"team": "a"}})


def test_a_restore_that_goes_on_is_not_put_down_to_velero() -> None:
    assert "longshore restore" in obstacle({"annotations": {RESTORING: "Succeeded"}})
    assert "" == obstacle({"annotations": {RESTORING: "Succeeded", CONSENT: "true"}})
