"""Jobs that leave traces or talk out of turn: the engine lives on and the next job finds its slot as it should be."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from longshore.engine import slots
from longshore.job.status import Outcome, Reason
from real_pool import RealPool, alive


def args(**named: object) -> bytes:
    return orjson.dumps(named)


def started(path: Path) -> Callable[[], bool]:
    return Path(f"{path}.started").exists


# -- what a job may not do to the engine -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("00000000", id="a frame of nothing"),
        pytest.param("000000017b", id="a frame that is no JSON"),
        pytest.param("000000023131", id="a frame that is no object"),
        pytest.param(b'\0\0\0\x0a{"done":1}'.hex(), id="an end that is none"),
        pytest.param(b'\0\0\0\x0e{"progress":1}'.hex(), id="a progress that is none"),
        pytest.param(b'\0\0\0\x0c{"hello":""}'.hex(), id="a pid that is none"),
        pytest.param("ffffffff", id="a frame of four gigabytes"),
    ],
)
def test_a_handler_that_writes_on_the_control_socket_hurts_nobody_else(pool: RealPool, text: str) -> None:
    pool.start("writes_to_control", args(text=text))
    pool.until(lambda: pool.listener.ends, what="the end of the attempt")

    assert b"{}" == pool.run("echo").result


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("head -c 64 /dev/zero >&3", id="zeros"),
        pytest.param(r"printf '\000\000\000\001{' >&3", id="a frame that is no JSON"),
        pytest.param("head -c 1000000 /dev/urandom >&3", id="noise"),
        pytest.param("echo '[1]' >&3; echo '{\"percent\":null}' >&3; echo >&3", id="lines that are no progress"),
    ],
)
def test_a_command_that_writes_nonsense_as_progress_hurts_nobody(pool: RealPool, script: str) -> None:
    pool.command(f"{script}; exit 0")

    assert b"{}" == pool.run("echo").result


def test_a_command_cannot_pass_for_its_slot(pool: RealPool) -> None:
    frame = r"""printf '\000\000\000\071{"done":{"outcome":"succeeded","result":"made up","x":1}}' >&3; exit 3"""
    ended = pool.command(frame)

    assert (Outcome.FAILED, 3) == (ended.outcome, ended.exit_code)


def test_progress_of_a_command_stays_within_its_bounds(pool: RealPool) -> None:
    key = pool.start(command=("sh", "-c", 'echo \'{"percent": 1e9, "message": "%s"}\' >&3; sleep 600' % ("x" * 5000)),
                     runner="command")  # fmt: skip
    pool.until(lambda: pool.listener.progresses)
    progress = pool.place(key).progress

    assert progress is not None
    assert 100 == progress[1]
    assert 256 >= len(progress[2])


def test_a_slot_that_dies_in_the_turn_in_which_it_is_done_counts_as_done(pool: RealPool) -> None:
    key = pool.start("dies_behind_its_own_back")
    # The engine is busy elsewhere (a slow commit): when it looks, result and death are both there.
    os.waitid(os.P_PID, pool.pid(key), os.WEXITED | os.WNOWAIT)

    assert b'"done"' == pool.end_of(key).result
    assert b"{}" == pool.run("echo").result


def test_a_job_that_closes_every_descriptor_ends_and_the_next_runs(pool: RealPool) -> None:
    ended = pool.run("closes_everything")

    assert (Outcome.FAILED, Reason.EXITED) == (ended.outcome, ended.reason)
    assert b"{}" == pool.run("echo").result


def test_a_child_that_returns_from_the_handler_does_not_answer_for_its_parent(pool: RealPool) -> None:
    assert b'"parent"' == pool.run("fork_that_comes_back").result
    assert b"{}" == pool.run("echo").result


def test_an_endless_printer_leaves_the_engine_time_for_others(make_pool: Callable[..., RealPool]) -> None:
    pool = make_pool(count=2, log_head_bytes=1000, log_ring_bytes=2000)
    key = pool.start("chatters")
    pool.until(lambda: pool.listener.printed > 1 << 20)

    assert [b"{}"] * 20 == [pool.run("echo").result for _ in range(20)]
    assert pool.slots.place_of(key) is not None
    pool.cancel(key)
    output = pool.end_of(key).output
    assert (1000, 2000) == (len(output.head), len(output.tail))
    assert output.total == pool.listener.printed


# -- what a job may not do to the next ---------------------------------------------------------------------------


@pytest.mark.parametrize("handler", ["closes_stdout", "replaces_stdout", "half_a_line"])
def test_the_next_job_prints_whatever_this_one_did_to_its_output(pool: RealPool, handler: str) -> None:
    assert b'"done"' == pool.run(handler).result

    said = pool.run("says")
    assert (Outcome.SUCCEEDED, b"hello\n") == (said.outcome, said.output.head)


def test_a_timer_that_a_job_left_does_not_end_the_next(pool: RealPool) -> None:
    pool.run("sets_an_alarm")

    assert Outcome.SUCCEEDED is pool.run("naps", args(seconds=0.3)).outcome


def test_the_next_job_starts_in_the_same_folder(pool: RealPool) -> None:
    before = pool.run("folder").result
    pool.run("changes_folder")

    assert before == pool.run("folder").result


def test_the_next_job_has_the_same_umask(pool: RealPool) -> None:
    before = pool.run("umask").result
    pool.run("changes_umask")

    assert before == pool.run("umask").result


def test_a_job_after_one_that_blocked_the_signal_still_gets_it(pool: RealPool, tmp_path: Path) -> None:
    pool.run("blocks_signals")
    key = pool.start("cleans_up", args(path=f"{tmp_path}/end"))
    while not started(tmp_path / "end")():
        pool.loop.turn(block=False)
    pool.cancel(key)
    pool.end_of(key)

    assert "JobCancelled" == (tmp_path / "end").read_text()


# -- how ends are told -------------------------------------------------------------------------------------------


def test_an_error_whose_text_is_no_utf8_is_told_all_the_same(pool: RealPool) -> None:
    ended = pool.run("odd_text_in_error")

    assert (Reason.HANDLER_ERROR, "FileNotFoundError") == (ended.reason, ended.error_type)
    assert ended.error_message.startswith("caf")


def test_progress_whose_text_is_no_utf8_does_not_cost_the_job(pool: RealPool) -> None:
    assert b'"done"' == pool.run("odd_text_in_progress").result


def test_a_very_long_message_is_cut(pool: RealPool) -> None:
    ended = pool.run("long_error")

    assert "x" * 1024 == ended.error_message
    assert len(ended.traceback) <= 16 * 1024


def test_where_a_long_message_was_raised_can_still_be_read(pool: RealPool) -> None:
    assert "long_error" in pool.run("long_error").traceback


@pytest.mark.parametrize("handler", ["terminates_itself", "raises_cancelled"])
def test_a_job_that_nobody_cancelled_is_not_cancelled(pool: RealPool, handler: str) -> None:
    assert Outcome.CANCELLED is not pool.run(handler).outcome


@pytest.mark.parametrize("handler", ["cleans_up", "cleans_up_awaited"])
def test_a_cancelled_job_may_clean_up_and_say_so(pool: RealPool, tmp_path: Path, handler: str) -> None:
    key = pool.start(handler, args(path=f"{tmp_path}/end"))
    while not started(tmp_path / "end")():
        pool.loop.turn(block=False)
    pool.cancel(key)
    ended = pool.end_of(key)

    assert Outcome.CANCELLED is ended.outcome
    assert (tmp_path / "end").exists()
    assert b"cleaned up\n" == ended.output.head


def test_a_second_stop_may_be_less_patient_and_is_told_once(make_pool: Callable[..., RealPool], tmp_path: Path) -> None:
    pool = make_pool(grace_seconds=600.0)
    key = pool.start("swallows_everything", args(path=f"{tmp_path}/end"))
    while not started(tmp_path / "end")():
        pool.loop.turn(block=False)

    assert pool.cancel(key)
    assert pool.slots.stop(key, Outcome.DRAINED, Reason.DRAINED, grace=0.0)
    assert Outcome.CANCELLED is pool.end_of(key).outcome  # the first order stands
    assert not pool.cancel(key)
    assert 1 == len(pool.listener.ends)


def test_a_stop_of_something_that_does_not_run_says_so(pool: RealPool) -> None:
    key = pool.start("echo")
    pool.end_of(key)

    assert not pool.cancel(key)


def test_memory_of_a_process_that_the_job_started_counts_as_the_job_s(pool: RealPool) -> None:
    assert Outcome.OOM is pool.run("child_fills_memory", memory_bytes=150 << 20).outcome


def test_watching_memory_costs_no_memory(pool: RealPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "MEMORY_SAMPLE_SECONDS", 0.002)
    key = pool.start("naps", memory_bytes=1 << 40)
    turns = pool.loop.turns
    pool.until(lambda: pool.loop.turns > turns + 50)

    assert 5 >= len(pool.place(key).timers)
    pool.cancel(key, grace=0.0)
    pool.end_of(key)


def test_progress_is_thinned_and_the_last_always_comes(pool: RealPool) -> None:
    key = pool.start("reports", args(times=20_000))
    place = pool.place(key)
    ended = pool.end_of(key)

    assert place.progress is not None
    assert (100, "20000") == place.progress[1:]
    assert pool.listener.progresses <= 2 + 5 * ended.run_seconds


# -- places and processes ----------------------------------------------------------------------------------------


def test_a_slot_that_grew_is_replaced(make_pool: Callable[..., RealPool]) -> None:
    pool = make_pool(max_growth_bytes=32 << 20)
    pool.run("echo")
    first = pool.run("keeps", args(megabytes=64)).result

    assert ["max_rss"] == pool.listener.restarts
    assert first != pool.run("pid").result


def test_a_slot_that_grew_in_its_first_job_is_replaced_too(make_pool: Callable[..., RealPool]) -> None:
    pool = make_pool(max_growth_bytes=32 << 20)
    pool.run("keeps", args(megabytes=64))
    pool.run("echo")

    assert "max_rss" in pool.listener.restarts


def test_a_slot_that_is_old_is_replaced(make_pool: Callable[..., RealPool]) -> None:
    pool = make_pool(max_age_seconds=0.000_001)

    assert pool.run("pid").result != pool.run("pid").result
    assert {"max_age"} == set(pool.listener.restarts)


def test_a_job_that_waits_for_its_own_process_can_be_cancelled_before_it_starts(pool: RealPool, tmp_path: Path) -> None:
    pool.run("echo")  # the slot is used: a process job needs another
    key = pool.start("appends_after", args(path=f"{tmp_path}/ran"), runner="process")
    assert pool.cancel(key)

    assert (Outcome.CANCELLED, key) == (pool.listener.ends[-1].outcome, pool.listener.ends[-1].key)
    assert b"{}" == pool.run("echo").result
    assert not (tmp_path / "ran").exists()


def test_a_job_that_waits_for_its_own_process_outlives_the_template(pool: RealPool) -> None:
    pool.run("echo")
    os.kill(pool.slots._template.pid or 0, signal.SIGKILL)
    key = pool.start("pid", runner="process")

    assert Outcome.SUCCEEDED is pool.end_of(key).outcome


def test_large_arguments_and_results_pass_in_both_directions(pool: RealPool) -> None:
    body = args(text="x" * 5_000_000)

    assert body == pool.run("echo", body, max_result_bytes=6_000_000).result


def test_many_violent_ends_leave_no_descriptor_and_no_process_behind(pool: RealPool) -> None:
    pool.run("hard_exit")
    pool.until(pool.slots.free)
    descriptors, processes = len(os.listdir("/proc/self/fd")), len(pool.processes())
    for handler in ["hard_exit", "kills_itself", "segfault", "daemon", "leaks_a_thread"] * 4:
        pool.run(handler)
        pool.run("pid", runner="process")
        pool.command("sleep 600 & exit 1")
    pool.until(lambda: pool.slots.free() and not pool.slots._dying)

    assert (descriptors, processes) == (len(os.listdir("/proc/self/fd")), len(pool.processes()))


def test_a_job_finds_its_process_in_order(pool: RealPool) -> None:
    found = orjson.loads(pool.run("looks_around").result or b"")

    # 0, 1, 2, control, two of the slot's own eyes, and the one that lists.
    assert {"fds": 7, "session": True, "stdin": "", "core": ["0", "0"], "engine": os.getpid()} == found


def test_closing_ends_every_process(make_pool: Callable[..., RealPool]) -> None:
    pool = make_pool(count=3)
    pool.run("echo")
    pool.until(lambda: 3 == pool.slots.free())
    pids = pool.slots.pids()
    done: list[bool] = []
    pool.slots.close(lambda: done.append(True))
    pool.until(lambda: done)

    assert 4 == len(pids)
    assert not [pid for pid in pids if alive(pid)]


# -- commands ----------------------------------------------------------------------------------------------------


def test_a_command_gets_nothing_of_ours_but_the_progress_socket(pool: RealPool) -> None:
    ended = pool.command("ls /proc/self/fd; cat")  # cat would wait for ever if it could read

    # ls itself has the directory open, as 4.
    assert b"0\n1\n2\n3\n4\n" == ended.output.head


def test_a_command_starts_with_signals_as_they_come_from_the_shelf(pool: RealPool) -> None:
    status = pool.run(command=("cat", "/proc/self/status"), runner="command").output.head.decode()
    of_libc = 1 << 31 | 1 << 32  # signals 32 and 33: nobody can set them, and an ignored one stays so
    masks = {line.split(":")[0]: int(line.split()[1], 16) & ~of_libc for line in status.splitlines()
             if line.startswith("Sig") and not line.startswith("SigQ")}  # fmt: skip

    assert {"SigPnd": 0, "SigBlk": 0, "SigIgn": 0, "SigCgt": 0} == masks


def test_a_command_that_runs_too_long_goes_with_everything_it_started(pool: RealPool, tmp_path: Path) -> None:
    script = f"trap '' TERM; setsid sleep 600 & echo $! > {tmp_path}/pid; sleep 600 & wait; sleep 600"
    ended = pool.command(script, timeout_seconds=1.5)  # time enough to get there

    assert Outcome.TIMED_OUT is ended.outcome
    assert not alive(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("program", ["/etc/passwd", "/", "has\0nul"])
def test_what_cannot_be_run_says_so(pool: RealPool, program: str) -> None:
    ended = pool.run(command=(program,), runner="command")

    assert (Outcome.FAILED, Reason.COMMAND_NOT_FOUND) == (ended.outcome, ended.reason)
    assert b"{}" == pool.run("echo").result


# -- the template ------------------------------------------------------------------------------------------------


@pytest.fixture
def make_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[str, ...]]:
    def make(text: str) -> tuple[str, ...]:
        (tmp_path / "made_app.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
        return ("longshore_samples.echo", "made_app")

    return make


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("import sys; sys.exit('no')", id="sys.exit"),
        pytest.param("def (", id="syntax"),
        pytest.param("from longshore import handler\n@handler\ndef f(*names): ...", id="positional arguments"),
        pytest.param("from longshore import handler\nclass C: ...\n@handler\ndef f(c: C): ...", id="no JSON Schema"),
        pytest.param("import os; os._exit(3)", id="os._exit"),
        pytest.param("import ctypes; ctypes.string_at(0)", id="segfault"),
    ],
)
def test_an_application_that_cannot_be_used_is_told(
    make_pool: Callable[..., RealPool], make_app: Callable[[str], tuple[str, ...]], text: str
) -> None:
    pool = make_pool(apps=make_app(text))
    pool.until(lambda: pool.listener.failure, what="the failure")


def test_a_place_whose_process_could_not_be_forked_is_filled_again(
    make_pool: Callable[..., RealPool], make_app: Callable[[str], tuple[str, ...]], tmp_path: Path
) -> None:
    # As under a limit of processes: the one in between dies, nobody ever says hello.
    text = f"""
