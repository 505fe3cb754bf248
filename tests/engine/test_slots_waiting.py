"""An attempt that waits for its own process."""

from collections.abc import Iterator

import pytest

from real_pool import RealPool


@pytest.fixture
def pool() -> Iterator[RealPool]:
    real = RealPool(count=1)
    yield real
    real.end()


def test_output_of_the_job_before_is_not_shown_as_its_own(pool: RealPool) -> None:
    assert pool.run("prints").output.total > 0
    key = pool.start("fresh_pid", runner="process")

    output = pool.slots.output(key)
    assert output is not None
    assert (output.total, output.head) == (0, b"")
    assert pool.end_of(key).outcome == "succeeded"
