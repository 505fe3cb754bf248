"""A worker says more while it runs: what it was offered, what it started, what it told."""

import json
import os
import signal
from collections.abc import Callable
from typing import Any

from longshore.job.attempts import Taken
from worker_service import Worker


def test_a_worker_tells_at_debug_what_the_operator_and_it_say(worker: Worker, eventually: Callable[..., Any]) -> None:
    def said(action: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in found if line["action"] == action]

    def run() -> dict[str, Any]:
        attempt = worker.attempt()
        assert [Taken.ACCEPTED] == worker.offer(attempt)
        worker.outcome(attempt)
        return attempt

    run()
    assert not said("attempt_offered")
    os.kill(worker.pid, signal.SIGUSR1)
    eventually(lambda: said("log_level"), what="the switch")
    attempt = run()
    os.kill(worker.pid, signal.SIGUSR2)
    eventually(lambda: len(said("log_level")) == 2, what="the way back")
    run()

    told = {action: said(action) for action in ("attempt_offered", "attempt_started", "attempt_ended")}
    assert {action: [attempt["uid"]] for action in told} == {
        action: [line["uid"] for line in lines] for action, lines in told.items()
    }
    assert "accepted" == told["attempt_offered"][0]["answer"]
    assert any(line["entries"] == 1 for line in said("feed_answered"))
