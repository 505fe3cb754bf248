"""The engine over a disk that refuses at any point: what is on record, told and sent is what was answered, and no more."""

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from longshore.engine.engine import Engine
from longshore.engine.journal import Journal
from longshore.engine.live import Live
from longshore.engine.loop import Loop
from longshore.errors import StoreUnavailable
from longshore.job.status import Outcome, Phase
from longshore.job.waiting import Held
from longshore.settings import Settings
from longshore.store.ledger import Batch, DeliveryRow
from longshore.store.sqlite.ledger import Refused, SqliteLedger
from still_engine import SLOTS, Caller, Pool

HOOK = {"url": "https://receiver.example/hook"}
ENDS = ("succeeded", "failed", "cancelled")


class RefusingLedger(SqliteLedger):
    """Refuses so many writes, after it has let some through."""

    let_through = refusals = 0

    def _may_refuse(self) -> None:
        if self.let_through:
            self.let_through -= 1
        elif self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("as the test wants it", retry_after=1)

    def commit(self, batch: Batch, *, durable: bool = True) -> Refused:
        self._may_refuse()
        refused = super().commit(batch, durable=durable)
        assert not refused, "the engine asked for what the store has to refuse"
        return refused

    def probe(self) -> None:
        self._may_refuse()
        super().probe()


class Receiver:
    """Where webhooks would go."""

    depth = 0

    def __init__(self) -> None:
        self.sent: list[DeliveryRow] = []

    def add(self, rows: Iterable[DeliveryRow]) -> None:
        self.sent += rows

    def pids(self) -> list[int]:
        return []


