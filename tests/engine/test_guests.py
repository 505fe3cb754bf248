"""A job is a guest: it finds its process as a plain interpreter would be, whatever another job did there before."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from longshore.job.status import Outcome
from real_pool import APPS, RealPool


@pytest.fixture
def guests(make_pool: Callable[..., RealPool]) -> RealPool:
    return make_pool(apps=(*APPS, "guest_jobs"), grace_seconds=3.0)


def value(pool: RealPool, handler: str, **args: object) -> Any:
    """What a handler returns, run in the next free slot."""
    ended = pool.run(handler, orjson.dumps(args), runner="process" if handler.endswith("_alone") else "slot")
    assert ended.outcome is Outcome.SUCCEEDED, ended
    return orjson.loads(ended.result or b"")


# -- what a job changes ----------------------------------------------------------------------------------------------


def test_what_a_job_changes_in_its_process_is_put_back(guests: RealPool) -> None:
    before, first = value(guests, "finds"), value(guests, "pid")
    for _ in range(2):
        value(guests, "changes_everything")
        after = value(guests, "finds")
        assert {name: (was, after[name]) for name, was in before.items() if after[name] != was} == {}

    assert first == value(guests, "pid"), "and the slot is the same"
    assert 1 == value(guests, "status_of_false")


def test_a_job_that_configures_logging_silences_no_other(guests: RealPool) -> None:
    before = guests.run("logs").output.head
    for _ in range(2):
        guests.run("configures_logging")
        assert before == guests.run("logs").output.head
    assert b"logged" in before


def test_a_job_that_sets_up_its_logger_each_time_logs_each_line_once(guests: RealPool) -> None:
    assert [b"a line\n"] * 3 == [guests.run("logs_anew").output.head for _ in range(3)]


def test_a_loop_is_there_for_who_asks_whatever_another_job_did_with_its_own(guests: RealPool) -> None:
    handlers = ["asks_for_the_loop", "is_awaited", "asks_for_the_loop", "asks_for_the_loop", "is_awaited"]

    assert ["ok"] * 5 == [value(guests, handler) for handler in handlers]
    value(guests, "installs_uvloop")
    assert "uvloop" not in value(guests, "names_the_policy")
    assert "ok" == value(guests, "asks_for_the_loop")


def test_loops_that_jobs_leave_open_use_up_no_descriptors(guests: RealPool) -> None:
    first = orjson.loads(guests.run("looks_around").result or b"")["fds"]
    for _ in range(5):
        value(guests, "asks_for_the_loop")

    assert first == orjson.loads(guests.run("looks_around").result or b"")["fds"]


@pytest.mark.parametrize(
    ("handler", "args", "reason"),
    [
        ("leaks_descriptors", {"count": 100}, "descriptors"),
        ("takes_all_descriptors", {}, "descriptors"),
        ("lowers_a_limit_for_good", {}, "user"),
    ],
)
def test_a_slot_that_cannot_be_put_back_is_replaced(
    guests: RealPool, handler: str, args: dict[str, object], reason: str
) -> None:
    if reason == "user" and os.geteuid():
        reason = "limits"
    first = value(guests, handler, **args)

    assert first != value(guests, "pid")
    assert [reason] == guests.listener.restarts


def test_a_slot_that_leaks_a_little_with_each_job_is_replaced_in_time(guests: RealPool) -> None:
    pids = {value(guests, "leaks_descriptors", count=30) for _ in range(4)}

    assert 2 == len(pids)


def test_a_slot_in_which_job_after_job_fails_at_once_is_replaced(guests: RealPool) -> None:
    pids = [guests.run("fails_at_once").error_message for _ in range(6)]

    assert ["failures"] == guests.listener.restarts
    assert 2 == len(set(pids))


# -- processes of a job ----------------------------------------------------------------------------------------------


def test_pools_end_by_their_signal_however_soon_it_comes(guests: RealPool) -> None:
    ended = guests.run("pools", orjson.dumps({"times": 80}), timeout_seconds=120.0)

    assert b"80" == ended.result, ended
    assert b"" == ended.output.head, "no traceback of a child"


def test_helpers_of_multiprocessing_start_anew_in_each_job(guests: RealPool) -> None:
    for _ in range(2):
        ended = guests.run("uses_the_fork_server")
        assert (b"[0,1,4,9]", b"") == (ended.result, ended.output.head), ended
        name = value(guests, "shares_memory")
        assert not Path(f"/dev/shm/{name}").exists()
    assert [] == guests.listener.restarts


def test_children_take_signals_as_in_a_plain_interpreter(guests: RealPool) -> None:
    assert -signal.SIGINT == value(guests, "interrupts_a_child")
    assert -signal.SIGTERM == value(guests, "forks_and_is_told", number=signal.SIGTERM)
    assert 77 == value(guests, "forks_and_is_told", number=signal.SIGINT)


def test_a_job_that_seeds_the_shared_generators_does_so_for_itself(guests: RealPool) -> None:
    own, found = [], []
    for _ in range(2):
        own.append(value(guests, "seeds"))
        found.append(value(guests, "draws_warm"))

    shared = (0, 3) if _has_numpy() else (0,)
    assert [own[0][at] for at in shared] == [own[1][at] for at in shared], "its own numbers can be repeated"
    assert not [at for at in shared if found[0][at + 1] == found[1][at + 1]]


@pytest.mark.parametrize("code", [0, 3])
def test_a_child_that_leaves_ends_by_its_code(guests: RealPool, code: int) -> None:
    assert code == value(guests, "child_leaves", code=code)


def test_a_job_that_takes_its_output_apart_costs_its_slot_and_no_more(guests: RealPool) -> None:
    assert "done" == value(guests, "detaches_stdout")
    assert b"hello\n" == guests.run("says").output.head


def test_a_child_that_raises_ends_as_a_program_does(guests: RealPool) -> None:
    ended = guests.run("child_raises")

    assert b'"ended with 1"' == ended.result
    assert b"RuntimeError: of the child" in ended.output.head
    assert b"{}" == guests.run("echo").result


# -- random numbers --------------------------------------------------------------------------------------------------


def test_each_process_draws_numbers_of_its_own(make_pool: Callable[..., RealPool]) -> None:
    pool = make_pool(apps=(*APPS, "guest_jobs"), count=2)
    pool.until(lambda: pool.slots.free() == 2)
    keys = [pool.start("draws_warm") for _ in range(2)]
    warm = [orjson.loads(pool.end_of(key).result or b"") for key in keys]
    alone = [value(pool, "draws_alone") for _ in range(2)]

    rows = [row[1:] for row in warm] + [row[:-1] for row in alone]
    assert len(rows[0]) == (6 if "numpy" in sys.modules or _has_numpy() else 3)
    for column in zip(*rows, strict=True):
        assert len(rows) == len(set(column)), rows
    assert alone[0][-1] == alone[1][-1], "what the application seeded keeps its seed"


def _has_numpy() -> bool:
    from importlib.util import find_spec

    return find_spec("numpy") is not None


# -- the beginning and the end of a slot, threads --------------------------------------------------------------------


def test_hooks_run_once_in_each_slot_and_its_end_is_orderly(make_pool: Callable[..., RealPool], tmp_path: Path) -> None:
    pool = make_pool(apps=(*APPS, "guest_jobs"), max_jobs=2, grace_seconds=5.0)
    own, *opened = value(pool, "who_opened")
    assert opened == [own]
    pid = value(pool, "notes_go_to", folder=str(tmp_path))
    assert pid != value(pool, "pid")
    alone = value(pool, "notes_go_to_alone", folder=str(tmp_path))
    done: list[bool] = []
    pool.until(lambda: not pool.slots._dying, what="the end of those that are worn out")
    pool.slots.close(lambda: done.append(True))
    pool.until(lambda: done)

    assert pid == own
    notes = (tmp_path / "notes").read_text().split()
    assert notes[:4] == ["stopped", str(pid), "atexit", str(pid)]
    assert notes[4:] == ["stopped", str(alone), "atexit", str(alone)]


def test_a_hook_that_fails_is_told_and_its_slot_tried_again(
    make_pool: Callable[..., RealPool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hook_app.py").write_text(
        f"""