import os
def once():
    try:
        os.close(os.open({str(tmp_path / "failed")!r}, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os._exit(1)
os.register_at_fork(after_in_child=once)
"""
    pool = make_pool(apps=make_app(text))
    pool.until(pool.slots.free, what="a free place")

    assert (tmp_path / "failed").exists()
    assert b"{}" == pool.run("echo").result


def test_a_slow_import_keeps_nobody_from_working(
    make_pool: Callable[..., RealPool], make_app: Callable[[str], tuple[str, ...]], tmp_path: Path
) -> None:
    apps = make_app(f"import os, time\nwhile os.path.exists({str(tmp_path / 'wait')!r}): time.sleep(0.01)")
    pool = make_pool(apps=apps)
    pool.until(pool.slots.free)
    (tmp_path / "wait").touch()
    os.kill(pool.slots._template.pid or 0, signal.SIGKILL)

    assert b"{}" == pool.run("echo").result  # the slot that was there
    pool.until(lambda: "template_died" in pool.logged)
    (tmp_path / "wait").unlink()
    pool.until(lambda: pool.slots._template.ready)


SAYS = """
import os, pathlib, sys
def say(data):
    if sys.argv[0].endswith("template.py"):
        os.write(int(sys.argv[1]), data)
"""
NO_HELLOS = [
    b".{", b".[]", b".null", b".7", b".{}", b"", b"x", b'.{"handlers":7}', b'.{"handlers":[7]}', b'.{"handlers":[{"name":7,"args":{}}]}',
    b'.{"handlers":[{"name":"a"}]}', b'.{"handlers":[{"name":"a","args":[]}]}', b'.{"handlers":[{"name":"a b","args":{}}]}',
    b'.{"handlers":[{"name":"a","args":{},"retry":"x"}]}', b'.{"handlers":[{"name":"a","args":{},"timeoutSeconds":"NaN"}]}',
    b'.{"handlers":[{"name":"a","args":{},"maxRetries":-1}]}', b'.{"failed":7}', b'.{"handlers":[],"threads":[{}]}',
    b"." + b"[" * 5000, b".\xff\xfe", b'+{"handlers":',
]  # fmt: skip


@pytest.mark.parametrize("said", NO_HELLOS, ids=lambda said: said[:24].decode("latin-1"))
def test_a_first_hello_that_is_none_is_told_as_a_failure(
    make_pool: Callable[..., RealPool], make_app: Callable[[str], tuple[str, ...]], said: bytes
) -> None:
    pool = make_pool(apps=make_app(f"{SAYS}\nsay({said!r})"))
    pool.until(lambda: pool.listener.failure, what="the failure")


def test_a_later_hello_that_is_none_costs_that_template_alone(
    make_pool: Callable[..., RealPool], make_app: Callable[[str], tuple[str, ...]], tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    pool = make_pool(
        apps=make_app(
            f"{SAYS}\nif os.path.exists({str(bad)!r}):\n    say(b'.' + pathlib.Path({str(bad)!r}).read_bytes())"
        )
    )
    pool.until(pool.slots.free)
    for number, said in enumerate((b'{"handlers":7}', b'{"failed":"no"}'), 1):
        bad.write_bytes(said)
        os.kill(pool.slots._template.pid or 0, signal.SIGKILL)
        pool.until(lambda number=number: pool.logged.count("template_failed") >= number)
        assert b"{}" == pool.run("echo").result  # the slot that was there
        bad.unlink()
        pool.until(lambda: pool.slots._template.ready)

    assert pool.listener.failure is None


def test_what_is_said_after_the_hello_is_nothing(
    make_pool: Callable[..., RealPool], make_app: Callable[[str], tuple[str, ...]]
) -> None:
    pool = make_pool(apps=make_app(f"{SAYS}\nos.register_at_fork(before=lambda: say(b'.{{'))"), count=2)
    pool.until(lambda: pool.slots.free)

    assert b"{}" == pool.run("echo").result
    assert not {"template_failed", "template_died"} & set(pool.logged)
