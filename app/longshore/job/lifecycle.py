"""What follows from the end of an attempt: the next phase, fencing by attempt number, budgets.

::

    Pending ──start──► Running ──finish──► Succeeded | Failed | Cancelled
       ▲                  │                              │
       └── retry, disruption, after back-off             └─ redrive ──► Pending
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from longshore.job.limits import Policy
from longshore.job.retry import Random, backoff, worth_retrying
from longshore.job.status import Condition, Outcome, Phase, Reason, disrupted


class LifecycleError(Exception):
    """The job is not where this could happen."""


class StaleAttempt(LifecycleError):
    """This is about another attempt than the one that runs."""


class AlreadyEnded(LifecycleError):
    """The job has ended; its record stands."""


@dataclass(frozen=True, slots=True)
class Course:
    """Where a job (or an item of an array job) stands, as far as its next step depends on it."""

    phase: Phase = Phase.PENDING
    attempts: int = 0
    retries: int = 0
    disruptions: int = 0
    redrives: int = 0
    cancel: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt ended."""

    number: int
    outcome: Outcome
    reason: str = ""
    error_type: str = ""
    error_message: str = ""
    exit_code: int | None = None
    error_names: tuple[str, ...] = ()
    """Classes that the error belongs to; see ``retry.worth_retrying``."""

    @property
    def disruption(self) -> bool:
        """Whether it was through no fault of the job."""
        return disrupted(self.outcome, self.reason)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from an end."""

    course: Course
    reason: str = ""
    message: str = ""
    not_before: float | None = None
    """Earliest next attempt, seconds since the epoch; only when the phase is Pending again."""


def finish(course: Course, end: End, policy: Policy, *, now: float, random: Random) -> Verdict:
    """The running attempt ended; raises AlreadyEnded, StaleAttempt for anything but the one that runs."""
    if course.phase.terminal:
        raise AlreadyEnded(f"the job has ended: {course.phase}")
    if course.phase is not Phase.RUNNING or end.number != course.attempts:
        raise StaleAttempt(f"attempt {end.number} does not run: {course.attempts} is the latest")
    if course.cancel:
        return _ended(course, Phase.CANCELLED, Reason.CANCELLED, "cancelled while it ran")
    if end.outcome is Outcome.SUCCEEDED:
        return _ended(course, Phase.SUCCEEDED, "", "")
    if end.outcome is Outcome.CANCELLED:
        return _ended(course, Phase.CANCELLED, Reason.CANCELLED, end.error_message or "cancelled while it ran")
    if end.disruption:
        return _disrupted(course, end, policy)
    return _failed(course, end, policy, now=now, random=random)


def _disrupted(course: Course, end: End, policy: Policy) -> Verdict:
    spent = course.disruptions + 1
    if spent > policy.max_disruptions:
        text = f"lost {spent} attempts through no fault of its own; maxDisruptions is {policy.max_disruptions}"
        return _ended(replace(course, disruptions=spent), Phase.FAILED, Reason.DISRUPTIONS_EXHAUSTED, text)
    again = replace(course, phase=Phase.PENDING, disruptions=spent)
    return Verdict(again, reason=end.reason, message=end.error_message)


def _failed(course: Course, end: End, policy: Policy, *, now: float, random: Random) -> Verdict:
    worth = worth_retrying(
        policy.retry, error_type=end.error_type, reason=end.reason, exit_code=end.exit_code, error_names=end.error_names
    )
    if not worth or course.retries >= policy.max_retries:
        exhausted = worth and policy.max_retries > 0
        reason = Reason.RETRIES_EXHAUSTED if exhausted else end.reason or Reason.HANDLER_ERROR
        return _ended(course, Phase.FAILED, reason, end.error_message)
    spent = course.retries + 1
    pause = backoff(policy.retry, spent, random)
    again = replace(course, phase=Phase.PENDING, retries=spent)
    return Verdict(again, reason=end.reason, message=end.error_message, not_before=now + pause)


def _ended(course: Course, phase: Phase, reason: str, message: str) -> Verdict:
    return Verdict(replace(course, phase=phase), reason=reason, message=message)


def conditions(phase: Phase, reason: str, message: str, *, finished_at: float | None) -> tuple[Condition, ...]:
    """The Kubernetes conditions of a phase: none before the end, then what holds; ``Finished`` for every end."""
    if not phase.terminal or finished_at is None:
        return ()
    when = datetime.fromtimestamp(finished_at, UTC)
    why = reason or phase.value

    def holds(kind: Literal["Complete", "Failed", "Finished"]) -> Condition:
        return Condition(type=kind, status="True", reason=why, message=message, last_transition_time=when)

    kinds: Iterable[Literal["Complete", "Failed", "Finished"]] = {
        Phase.SUCCEEDED: ("Complete", "Finished"),
        Phase.FAILED: ("Failed", "Finished"),
    }.get(phase, ("Finished",))  # type: ignore[assignment]  # mypy widens the literals of a dict
    return tuple(holds(kind) for kind in kinds)
