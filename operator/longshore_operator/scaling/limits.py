"""What a simulated load asks of the operator itself, beside the most that was measured. Pure.

The figures are those of docs/performance.md and docs/scaling.md: two processors, shared by the operator, its workers, the
API server, etcd and the client. On more of them each can be higher; nobody has measured it.
"""

from dataclasses import dataclass

from longshore_operator.scaling.simulate import LOAD_SECONDS, Seen

JOBS_PER_SECOND = 112.0  # `python -m bench.cluster`, through the operator, median of three rounds
REQUESTS_PER_SECOND = 650.0  # the same: the API server's bare create + patch + delete, 217 of each a second
LIVE_JOBS = 10_000  # the same: an operator was started with so many
WORKERS = 1_000  # `python -m bench.scaler`: the scaler alone, with workers that were made up
# The same as LIVE_JOBS: 86 MiB with 1,000 jobs, 115 with 5,000, 126 with 10,000; the steeper part.
MIB, KIB_PER_JOB = 80.0, 7.2


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that was asked of one thing."""

    what: str
    value: float
    measured: float
    """The most that was measured."""

    @property
    def beyond(self) -> bool:
        """Whether nobody has seen it work."""
        return self.value > self.measured


def peaks(seen: Seen) -> list[Peak]:
    """What the load asks of the operator; rates are averages of ``LOAD_SECONDS``."""
    return [
        Peak("jobs/s", max(seen.ended.values(), default=0) / LOAD_SECONDS, JOBS_PER_SECOND),
        Peak("API requests/s", max(seen.requests.values(), default=0) / LOAD_SECONDS, REQUESTS_PER_SECOND),
        Peak("live jobs", seen.live, LIVE_JOBS),
        Peak("workers", max(count for _, count in seen.workers), WORKERS),
    ]


def memory_mib(live: int) -> float:
    """Of an operator with so many live jobs."""
    return MIB + live * KIB_PER_JOB / 1024
