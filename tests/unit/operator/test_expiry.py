"""When a finished job is to go."""

from datetime import UTC, datetime
from typing import Any

import pytest

from longshore_operator.collect import expires_at

ENDED = datetime(2026, 1, 31, 8, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        pytest.param({}, {"phase": "Succeeded", "finishedAt": "2026-01-31T08:00:00Z"}, ENDED + 3600, id="retention"),
        pytest.param({"ttlSecondsAfterFinished": 0}, {"phase": "Failed", "finishedAt": "2026-01-31T08:00:00Z"}, ENDED, id="at once"),
        pytest.param({"ttlSecondsAfterFinished": 1.5}, {"phase": "Cancelled", "finishedAt": "2026-01-31T09:00:00+01:00"}, ENDED + 1.5, id="its own time"),
        pytest.param({}, {"phase": "Succeeded"}, ENDED - 60 + 3600, id="no end was written: from its creation"),
        pytest.param({"ttlSecondsAfterFinished": 0}, {"phase": "Pending"}, None, id="sent round again"),
        pytest.param({"ttlSecondsAfterFinished": 0}, {"phase": "Running"}, None, id="runs"),
        pytest.param({"ttlSecondsAfterFinished": 0}, None, None, id="new"),
    ],
)  # fmt: skip
def test_expiry(spec: Any, status: Any, expected: float | None) -> None:
    job = {"metadata": {"creationTimestamp": "2026-01-31T07:59:00Z"}, "spec": spec, "status": status}
    assert expected == expires_at(job, 3600)