class Rig:
    """One engine after the other over one folder; nothing happens unless it is told to go on."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.boot()

    def boot(self, refusals: int = 0) -> None:
        self.ledger = RefusingLedger(self.folder / "x.db", synchronous="normal")
        self.ledger.refusals = refusals
        quiet = Journal(level="error")
        quiet.raw = lambda data: None  # type: ignore[method-assign]  # refusals are what is wanted here
        self.engine = Engine(Loop(), Settings(data_dir=self.folder), self.ledger, quiet, list)
        self.pool, self.receiver = Pool(self.engine), Receiver()
        self.engine.pool = self.pool  # type: ignore[assignment]  # no processes
        self.engine.outbox = self.receiver  # type: ignore[assignment]  # no network
        self.engine.restore()
        self.engine.pool_ready([{"name": "h", "runner": "slot"}])

    def restart(self, refusals: int = 0) -> None:
        copy = self.folder.with_name(self.folder.name + "c")
        shutil.copytree(self.folder, copy)  # as a kill leaves it
        self.close()
        copy.rename(self.folder)
        self.boot(refusals)

    def go_on(self, rounds: int = 1) -> None:
        """As the loop does; time does not pass for a disk that has refused."""
        engine = self.engine
        for _ in range(rounds):
            engine.loop.turn(block=False)
            engine._dispatch()
            if engine.turn:
                engine.turn.settle(quiet=not self.pool.attempts)

    def calm(self) -> None:
        """The disk works, and everything that follows by itself has followed."""
        self.ledger.let_through = self.ledger.refusals = 0
        for _ in range(8):
            if self.engine.turn.failing:
                self.engine.turn.failing_until = 1e-9
                self.engine.turn.probe()
            self.engine.turn.urgent()
            self.go_on()
        assert not self.engine.turn
        assert not self.engine.turn.failing

    def ask(self, op: str, **fields: object) -> Caller:
        caller = Caller()
        self.engine.commands.serve(caller, {"op": op, "v": 1, **fields})  # type: ignore[arg-type]  # no socket
        return caller

    def submit(self, name: str, **spec: object) -> Caller:
        whole = {"handler": "h", "webhook": HOOK, "retry": {"initialSeconds": 0}, **spec}
        return self.ask("submit", jobs=[[name, True, whole, "", None, "", "api", ""]])

    def live(self, name: str) -> Live:
        return self.engine.board.by_id[name]

    def events(self, name: str) -> list[str]:
        return [row.type for row in self.ledger.events(uid=None, after=0, limit=100_000) if row.id == name]

    def phase(self, name: str) -> str:
        stored = self.ledger.job(name)
        return stored.standing.phase if stored is not None else "nowhere"

    def refuse(self, times: int = 1, after: int = 0) -> None:
        self.ledger.let_through, self.ledger.refusals = after, times

    def end(self, name: str, outcome: Outcome) -> None:
        self.pool.end(next(key for key, attempt in self.pool.attempts.items() if attempt.job == name), outcome)

    def close(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def rig() -> Iterable[Rig]:
    found = Rig()
    yield found
    found.close()


def test_a_cancel_that_was_taken_back_is_told_to_nobody_and_the_real_end_is_sent_once(rig: Rig) -> None:
    """It had been announced, under the id of the real end, which receivers then took for a repeat."""
    rig.submit("a", suspend=True)
    rig.calm()
    rig.refuse()
    answer = rig.ask("cancel", id="a")
    rig.go_on()
    assert ("store-unavailable", "Pending") == (answer.error, rig.phase("a"))
    rig.calm()
    assert (["submitted"], []) == (rig.events("a"), rig.receiver.sent)

    rig.ask("resume", id="a")
    rig.calm()
    rig.end("a", Outcome.SUCCEEDED)
    rig.calm()
    assert ["submitted", "resumed", "started", "succeeded"] == rig.events("a")
    assert [b'"Succeeded"'] == [row.body[row.body.find(b'"phase":') + 8 :][:11] for row in rig.receiver.sent]


def test_an_end_that_comes_while_a_cancel_is_refused_is_the_end_that_it_was(rig: Rig) -> None:
    rig.submit("a", maxRetries=1)
    rig.calm()
    rig.refuse()
    answer = rig.ask("cancel", id="a")
    rig.end("a", Outcome.FAILED)  # with the cancel on record it would not be repeated
    rig.go_on()
    rig.calm()

    assert "store-unavailable" == answer.error
    assert ["submitted", "started", "retrying", "started"] == rig.events("a")
    assert ("Running", 2) == (rig.phase("a"), rig.live("a").attempts)


def test_a_cancel_after_an_end_that_is_not_on_the_disk_yet_is_kept_with_it(rig: Rig) -> None:
    """The store refused it, since the attempt still ran there; memory and answer said cancelled, a restart ran it again."""
    rig.submit("a", maxRetries=1, retry={"initialSeconds": 600})
    rig.calm()
    rig.end("a", Outcome.FAILED)
    answer = rig.ask("cancel", id="a")
    rig.go_on()

    assert ("", "Cancelled") == (answer.error, rig.phase("a"))
    assert ["submitted", "started", "retrying", "cancelled"] == rig.events("a")


@pytest.mark.parametrize("refused", [1, 2, 3])
def test_dependents_follow_although_the_disk_refused_their_end_once(rig: Rig, refused: int) -> None:
    rig.submit("a")
    rig.submit("b", after=["a"])
    rig.submit("c", after=["b"])
    rig.calm()
    rig.end("a", Outcome.FAILED)
    rig.refuse(1, after=refused - 1)  # the end of a, of b, of c
    rig.go_on(4)
    rig.calm()

    assert ["Failed"] * 3 == [rig.phase(name) for name in "abc"]
    assert [["submitted", "failed"]] * 2 == [rig.events(name) for name in "bc"]


def test_dependents_fail_at_a_start_whose_first_write_is_refused(rig: Rig) -> None:
    rig.submit("a", suspend=True)
    rig.submit("b", after=["a"])
    rig.calm()
    rig.ask("cancel", id="a")
    rig.engine.turn.settle(quiet=True)  # b is not written yet
    rig.restart(refusals=1)
    rig.go_on(2)
    rig.calm()
    assert ("Failed", 0) == (rig.phase("b"), len(rig.pool.attempts))


def test_a_start_deadline_outlives_a_refusal(rig: Rig) -> None:
    rig.submit("a", suspend=True, startDeadlineSeconds=1e-6)
    rig.engine.turn.settle(quiet=True)
    rig.refuse()
    rig.go_on(3)
    assert "Pending" == rig.phase("a")
    rig.calm()
    assert (["submitted", "failed"], "Failed") == (rig.events("a"), rig.phase("a"))


def test_claims_that_are_kept_alone_leave_the_way_back_of_everything_else(rig: Rig) -> None:
    """After it was forgotten a refused end of a dependent stood in memory, and nowhere else."""
    for name in "ax":
        rig.submit(name)
    rig.submit("b", after=["a"])
    rig.submit("y")
    rig.calm()
    rig.end("a", Outcome.FAILED)
    rig.engine.turn.urgent()
    rig.engine.turn.settle(quiet=False)  # b has failed in memory
    assert "Failed" == rig.live("b").standing.phase
    rig.engine._dispatch()
    rig.engine.turn.settle(quiet=False)  # the claim of y alone
    assert ("Running", "Pending") == (rig.phase("y"), rig.phase("b"))
    rig.refuse()
    rig.engine.turn.urgent()
    rig.engine.turn.settle(quiet=True)
    assert "Pending" == rig.live("b").standing.phase
    rig.calm()
    assert ("Failed", ["submitted", "started"]) == (rig.phase("b"), rig.events("y"))


def test_an_array_whose_cancel_was_taken_back_goes_on(rig: Rig) -> None:
    rig.submit("a", count=4, parallelism=2)
    rig.calm()
    rig.refuse()
    rig.ask("cancel", id="a")
    rig.go_on()
    rig.calm()
    while rig.pool.attempts:
        rig.end("a", Outcome.SUCCEEDED)
        rig.calm()
    assert "Succeeded" == rig.phase("a")


def test_a_lock_of_somebody_else_is_a_refusal_and_no_wait(rig: Rig, eventually: Callable[..., object]) -> None:
    """The loop, with its probes, stood still for five seconds at each try."""
    assert rig.ledger._db.execute("PRAGMA busy_timeout").fetchone()[0] <= 100
    other = sqlite3.connect(rig.folder / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answer = rig.submit("a")
    rig.go_on()
    assert "store-unavailable" == answer.error
    other.execute("ROLLBACK")
    other.close()
    rig.calm()
    assert not rig.submit("a").error


@dataclass
class Known:
    """What was answered about a job."""

    after: str = ""
    deadline: bool = False
    suspend: bool = False
    cancelled: bool = False
    redrives: int = 0
    told: Counter[str] = field(default_factory=Counter)
    """Events by which acknowledged wishes are told."""


class RefusalsAgainstAnswers(RuleBasedStateMachine):
    """Requests and ends, several in one turn, over a disk that refuses now and then; then calm, and everything is compared."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.jobs: dict[str, Known] = {}
        self.born = 0

    # -- what happens ----------------------------------------------------------------------------------------

    @rule(after=st.integers(0, 3), times=st.integers(1, 3))
    def refuse(self, after: int, times: int) -> None:
        self.rig.refuse(times, after)

    @rule(data=st.data(), size=st.integers(1, 4), rounds=st.integers(1, 3))
    def happen(self, data: st.DataObject, size: int, rounds: int) -> None:
        """Some of it in one turn, in any order."""
        pending: list[tuple[Caller, Callable[[], None]]] = []
        for _ in range(size):
            kinds = [
                "submit",
                *(["act", "act"] if self.jobs else []),
                *(["end", "end"] if self.rig.pool.attempts else []),
            ]
            kind = data.draw(st.sampled_from(kinds))
            if kind == "end":
                self.end(data)
            else:
                pending.append(self.submit(data) if kind == "submit" else self.act(data))
        self.rig.go_on(rounds)
        if self.rig.engine.turn.failing:  # those that wait for the next try learn how it went
            self.rig.engine.turn.failing_until = 1e-9
        self.rig.engine.turn.urgent()
        self.rig.go_on(2)
        for caller, apply in pending:
            assert caller.answer is not None or caller.error, "everybody is answered"
            if not caller.error:
                apply()

    @rule()
    def work_again(self) -> None:
        self.rig.calm()
        self.compare()

    @rule(refusals=st.integers(0, 2))
    def restart(self, refusals: int) -> None:
        self.rig.restart(refusals)

    def submit(self, data: st.DataObject) -> tuple[Caller, Callable[[], None]]:
        name = f"job-{self.born}"
        self.born += 1
        known = Known(
            after=data.draw(st.sampled_from(["", *sorted(self.jobs)])), deadline=data.draw(st.booleans()),
            suspend=data.draw(st.booleans()),
        )  # fmt: skip
        spec: dict[str, object] = {"maxRetries": data.draw(st.integers(0, 1)), "suspend": known.suspend}
        if known.after:
            spec["after"] = [known.after]
        if known.deadline:
            spec["startDeadlineSeconds"] = 1e-6
        known.told["submitted"] = 1

        def apply() -> None:
            self.jobs[name] = known

        return self.rig.submit(name, **spec), apply

    def act(self, data: st.DataObject) -> tuple[Caller, Callable[[], None]]:
        name = data.draw(st.sampled_from(sorted(self.jobs)))
        verb = data.draw(st.sampled_from(["cancel", "cancel", "suspend", "resume", "redrive"]))
        live = self.rig.engine.board.by_id.get(name)
        running = live is not None and bool(live.running)
        asked = live is not None and live.standing.cancel
        suspended = live is not None and live.standing.suspend
        known = self.jobs[name]

        def apply() -> None:
            if verb == "redrive":
                known.redrives += 1
                known.told["redriven"] += 1
                known.suspend = False
            elif verb == "cancel":
                known.cancelled = True
                known.told["cancelling"] += running and not asked
            else:
                known.told["suspended" if verb == "suspend" else "resumed"] += suspended != (verb == "suspend")
                known.suspend = verb == "suspend"

        return self.rig.ask(verb, id=name), apply

    def end(self, data: st.DataObject) -> None:
        jobs = {attempt.job: key for key, attempt in self.rig.pool.attempts.items()}
        name = data.draw(st.sampled_from(sorted(jobs)))
        self.rig.pool.end(jobs[name], data.draw(st.sampled_from([Outcome.SUCCEEDED, Outcome.FAILED, Outcome.LOST])))

    # -- what must be so -------------------------------------------------------------------------------------

    def compare(self) -> None:
        rig = self.rig
        db = rig.ledger._db
        assert set(self.jobs) == {id for (id,) in db.execute("SELECT id FROM jobs")}
        sent = Counter(row.id for row in rig.receiver.sent)
        assert all(count == 1 for count in sent.values()), "one message for one end"
        assert set(sent) <= {id for (id,) in db.execute("SELECT id FROM outbox")}
        ready = sum(line.depth(rig.engine.now()) for line in rig.engine.board.lines.values())
        assert ready == 0 or len(rig.pool.attempts) == SLOTS
        for name, known in self.jobs.items():
            self.compare_job(name, known)

    def compare_job(self, name: str, known: Known) -> None:
        rig = self.rig
        stored = rig.ledger.job(name)
        assert stored is not None
        standing, terminal = stored.standing, Phase(stored.standing.phase).terminal
        assert (known.redrives, known.redrives) == (standing.redrives, standing.redrive)
        assert not known.cancelled or standing.phase == "Cancelled"
        told = rig.events(name)
        ends = [kind for kind in told if kind in ENDS]
        assert known.redrives + terminal == len(ends)
        assert not terminal or ends[-1] == standing.phase.lower()
        ended = len(rig.ledger.attempts(stored.job.uid, last=1000))
        assert ended >= told.count("retrying")
        rest = Counter(told) - Counter(ends)
        del rest["retrying"]
        # The event of a claim is written with what comes after it; a kill between the two takes it.
        assert rest.pop("started", 0) <= stored.attempts
        assert rest == +known.told
        messages = [f"msg_{stored.job.uid}_{number}" for number in range(len(ends))]
        rows = {row.id: row for row in rig.ledger.deliveries() if row.uid == stored.job.uid}
        assert sorted(messages) == sorted(rows)
        if terminal:
            assert standing.phase == orjson.loads(rows[messages[-1]].body)["data"]["phase"]
            assert name not in rig.engine.board.by_id
        else:
            self.compare_waiting(name, known)

    def compare_waiting(self, name: str, known: Known) -> None:
        rig = self.rig
        live, stored = rig.live(name), rig.ledger.job(name)
        assert live.stored() == stored, "memory is what is on record"
        assert known.suspend == live.standing.suspend
        before = rig.phase(known.after) if known.after else "Succeeded"
        assert before not in ("Failed", "Cancelled") or live.attempts, "it can never start and is not told"
        waits = before != "Succeeded" and not live.attempts
        assert not known.deadline or live.attempts or waits or known.redrives, "its deadline has passed"
        entry = rig.engine.board.line(live).entry(live.uid)
        if live.running:
            assert entry is None
            return
        assert entry is not None, (name, live.standing, rig.events(name), live.running)
        expected = Held.SUSPENDED if known.suspend else Held.DEPENDENCIES if waits else ""
        assert expected == (entry.why if entry.place == "held" else "")

    def teardown(self) -> None:
        try:
            self.rig.calm()
            self.compare()
        finally:
            self.rig.close()


RefusalsAgainstAnswers.TestCase.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
TestRefusalsAgainstAnswers = RefusalsAgainstAnswers.TestCase
