"""Waits of the api in a cluster end with the caller: on the watch, on events, on a worker's answer."""

import socket
import threading
from collections.abc import Callable

import pytest
import urllib3

from longshore.store.kubernetes.history import History
from longshore.store.kubernetes.watch import Changes, Told
from longshore.store.kubernetes.worker_pool import worker_pool
from longshore.store.waiting_caller import WaitingCaller, cut_short, waiting_for


def told_at_once(wait: Callable[[], object], *, waits: Callable[[], bool]) -> object:
    """What a wait of a minute returns when its caller leaves in the middle; ``waits`` says when that is."""
    caller, found = WaitingCaller(), []

    def run() -> None:
        with waiting_for(caller):
            found.append(wait())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not waits():
        thread.join(0.01)
    caller.leave()
    thread.join(30)
    assert not thread.is_alive()
    return found[0]


class Seen:
    """Whether a wait has begun."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.left: bytes | None = None

    def __call__(self) -> bool:
        return self.begun.is_set()


def test_a_wait_for_a_change_of_a_job_ends() -> None:
    changes, seen = Changes(), Seen()

    def wait() -> object:
        seen.begun.set()
        return changes.next(60)

    assert told_at_once(wait, waits=seen) is Told.NOTHING


def test_a_wait_for_events_ends() -> None:
    history, seen = History(), Seen()

    def wait() -> object:
        seen.begun.set()
        return history.after("default", None, 0, 10, 60)

    assert told_at_once(wait, waits=seen) == []


def test_a_wait_for_a_worker_ends_on_both_sides() -> None:
    seen = Seen()
    with socket.create_server(("127.0.0.1", 0)) as server, worker_pool(maxsize=1) as pool:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1/attempts/a/1/logs"

        def wait() -> object:
            with pytest.raises(urllib3.exceptions.HTTPError):
                pool.request("GET", url, retries=False, timeout=60)
            return "ended"

        def worker() -> None:
            taken, _ = server.accept()
            with taken:
                assert taken.recv(65536).startswith(b"GET /v1/attempts")
                seen.begun.set()
                seen.left = taken.recv(1)

        thread = threading.Thread(target=worker, daemon=True)
        thread.start()
        assert told_at_once(wait, waits=seen) == "ended"
        thread.join(30)

    assert seen.left == b"", "the worker saw the end too"


def test_a_caller_that_left_before_the_wait_began_does_not_wait() -> None:
    caller, changes = WaitingCaller(), Changes()
    caller.leave()
    with waiting_for(caller):
        assert changes.next(60) is Told.NOTHING


def test_what_ends_a_wait_is_not_called_after_it() -> None:
    caller, calls = WaitingCaller(), []
    with waiting_for(caller), cut_short(lambda: calls.append("late")):
        pass
    caller.leave()
    assert calls == []
