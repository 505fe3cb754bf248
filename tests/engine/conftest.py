"""Pools of real slots."""

from collections.abc import Callable, Iterator

import pytest

from real_pool import RealPool


@pytest.fixture
def make_pool() -> Iterator[Callable[..., RealPool]]:
    pools: list[RealPool] = []

    def make(**settings: object) -> RealPool:
        pools.append(RealPool(**settings))
        return pools[-1]

    yield make
    for pool in pools:
        pool.end()


@pytest.fixture
def pool(make_pool: Callable[..., RealPool]) -> RealPool:
    return make_pool()