import os
from longshore import on_slot_start
@on_slot_start
def connects():
    if not os.path.exists({str(tmp_path / "server")!r}):
        open({str(tmp_path / "server")!r}, "w").close()
        raise ConnectionError("nobody is there")
"""
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    pool = make_pool(apps=(*APPS, "hook_app"))
    pool.until(pool.slots.free, what="a slot that could begin")

    assert "slot_start_failed" in pool.logged
    assert b"{}" == pool.run("echo").result


def test_a_thread_that_a_client_keeps_costs_no_slot(guests: RealPool) -> None:
    pids = [value(guests, handler) for handler in ["keeps_a_client", "pid", "keeps_a_client", "keeps_a_client"]]

    assert 1 == len(set(pids))


def test_a_thread_that_works_on_does_so_in_no_other_s_time(guests: RealPool) -> None:
    first = value(guests, "goes_on_working")
    said = guests.run("says")

    assert b"hello\n" == said.output.head
    assert first != value(guests, "pid")


def test_clients_without_end_cost_the_slot(guests: RealPool) -> None:
    assert value(guests, "makes_clients", count=40) != value(guests, "pid")


def test_the_context_is_there_in_a_handler_s_own_threads(guests: RealPool) -> None:
    assert "uid" == value(guests, "asks_in_a_thread")


# -- stopping a loop -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", ["consumes", "on_uvloop", "blocks_its_loop", "in_a_loop_of_its_own"])
def test_a_stop_reaches_the_main_task_of_a_loop(guests: RealPool, tmp_path: Path, handler: str) -> None:
    if handler == "on_uvloop":
        pytest.importorskip("uvloop")
    path = tmp_path / "end"
    key = guests.start(handler, orjson.dumps({"path": str(path)}))
    while not Path(f"{path}.started").exists():
        guests.loop.turn(block=False)
    guests.cancel(key)
    ended = guests.end_of(key)

    assert Outcome.CANCELLED is ended.outcome
    assert "cleaned up" == path.read_text()
    assert ended.exit_code is None or ended.exit_code == 0
