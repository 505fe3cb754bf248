"""Parts around a real engine that does nothing by itself: a test says how attempts end, and asks as the api does."""

import orjson

from longshore.engine.attempt import Attempt, AttemptKey, Ended
from longshore.engine.engine import Engine
from longshore.job.status import Outcome

SLOTS = 2


class Pool:
    """Stands in for the processes: a test says how an attempt ends. Everything else is real."""

    size = SLOTS

    def __init__(self, engine: Engine) -> None:
        self.engine, self.attempts = engine, dict[AttemptKey, Attempt]()

    def free(self) -> int:
        return SLOTS - len(self.attempts)

    def run(self, attempt: Attempt) -> None:
        assert attempt.key not in self.attempts
        self.attempts[attempt.key] = attempt

    def stop(
        self, key: AttemptKey, outcome: Outcome, reason: str, message: str = "", grace: float | None = None
    ) -> bool:
        if key in self.attempts:
            self.end(key, outcome, reason)
        return True

    def end(self, key: AttemptKey, outcome: Outcome, reason: str = "") -> None:
        del self.attempts[key]
        error = "" if outcome is Outcome.SUCCEEDED else "Oops"
        self.engine.ended(Ended(key, outcome, 1.0, 2.0, 1.0, reason=reason, error_type=error,
                                result=b"1" if outcome is Outcome.SUCCEEDED else None))  # fmt: skip

    def running(self) -> list[object]:
        return []

    def place_of(self, _key: AttemptKey) -> None:
        return None

    def output(self, _key: AttemptKey) -> None:
        return None


class Caller:
    """The other end of the engine's socket."""

    on_close = on_hurry = None
    hurried = False
    gone = False

    def __init__(self) -> None:
        self.answer: object = None
        self.error = ""

    def reply(self, value: object) -> None:
        self.answer = orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))

    def fail(self, error: Exception) -> None:
        self.error = getattr(error, "code", "error")
