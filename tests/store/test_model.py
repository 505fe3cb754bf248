"""Whole turns of the engine against a naive model: mixed batches, late voices, arrays, redrives, removals, crashes."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from longshore.store.ledger import Batch, ChangeRow, ClaimRow, EndRow, EventRow, KeyRow, Standing
from longshore.store.sqlite.ledger import SqliteLedger
from longshore.store.sqlite.tally import Tally
from store_rows import make_claim, make_end, make_item_end, make_job

TERMINAL = ("Succeeded", "Failed", "Cancelled")
Refused = set[tuple[str, int | None, int]]


@dataclass
class Known:
    """What the model knows of a job."""

    array: bool = False
    phase: str = "Pending"
    attempts: int = 0
    rev: int = 1
    redrives: int = 0
    opened: int = 0
    items: dict[int, tuple[str, int]] = field(default_factory=dict)
    history: list[tuple[int | None, int]] = field(default_factory=list)

    def to(self, phase: str) -> None:
        """One more change."""
        self.phase, self.rev = phase, self.rev + 1


class Model:
    """The rules of ``store.ledger`` in plain words."""

    def __init__(self) -> None:
        self.jobs: dict[str, Known] = {}
        self.stones: set[str] = set()

    def change(self, row: ChangeRow) -> bool:
        job = self.jobs.get(row.uid)
        if job is None or job.phase != row.from_phase:
            return False
        redrive = (
            job.phase == "Failed" and row.standing.phase == "Pending" and row.standing.redrives == job.redrives + 1
        )
        if job.phase in TERMINAL and not redrive:
            return False
        job.redrives = row.standing.redrives
        job.opened += redrive
        job.to(row.standing.phase)
        return True

    def end(self, row: EndRow) -> bool:
        job = self.jobs.get(row.uid)
        if job is None or job.phase != "Running":
            return False
        if row.idx is None and job.attempts != row.number:
            return False
        if row.idx is not None and row.item is not None:
            if job.items.get(row.idx) != ("running", row.number):
                return False
            job.items[row.idx] = (row.item.state, row.number)
        job.redrives = row.standing.redrives
        job.history.append((row.idx, row.number))
        job.to(row.standing.phase)
        return True

    def claim(self, row: ClaimRow) -> bool:
        job = self.jobs.get(row.uid)
        if job is None or job.phase not in (("Pending", "Running") if job.array else ("Pending",)):
            return False
        state, attempts = ("pending", job.attempts) if row.idx is None else job.items.get(row.idx, ("pending", 0))
        if state != "pending" or row.number != attempts + 1:
            return False
        if row.idx is not None:
            job.items[row.idx] = ("running", row.number)
        job.attempts += 1
        job.to("Running")
        return True

    def apply(self, batch: Batch) -> Refused:
        """In the order that ``Batch`` names; what is refused changes nothing."""
        for row in batch.jobs:
            self.jobs[row.uid] = Known(row.array)
        refused: Refused = {(row.uid, row.idx, row.number) for row in batch.ends if not self.end(row)}
        refused |= {(row.uid, None, 0) for row in batch.changes if not self.change(row)}
        refused |= {(row.uid, row.idx, row.number) for row in batch.claims if not self.claim(row)}
        for uid, id, _ in batch.removed:
            del self.jobs[uid]
            self.stones.add(id)
        return refused


class TurnsAgainstModel(RuleBasedStateMachine):
    """Every rule is one commit, but the crash."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.ledger = SqliteLedger(self.folder / "x.db")
        self.model = Model()
        self.born = 0
        self.seq = 0
        self.ended: dict[tuple[str, int], object] = {}

    def commit(self, batch: Batch, *, durable: bool = True) -> None:
        self.seq += 1
        batch.events.append(EventRow(self.seq, "u", "job-u", "turn", 1.0, b""))
        batch.keys.append(KeyRow(str(self.seq), "f", (), 1.0))
        assert self.model.apply(batch) == self.ledger.commit(batch, durable=durable)

    def claims(self, data: st.DataObject, uids: list[str]) -> list[ClaimRow]:
        rows = []
        for uid in uids:
            job = self.model.jobs[uid]
            idx = data.draw(st.integers(0, 2)) if job.array else None
            attempts = job.attempts if idx is None else job.items.get(idx, ("", 0))[1]
            rows.append(make_claim(uid, attempts + 1 - data.draw(st.integers(0, min(1, attempts))), idx))
        return rows

    def ends(self, data: st.DataObject, uids: list[str]) -> list[EndRow]:
        rows = []
        for uid in uids:
            job = self.model.jobs[uid]
            late = data.draw(st.integers(0, 1))
            if job.array:
                idx = data.draw(st.integers(0, 2))
                number = job.items.get(idx, ("", 1))[1] - late
                state = data.draw(st.sampled_from(["succeeded", "failed", "pending"]))
                row = make_item_end(
                    uid, idx, number, state, data.draw(st.sampled_from(["Running", "Running", "Failed"]))
                )
                rows.append(row._replace(standing=row.standing._replace(redrives=job.redrives)))
            else:
                phase = data.draw(st.sampled_from([*TERMINAL, "Pending"]))
                result = b"[1, 2, 3]" if phase == "Succeeded" else None
                rows.append(
                    make_end(
                        uid,
                        job.attempts - late,
                        phase,
                        log=data.draw(st.booleans()),
                        redrives=job.redrives,
                        result=result,
                    )
                )
        return rows

    def some(self, data: st.DataObject) -> list[str]:
        return data.draw(st.lists(st.sampled_from(sorted(self.model.jobs)), min_size=1, max_size=6))

    @rule(data=st.data(), arrays=st.lists(st.booleans(), min_size=1, max_size=4), at_once=st.booleans())
    def submit(self, data: st.DataObject, arrays: list[bool], at_once: bool) -> None:
        rows = [make_job(f"{self.born + n:03}", array=array, labels={"n": str(n)}) for n, array in enumerate(arrays)]
        self.born += len(rows)
        self.commit(
            Batch(jobs=rows, claims=[make_claim(r.uid, 1, 0 if r.array else None) for r in rows] if at_once else [])
        )

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        self.commit(Batch(claims=self.claims(data, self.some(data))), durable=False)

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data(), others=st.booleans())
    def end(self, data: st.DataObject, others: bool) -> None:
        """Ends, the same one twice among them, while other jobs start."""
        claims = self.claims(data, self.some(data)) if others else []
        self.commit(Batch(ends=self.ends(data, self.some(data)), claims=claims))

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        """Cancelled while it waits, a wish while it runs, redriven; rightly or not."""
        rows = []
        for uid in self.some(data):
            start, to = data.draw(st.sampled_from(
                [("Pending", "Cancelled"), ("Running", "Running"), ("Failed", "Pending"), ("Succeeded", "Pending"),
                 ("Cancelled", "Pending"), ("Pending", "Pending")]))  # fmt: skip
            redrives = self.model.jobs[uid].redrives + (data.draw(st.integers(0, 2)) if start in TERMINAL else 0)
            rows.append(ChangeRow(uid, start, Standing(to, redrives=redrives)))
        self.commit(Batch(changes=rows))

    @precondition(lambda self: any(job.phase in TERMINAL for job in self.model.jobs.values()))
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(uid for uid, job in self.model.jobs.items() if job.phase in TERMINAL)))
        self.commit(Batch(removed=[(uid, f"job-{uid}", 5.0)]))

    @rule(tidy=st.booleans())
    def restart(self, tidy: bool) -> None:
        """Ended in good order, or the files as a killed process leaves them."""
        copy = self.folder.with_name(self.folder.name + "c")
        if not tidy:
            shutil.copytree(self.folder, copy)
        self.ledger.close()
        if not tidy:
            shutil.rmtree(self.folder)
            copy.rename(self.folder)
        self.ledger = SqliteLedger(self.folder / "x.db")

    @invariant()
    def every_row_is_as_the_model_says(self) -> None:
        db = self.ledger._db
        found = {row[0]: row[1:] for row in db.execute("SELECT uid, phase, attempts, rev, redrives FROM jobs")}
        assert {uid: (j.phase, j.attempts, j.rev, j.redrives) for uid, j in self.model.jobs.items()} == found
        history = {
            (uid, idx if idx is not None else -1, number)
            for uid, j in self.model.jobs.items()
            for idx, number in j.history
        }
        assert history == set(db.execute("SELECT uid, idx, number FROM attempts"))
        items = {(uid, idx, *item) for uid, job in self.model.jobs.items() for idx, item in job.items.items()}
        assert items == set(db.execute("SELECT uid, idx, state, attempts FROM items"))
        assert set(self.model.jobs) == {uid for (uid,) in db.execute("SELECT uid FROM labels JOIN jobs USING (seq)")}
        assert self.model.stones == {id for (id,) in db.execute("SELECT id FROM tombstones")}
        assert self.seq == self.ledger.last_seq() == db.execute("SELECT count(*) FROM keys").fetchone()[0]

    @invariant()
    def what_is_counted_is_what_a_recount_finds(self) -> None:
        fresh = Tally(self.ledger._db)
        assert (fresh.counts(), fresh.kept_bytes) == (self.ledger.counts(), self.ledger._tally.kept_bytes)

    @invariant()
    def live_jobs_come_oldest_first(self) -> None:
        live = [uid for uid, job in sorted(self.model.jobs.items()) if job.phase not in TERMINAL]
        assert live == [row.job.uid for row in self.ledger.live()]

    @invariant()
    def a_terminal_record_never_changes(self) -> None:
        ended = {}
        for uid, job in self.model.jobs.items():
            if job.phase in TERMINAL:
                # A redrive opens it again, and may share its turn with the next end.
                row = ended[uid, job.opened] = self.ledger.job(f"job-{uid}")
                assert row == self.ended.get((uid, job.opened), row)
        self.ended = ended

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)


pytestmark = pytest.mark.timeout(480)  # where a disk is slow
TurnsAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTurnsAgainstModel = TurnsAgainstModel.TestCase
