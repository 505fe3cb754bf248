"""Results on their way to a volume that hangs: the loop goes on, and nothing is told before it is true."""

import errno
import os
import threading
import time
from collections.abc import Callable

from longshore.engine.attempt import AttemptKey, Ended
from longshore.engine.journal import Journal
from longshore.engine.keeper import THREADS, Keeper
from longshore.engine.loop import Loop
from longshore.job.output import Output
from longshore.job.status import Outcome


class Hangs:
    """A results directory that does nothing until it is let, and then what it is told to."""

    def __init__(self) -> None:
        self.gate, self.error, self.names_put = threading.Event(), 0, list[str]()

    def put(self, name: str, data: bytes, *, durable: bool) -> None:
        self.probe()
        self.names_put.append(name)

    def probe(self) -> None:
        assert self.gate.wait(60)
        if self.error:
            raise OSError(self.error, os.strerror(self.error))

    def get(self, name: str, limit: int) -> bytes:
        raise NotImplementedError

    def names(self, folder: str) -> list[str]:
        raise NotImplementedError

    def remove(self, folder: str) -> None:
        raise NotImplementedError


def ended(number: int, *, output: bytes = b"", size: int = 20_000) -> Ended:
    key = AttemptKey("uid-1", None, number)
    return Ended(key, Outcome.SUCCEEDED, 1.0, 2.0, 1.0, result=b"1" * size, output=Output(output, b"", len(output)))


def turn_until(loop: Loop, true: Callable[[], object]) -> None:
    limit = time.monotonic() + 30
    while not true():
        assert time.monotonic() < limit
        loop.turn(at_most=0.05)


def start() -> tuple[Loop, Hangs, Keeper, list[tuple[Ended, str]], Callable[[Ended], None]]:
    loop, results, told = Loop(), Hangs(), list[tuple[Ended, str]]()
    keeper = Keeper(loop, results, Journal())

    def end(one: Ended) -> None:
        keeper.ended(one, "default", "0a1b2c3d", lambda *said: told.append(said))

    return loop, results, keeper, told, end


def test_a_volume_that_hangs_holds_up_its_own_results_alone() -> None:
    loop, results, keeper, told, end = start()
    for number in range(1, 2 * THREADS + 1):
        end(ended(number))
    end(ended(99, size=10))
    loop.turn(block=False)

    assert ([99], 2 * THREADS, 2 * THREADS * 20_000) == (
        [one.key.number for one, _ in told],
        len(keeper.keeping),
        keeper.result_bytes,
    )
    results.gate.set()
    turn_until(loop, lambda: len(told) == 2 * THREADS + 1)
    assert {f"default/uid-1/job.{n}.0a1b2c3d.json" for n in range(1, 2 * THREADS + 1)} == {name for _, name in told} - {
        ""
    }
    assert (0, 0, False) == (len(keeper.keeping), keeper.result_bytes, keeper.failing)


def test_a_directory_that_fails_is_told_of_until_it_works_again() -> None:
    loop, results, keeper, told, end = start()
    results.error = errno.ENOSPC
    results.gate.set()
    end(ended(1))
    turn_until(loop, lambda: keeper.failing)

    ((failed, name),) = told
    assert (Outcome.FAILED, "ResultNotKept", None, "") == (failed.outcome, failed.reason, failed.result, name)
    assert "20000 bytes: No space left on device" in failed.error_message
    results.error = 0
    turn_until(loop, lambda: not keeper.failing)


def test_output_is_dropped_where_there_is_too_much() -> None:
    loop, results, _keeper, told, end = start()
    for number in range(1, 101):
        end(ended(number, output=b"x" * 1_000_000, size=10))

    assert 100 == len(told), "no end waits for its output"
    results.gate.set()
    turn_until(loop, lambda: len(results.names_put) >= 67)
    assert 67 == len(results.names_put), "64 MiB, then no more"


def test_a_volume_that_hangs_is_failing_until_it_goes_on() -> None:
    """Although it never says so."""
    loop, results, told = Loop(), Hangs(), list[str]()
    keeper = Keeper(loop, results, Journal(), hang_seconds=0.01)
    for number in range(1, THREADS + 2):
        keeper.ended(ended(number), "default", "0a1b2c3d", lambda _ended, ref: told.append(ref))
    turn_until(loop, lambda: keeper.failing)
    assert [] == told
    results.gate.set()
    turn_until(loop, lambda: not keeper.failing and len(told) > THREADS)

    assert THREADS + 1 == len(set(told))
