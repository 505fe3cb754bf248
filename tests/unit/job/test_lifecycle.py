"""What may happen to a job next."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.job.lifecycle import AlreadyEnded, Course, End, StaleAttempt, conditions, finish
from longshore.job.limits import Defaults, Policy, QueuePolicy, resolve
from longshore.job.retry import backoff, worth_retrying
from longshore.job.spec import Retry, parse_spec
from longshore.job.status import Outcome, Phase, Reason

RUNNING = Course(Phase.RUNNING, attempts=1)


def end(outcome: Outcome = Outcome.FAILED, number: int = 1, **fields: object) -> End:
    return End(number, outcome, **fields)  # type: ignore[arg-type]


def finished(course: Course, ended: End, policy: Policy = Policy(), now: float = 100.0, luck: float = 1.0):  # noqa: B008
    return finish(course, ended, policy, now=now, random=lambda: luck)


@pytest.mark.parametrize(
    ("case", "policy", "ended", "phase", "reason"),
    [
        ("a result", Policy(), end(Outcome.SUCCEEDED), Phase.SUCCEEDED, ""),
        ("a failure without retries", Policy(), end(reason="HandlerError"), Phase.FAILED, "HandlerError"),
        ("a failure with a retry left", Policy(max_retries=1), end(), Phase.PENDING, ""),
        ("a time-out with a retry left", Policy(max_retries=1), end(Outcome.TIMED_OUT), Phase.PENDING, ""),
        ("its own memory limit", Policy(), end(Outcome.OOM, reason="OutOfMemory"), Phase.FAILED, "OutOfMemory"),
        ("its container's memory limit", Policy(), end(Outcome.OOM, reason=Reason.CONTAINER_OUT_OF_MEMORY), Phase.PENDING,
         "ContainerOutOfMemory"),
        ("a lost worker", Policy(), end(Outcome.LOST), Phase.PENDING, ""),
        ("a drained worker", Policy(), end(Outcome.DRAINED), Phase.PENDING, ""),
        ("one disruption too many", Policy(max_disruptions=0), end(Outcome.LOST), Phase.FAILED,
         Reason.DISRUPTIONS_EXHAUSTED),
        ("a cancel", Policy(max_retries=9), end(Outcome.CANCELLED), Phase.CANCELLED, Reason.CANCELLED),
        ("arguments that are wrong", Policy(max_retries=9), end(reason=Reason.INVALID_ARGS), Phase.FAILED,
         Reason.INVALID_ARGS),
        ("a failure that is not worth it", Policy(max_retries=9, retry=Retry(on=("OSError",))),
         end(error_type="ValueError", reason="HandlerError"), Phase.FAILED, "HandlerError"),
    ],
)  # fmt: skip
def test_what_follows_from_an_end(case: str, policy: Policy, ended: End, phase: Phase, reason: str) -> None:
    verdict = finished(RUNNING, ended, policy)

    assert (phase, reason) == (verdict.course.phase, verdict.reason), case


def test_a_disruption_spends_no_retry_and_waits_for_nothing() -> None:
    verdict = finished(RUNNING, end(Outcome.LOST), Policy(max_retries=1))

    assert (0, 1, None) == (verdict.course.retries, verdict.course.disruptions, verdict.not_before)


def test_the_last_of_several_failures_says_that_retries_are_used_up() -> None:
    verdict = finished(replace(RUNNING, retries=2), end(error_message="boom"), Policy(max_retries=2))

    assert (Reason.RETRIES_EXHAUSTED, "boom") == (verdict.reason, verdict.message)


def test_a_wish_to_cancel_wins_over_a_result_that_was_not_recorded() -> None:
    verdict = finished(replace(RUNNING, cancel=True), end(Outcome.SUCCEEDED))

    assert Phase.CANCELLED is verdict.course.phase


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED])
def test_an_ended_job_takes_nothing_more(phase: Phase) -> None:
    with pytest.raises(AlreadyEnded):
        finished(Course(phase, attempts=1), end())


def test_an_end_of_another_attempt_is_refused() -> None:
    for number in (0, 2):
        with pytest.raises(StaleAttempt):
            finished(RUNNING, end(number=number))
    with pytest.raises(StaleAttempt):
        finished(Course(attempts=1), end())


@given(
    outcomes=st.lists(st.sampled_from(list(Outcome)), max_size=30),
    retries=st.integers(0, 3),
    disruptions=st.integers(0, 3),
)
def test_no_history_overspends_its_budgets(outcomes: list[Outcome], retries: int, disruptions: int) -> None:
    policy = Policy(max_retries=retries, max_disruptions=disruptions)
    course = Course()
    for number, outcome in enumerate(outcomes, 1):
        verdict = finished(replace(course, phase=Phase.RUNNING, attempts=number), End(number, outcome), policy)
        course = verdict.course
        assert number == course.attempts
        assert course.retries <= retries
        assert course.disruptions <= disruptions + 1
        if course.phase.terminal:
            break
    else:
        assert course.attempts == course.retries + course.disruptions


@given(
    retries=st.integers(1, 10_000), luck=st.floats(0, 1, exclude_max=True),
    retry=st.builds(Retry, initial_seconds=st.floats(0, 1e6), factor=st.floats(1, 100),
                    max_seconds=st.floats(0, 1e6), jitter=st.floats(0, 1)),
)  # fmt: skip
def test_a_back_off_is_never_longer_than_its_bound(retries: int, luck: float, retry: Retry) -> None:
    assert 0 <= backoff(retry, retries, lambda: luck) <= retry.max_seconds


def test_back_off_doubles_up_to_its_bound() -> None:
    retry = Retry(initial_seconds=1, factor=2, max_seconds=5, jitter=0)

    assert [1, 2, 4, 5, 5] == [backoff(retry, n, lambda: 0.3) for n in range(1, 6)]


@pytest.mark.parametrize(
    ("retry", "worth"),
    [
        (Retry(), True),
        (Retry(on=("Timeout",)), True),
        (Retry(on=("net.errors.Timeout",)), True),
        (Retry(on=("exit:75",)), True),
        (Retry(on=("TimedOut",)), True),
        (Retry(on=("ValueError",)), False),
        (Retry(except_=("Timeout",)), False),
        (Retry(on=("Timeout",), except_=("exit:75",)), False),
    ],
)
def test_which_failures_are_worth_another_attempt(retry: Retry, worth: bool) -> None:
    found = worth_retrying(retry, error_type="net.errors.Timeout", reason="TimedOut", exit_code=75)

    assert worth == found


@pytest.mark.parametrize(
    ("retry", "worth"),
    [
        (Retry(on=("OSError",)), True),
        (Retry(on=("ConnectionError", "ValueError")), True),
        (Retry(on=("LookupError",)), False),
        (Retry(except_=("OSError",)), False),
        (Retry(on=("ConnectionResetError",), except_=("OSError",)), False),
    ],
)
def test_an_error_goes_by_the_names_of_its_bases_too(retry: Retry, worth: bool) -> None:
    names = ("ConnectionResetError", "ConnectionError", "OSError", "Exception")

    assert worth == worth_retrying(
        retry, error_type="ConnectionResetError", reason="HandlerError", exit_code=None, error_names=names
    )


def test_the_nearest_word_on_a_limit_wins() -> None:
    spec = parse_spec(b'{"handler": "h", "maxRetries": 1}')
    handler = Defaults(timeout_seconds=10, max_retries=2, retry=Retry(factor=3))
    queue = QueuePolicy(timeout_seconds=99, max_retries=3, max_disruptions=4, retry=Retry(factor=4))

    found = resolve(spec, handler, queue)

    assert (1, 4, 10, 3) == (found.max_retries, found.max_disruptions, found.timeout_seconds, found.retry.factor)
    assert Policy() == resolve(parse_spec(b'{"handler": "h"}'), Defaults(), QueuePolicy())


def test_every_end_has_a_finished_condition() -> None:
    def kinds(phase: Phase) -> list[str]:
        return [c.type for c in conditions(phase, "", "", finished_at=1.0)]

    assert ["Complete", "Finished"] == kinds(Phase.SUCCEEDED)
    assert ["Failed", "Finished"] == kinds(Phase.FAILED)
    assert ["Finished"] == kinds(Phase.CANCELLED)
    assert [] == kinds(Phase.RUNNING)
