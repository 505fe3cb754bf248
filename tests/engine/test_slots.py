"""Slots with real processes: every way in which a job can end, and that none of them hurts the next."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from longshore.job.status import Outcome, Reason
from real_pool import RealPool, alive


@pytest.mark.parametrize(
    ("handler", "outcome", "reason", "error"),
    [
        ("echo", Outcome.SUCCEEDED, "", ""),
        ("nobody", Outcome.FAILED, Reason.UNKNOWN_HANDLER, Reason.UNKNOWN_HANDLER),
        ("raises", Outcome.FAILED, Reason.HANDLER_ERROR, "KeyError"),
        ("unprintable", Outcome.FAILED, Reason.HANDLER_ERROR, "rough_jobs.unprintable.<locals>.Broken"),
        ("system_exit", Outcome.FAILED, Reason.HANDLER_ERROR, "SystemExit"),
        ("base_exception", Outcome.FAILED, Reason.HANDLER_ERROR, "BaseException"),
        ("hard_exit", Outcome.FAILED, Reason.EXITED, Reason.EXITED),
        ("segfault", Outcome.FAILED, Reason.SIGNALLED, "SIGSEGV"),
        ("kills_itself", Outcome.LOST, Reason.SLOT_KILLED, Reason.SLOT_KILLED),
        ("huge_result", Outcome.FAILED, Reason.RESULT_TOO_LARGE, Reason.RESULT_TOO_LARGE),
        ("odd_result", Outcome.FAILED, Reason.RESULT_NOT_JSON, Reason.RESULT_NOT_JSON),
        ("closes_output", Outcome.SUCCEEDED, "", ""),
    ],
)
def test_each_end_is_told_apart_and_the_next_job_runs(
    pool: RealPool, handler: str, outcome: Outcome, reason: str, error: str
) -> None:
    ended = pool.run(handler)

    assert (outcome, reason, error) == (ended.outcome, ended.reason, ended.error_type)
    assert b'{"x":1}' == pool.run("echo", b'{"x":1}').result


def test_exit_status_and_traceback_are_kept(pool: RealPool) -> None:
    assert 4 == pool.run("hard_exit").exit_code
    assert "raise KeyError(message)" in pool.run("raises").traceback


def test_wrong_arguments_are_said_field_by_field(pool: RealPool) -> None:
    ended = pool.run("asynchronous", b'{"y": 1}')

    assert Reason.INVALID_ARGS == ended.reason
    assert "x: is missing" in ended.error_message
    assert b"3" == pool.run("asynchronous", b'{"x": 2}').result


@pytest.mark.parametrize("handler", ["naps", "cooperates", "ignores_sigterm", "never_looks_up"])
def test_a_cancelled_job_is_gone_before_it_is_told(pool: RealPool, handler: str) -> None:
    key = pool.start(handler)
    pid = pool.slots.place_of(key).process.pid  # type: ignore[union-attr]
    pool.loop.after(0.05, lambda: pool.slots.stop(key, Outcome.CANCELLED, Reason.CANCELLED))
    pool.until(lambda: pool.listener.ends)

    assert Outcome.CANCELLED is pool.listener.ends[0].outcome
    assert not alive(pid)
    assert b"{}" == pool.run("echo").result


def test_a_job_that_runs_too_long_is_ended(pool: RealPool) -> None:
    ended = pool.run("naps", timeout_seconds=0.1)

    assert (Outcome.TIMED_OUT, Reason.TIMED_OUT) == (ended.outcome, ended.reason)


def test_a_job_over_its_memory_is_ended(pool: RealPool) -> None:
    assert Outcome.OOM is pool.run("fills_memory", memory_bytes=120 << 20).outcome


def test_a_process_that_a_job_leaves_behind_is_ended_with_it(pool: RealPool) -> None:
    pid = int(pool.run("daemon").result or b"0")

    assert pid > 1
    assert not alive(pid)


def test_a_command_leaves_nobody_behind_either(pool: RealPool, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"setsid sh -c 'trap \"\" TERM; echo $$ > {file}; sleep 600' & while [ ! -s {file} ]; do sleep 0.01; done"
    ended = pool.run(command=("sh", "-c", script), runner="command")

    assert Outcome.SUCCEEDED is ended.outcome
    assert not alive(int(file.read_text()))


def test_a_command_says_how_it_ended_what_it_printed_and_how_far_it_is(pool: RealPool) -> None:
    script = 'echo \'{"percent": 40, "message": "x"}\' >&$LONGSHORE_PROGRESS_FD; echo out; echo err >&2; exit 3'
    ended = pool.run(command=("sh", "-c", script), runner="command")

    assert (Outcome.FAILED, Reason.EXITED, 3) == (ended.outcome, ended.reason, ended.exit_code)
    assert b"out\nerr\n" == ended.output.head
    assert 1 == pool.listener.progresses


def test_a_command_sees_a_short_list_of_variables_and_its_own(pool: RealPool, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = pool.run(command=("env",), env={"MINE": "1"}, runner="command")
    names = {line.split(b"=")[0].decode() for line in ended.output.head.splitlines()}

    assert {"PATH", "MINE", "LONGSHORE_JOB_ID", "LONGSHORE_ATTEMPT"} <= names
    assert not names & {"PYTHONPATH", "LONGSHORE_API_BOOT", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST"}


def test_a_command_that_is_not_there_says_so(pool: RealPool) -> None:
    assert Reason.COMMAND_NOT_FOUND == pool.run(command=("no-such-program",), runner="command").reason


def test_a_warm_slot_runs_many_jobs_and_a_process_job_runs_alone(pool: RealPool) -> None:
    warm = [pool.run("pid").result for _ in range(3)]
    fresh = [pool.run("fresh_pid", runner="process").result for _ in range(3)]

    assert 1 == len(set(warm))
    assert 3 == len({*fresh})
    assert not set(warm) & set(fresh)


def test_a_slot_is_replaced_after_its_number_of_jobs(make_pool: Callable[..., RealPool]) -> None:
    pool = make_pool(max_jobs=2)
    pids = [pool.run("pid").result for _ in range(4)]

    assert 2 == len(set(pids))
    assert ["max_jobs", "max_jobs"] == pool.listener.restarts


def test_a_slot_that_a_job_left_a_thread_in_is_replaced(pool: RealPool) -> None:
    first = pool.run("leaks_a_thread").result

    assert first != pool.run("pid").result


def test_output_is_kept_in_bounds_and_counted(make_pool: Callable[..., RealPool]) -> None:
    pool = make_pool(log_head_bytes=1000, log_ring_bytes=2000)
    output = pool.run("prints", b'{"megabytes": 64}').output

    assert (1000, 2000, 64 << 20) == (len(output.head), len(output.tail), output.total)
    assert output.total - 3000 == output.dropped


def test_a_dead_template_takes_no_job_with_it_and_comes_back(make_pool: Callable[..., RealPool]) -> None:
    pool = make_pool(count=2)
    key = pool.start("naps", b'{"seconds": 0.6}')
    template = pool.slots._template.pid
    os.kill(template or 0, 9)
    pool.until(lambda: pool.listener.ends)

    assert (key, Outcome.SUCCEEDED) == (pool.listener.ends[0].key, pool.listener.ends[0].outcome)
    pool.until(lambda: pool.slots._template.ready)
    assert Outcome.FAILED is pool.run("hard_exit").outcome
    assert b"{}" == pool.run("echo").result


def test_a_module_that_does_not_import_is_told_with_its_traceback(make_pool: Callable[..., RealPool]) -> None:
    pool = make_pool(apps=("no_such_module",))
    pool.until(lambda: pool.listener.failure)

    assert "No module named 'no_such_module'" in str(pool.listener.failure)


def test_the_context_knows_its_job(pool: RealPool) -> None:
    ended = pool.run("context", timeout_seconds=60.0, idempotency_key="k", traceparent="00-ab-cd-01")

    assert b'"attempt":1' in (ended.result or b"")
    assert b'"key":"k"' in (ended.result or b"")
    assert b'"same":true' in (ended.result or b"")


def test_an_idle_pool_never_wakes(pool: RealPool) -> None:
    pool.run("echo")
    turns = pool.loop.turns
    fired: list[bool] = []
    pool.loop.after(1.0, lambda: fired.append(True))
    pool.until(lambda: fired)

    assert pool.loop.turns - turns <= 2
