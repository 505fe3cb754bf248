"""What an autoscaler reads of a pool."""

from prometheus_client import CollectorRegistry, generate_latest

from longshore_operator.attempts_client import AttemptsClient
from longshore_operator.scaling.metrics import PoolMetrics
from longshore_operator.scaling.pool import pool
from longshore_operator.scaling.state import State
from longshore_operator.scaling.victims import Victims
from trusted import NO_TOKENS, TRUST


def test_of_a_pool_that_was_not_looked_at_yet_nothing_is_told() -> None:
    registry = CollectorRegistry()
    made = pool({"metadata": {"namespace": "demo", "name": "p", "uid": "u", "labels": {"longshore.dev/pool": "p"}},
                 "spec": {"template": {"spec": {"containers": []}}}}, TRUST)  # fmt: skip
    state = State(made, Victims(AttemptsClient(NO_TOKENS), lambda *_, **__: None))
    PoolMetrics(registry, lambda: [state], lambda: 0.0)

    assert b"longshore_pool_wanted_slots{" not in generate_latest(registry)

    state.refused = "Unmanaged", "others say how many"
    assert b'longshore_pool_wanted_slots{namespace="demo",pool="p"} 0.0' in generate_latest(registry)
