"""The engine on a real ledger against what a user would expect of it, under random histories and restarts."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from longshore.engine.engine import Engine
from longshore.engine.journal import Journal
from longshore.engine.loop import Loop
from longshore.job.status import Outcome, Phase
from longshore.settings import Settings
from longshore.store.sqlite.ledger import SqliteLedger
from still_engine import SLOTS, Caller, Pool

QUIET = Journal(level="error")


class EngineAgainstExpectation(RuleBasedStateMachine):
    """Keeps only what a user knows: what was accepted, and what was asked for since."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.accepted: dict[str, int] = {}  # name → redrives asked for
        self.cancelled: set[str] = set()
        self.ended: dict[str, tuple[str, int]] = {}
        self.boot()

    def boot(self) -> None:
        self.ledger = SqliteLedger(self.folder / "x.db")
        self.engine = Engine(Loop(), Settings(data_dir=self.folder), self.ledger, QUIET, list)
        self.pool = Pool(self.engine)
        self.engine.pool = self.pool  # type: ignore[assignment]  # the one part that is not real
        self.engine.restore()
        self.engine.pool_ready([{"name": "h", "runner": "slot"}])
        self.settle()

    def settle(self) -> None:
        for _ in range(4):
            self.engine._dispatch()
            self.engine.turn.settle(quiet=True)

    def ask(self, op: str, **fields: object) -> Caller:
        caller = Caller()
        self.engine.commands.serve(caller, {"op": op, "v": 1, **fields})  # type: ignore[arg-type]
        self.settle()
        assert caller.answer is not None or caller.error or op == "delete"
        return caller

    @rule(retries=st.integers(0, 2), disruptions=st.integers(0, 2), array=st.integers(0, 3), key=st.booleans(),
          suspend=st.booleans())  # fmt: skip
    def submit(self, retries: int, disruptions: int, array: int, key: bool, suspend: bool) -> None:
        name = f"job-{len(self.accepted)}"
        spec: dict[str, object] = {"handler": "h", "maxRetries": retries, "maxDisruptions": disruptions, "suspend": suspend,
                                   "retry": {"initialSeconds": 0}}  # fmt: skip
        if array:
            spec |= {"count": array, "parallelism": 2}
        job = [name, False, spec, "", None, "", "api", ""]
        for _ in range(2 if key else 1):
            answer = self.ask("submit", jobs=[job], key=[name, "same"] if key else None)
            assert answer.answer[0][0] == name  # type: ignore[index]
        self.accepted[name] = 0

    @precondition(lambda self: self.pool.attempts)
    @rule(data=st.data(), outcome=st.sampled_from([*[*Outcome][:3], Outcome.LOST, Outcome.SUCCEEDED]))
    def end(self, data: st.DataObject, outcome: Outcome) -> None:
        jobs = {key: attempt.job for key, attempt in self.pool.attempts.items()}
        keys = sorted(jobs, key=lambda key: (jobs[key], key.index or 0))  # uids are random, a replay must not be
        self.pool.end(data.draw(st.sampled_from(keys)), outcome)
        self.settle()

    @precondition(lambda self: self.accepted)
    @rule(data=st.data(), verb=st.sampled_from(["cancel", "redrive", "suspend", "resume"]))
    def act(self, data: st.DataObject, verb: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.accepted)))
        before = self.phase(name)
        answer = self.ask(verb, id=name)
        if verb == "redrive":
            assert (before == Phase.FAILED) == (not answer.error)
            self.accepted[name] += not answer.error
            self.ended.pop(name, None) if not answer.error else None
        else:
            assert Phase(before).terminal == (answer.error == "conflict")
        if verb == "cancel" and not answer.error:
            self.cancelled.add(name)

    @rule()
    def crash(self) -> None:
        copy = self.folder.with_name(self.folder.name + "c")
        shutil.copytree(self.folder, copy)
        self.ledger.close()
        shutil.rmtree(self.folder)
        copy.rename(self.folder)
        self.boot()

    def phase(self, name: str) -> str:
        found = self.ask("get", id=name).answer
        assert isinstance(found, dict)
        return str(found["status"]["phase"])

    @invariant()
    def nothing_is_lost_and_ends_stand(self) -> None:
        ends = Counter(
            row.id for row in self.ledger.events(uid=None, after=0, limit=100_000)
            if row.type in ("succeeded", "failed", "cancelled")
        )  # fmt: skip
        for name, redrives in self.accepted.items():
            found = self.ask("get", id=name).answer
            assert isinstance(found, dict)
            status = found["status"]
            terminal = Phase(status["phase"]).terminal
            assert ends[name] == redrives + terminal, "one end for each time round"
            assert status.get("redrives", 0) == redrives
            if name in self.cancelled and terminal and not redrives:
                assert status["phase"] == "Cancelled"
            if name in self.ended:
                assert self.ended[name] == (status["phase"], status["attempts"]), "an end never changes"
            elif terminal:
                self.ended[name] = (status["phase"], status["attempts"])

    @invariant()
    def no_slot_idles_while_a_job_could_run(self) -> None:
        assert len(self.pool.attempts) <= SLOTS
        ready = sum(line.depth(self.engine.now()) for line in self.engine.board.lines.values())
        assert ready == 0 or len(self.pool.attempts) == SLOTS

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)


pytestmark = pytest.mark.timeout(480)  # where a disk is slow
EngineAgainstExpectation.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestEngineAgainstExpectation = EngineAgainstExpectation.TestCase
