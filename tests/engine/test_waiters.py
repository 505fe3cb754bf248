"""Requests that wait, and the end of waiting."""

from longshore.engine.loop import Loop
from longshore.engine.waiters import Waiters


class Peer:
    """Somebody who asked and has not gone."""

    on_close = on_hurry = None
    hurried = False


def test_nobody_waits_any_more_after_the_close() -> None:
    waiters, answers = Waiters(Loop()), []
    waiters.park("topic", Peer(), 30, lambda expired: answers.append(("early", expired)))  # type: ignore[arg-type]
    waiters.close()
    waiters.park("topic", Peer(), 30, lambda expired: answers.append(("late", expired)))  # type: ignore[arg-type]

    assert [("early", True), ("late", True)] == answers
    assert 0 == len(waiters)
