"""The SQLite ledger on real files: fences, wholeness, what it refuses to open."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from longshore.errors import StoreCorrupt, StoreLocked, StoreUnavailable, StoreUnsupported
from longshore.job.status import JobStatus
from longshore.store.document import document
from longshore.store.ledger import (
    Batch,
    ChangeRow,
    DeliveryRow,
    EndRow,
    EventRow,
    ItemRow,
    KeyRow,
    LogRow,
    Standing,
    ToldRow,
)
from longshore.store.port import Query
from longshore.store.sqlite.files import mount_type
from longshore.store.sqlite.ledger import SqliteLedger
from longshore.store.sqlite.reader import SqliteReader
from longshore.store.sqlite.schema import MIGRATIONS, migrate
from store_rows import make_claim as claim
from store_rows import make_job as job


def end(uid: str, number: int = 1, phase: str = "Succeeded", **fields: object) -> EndRow:
    standing = Standing(phase, finished_at=3.0 if phase != "Pending" else None, expires_at=50.0 if phase != "Pending" else None,
                        result=b"7" if phase == "Succeeded" else None)  # fmt: skip
    return EndRow(uid, fields.pop("idx", None), number, "w", 2.0, 3.0, "succeeded", "", None, standing, **fields)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@pytest.fixture
def ledger(path: Path):
    found = SqliteLedger(path)
    yield found
    found.close()


def phase(ledger: SqliteLedger, uid: str) -> str:
    found = ledger.job(f"job-{uid}")
    assert found is not None
    return found.standing.phase


def test_a_job_goes_its_way_in_one_batch_or_in_many(ledger: SqliteLedger) -> None:
    log = LogRow("a", None, 1, b"head", b"tail", 100)
    refused = ledger.commit(Batch(jobs=[job("a")], claims=[claim("a")]))
    refused |= ledger.commit(Batch(ends=[end("a", log=log)]))

    assert set() == refused
    stored = ledger.job("job-a")
    assert stored is not None
    assert ("Succeeded", 1, b"7", 3) == (stored.standing.phase, stored.attempts, stored.standing.result, stored.rev)
    assert log == ledger.log("a", None, None)
    assert ["succeeded"] == [row.outcome for row in ledger.attempts("a")]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"exit_code": 2**64 - 1}, id="a number of more than 64 bits"),
        pytest.param({"reason": "half a pair \ud800"}, id="text that is no UTF-8"),
        pytest.param({"outcome": None}, id="nothing where something has to be"),
    ],
)
def test_a_row_that_cannot_be_written_is_refused_alone(ledger: SqliteLedger, wrong: dict[str, object]) -> None:
    ledger.commit(Batch(jobs=[job("a"), job("b")], claims=[claim("a"), claim("b")]))

    assert {("a", None, 1)} == ledger.commit(Batch(ends=[end("a")._replace(**wrong), end("b")]))  # type: ignore[arg-type]
    assert ("Running", "Succeeded") == (phase(ledger, "a"), phase(ledger, "b"))


@pytest.mark.parametrize(
    ("case", "batch"),
    [
        ("a claim of a job that runs", Batch(claims=[claim("runs", 2)])),
        ("a claim with a number that is not next", Batch(claims=[claim("waits", 2)])),
        ("a claim of a job that ended", Batch(claims=[claim("ended", 2)])),
        ("an end of a job that waits", Batch(ends=[end("waits", 0)])),
        ("an end of an old attempt", Batch(ends=[end("runs", 0)])),
        ("an end of a job that ended", Batch(ends=[end("ended", 1)])),
        ("an end of nobody", Batch(ends=[end("nobody")])),
        ("a change of a job that succeeded", Batch(changes=[ChangeRow("ended", "Succeeded", Standing("Pending"))])),
        ("a change from where it is not", Batch(changes=[ChangeRow("waits", "Running", Standing("Cancelled"))])),
        ("a redrive that raises nothing", Batch(changes=[ChangeRow("failed", "Failed", Standing("Pending"))])),
    ],
)
def test_the_store_itself_refuses(ledger: SqliteLedger, case: str, batch: Batch) -> None:
    ledger.commit(Batch(jobs=[job(uid) for uid in ("waits", "runs", "ended", "failed")],
                        claims=[claim(uid) for uid in ("runs", "ended", "failed")]))  # fmt: skip
    ledger.commit(Batch(ends=[end("ended"), end("failed", phase="Failed")]))
    before = [ledger.job(f"job-{uid}") for uid in ("waits", "runs", "ended", "failed")]
    # A good row beside the bad one must go through.
    batch.jobs.append(job("new"))
    refused = ledger.commit(batch)

    assert 1 == len(refused), case
    assert before == [ledger.job(f"job-{uid}") for uid in ("waits", "runs", "ended", "failed")]
    assert "Pending" == phase(ledger, "new")
    assert not ledger.attempts("nobody")


def test_one_bad_end_does_not_spoil_the_others(ledger: SqliteLedger) -> None:
    ledger.commit(Batch(jobs=[job("a"), job("b")], claims=[claim("a"), claim("b")]))
    refused = ledger.commit(Batch(ends=[end("a"), end("b", number=9)]))

    assert {("b", None, 9)} == refused
    assert ("Succeeded", "Running") == (phase(ledger, "a"), phase(ledger, "b"))


def test_a_redrive_opens_a_failed_job(ledger: SqliteLedger) -> None:
    ledger.commit(Batch(jobs=[job("a")], claims=[claim("a")]))
    ledger.commit(Batch(ends=[end("a", phase="Failed")]))

    assert set() == ledger.commit(Batch(changes=[ChangeRow("a", "Failed", Standing("Pending", redrives=1))]))
    assert set() == ledger.commit(Batch(claims=[claim("a", 2)]))


def test_items_have_fences_of_their_own(ledger: SqliteLedger) -> None:
    ledger.commit(Batch(jobs=[job("a", array=True)]))
    assert set() == ledger.commit(Batch(claims=[claim("a", 1, 0), claim("a", 1, 1)]))
    assert {("a", 0, 2)} == ledger.commit(Batch(claims=[claim("a", 2, 0)]))
    item = ItemRow("a", 0, "succeeded", 1, 0, 0, result=b"1")
    still = end("a", 1, idx=0, item=item)._replace(standing=Standing("Running", items=b"{}"))
    assert {("a", 0, 5)} == ledger.commit(Batch(ends=[still._replace(number=5)]))
    assert set() == ledger.commit(Batch(ends=[still]))
    assert {("a", 0, 1)} == ledger.commit(Batch(ends=[still]))
    assert ["succeeded", "running"] == [row.state for row in ledger.live_items("a")]


def test_a_refused_transaction_leaves_nothing_and_can_be_tried_again(ledger: SqliteLedger, path: Path) -> None:
    ledger._db.execute("PRAGMA max_page_count = 60")  # the disk is full soon
    big = Batch(jobs=[job(str(n), spec=b"x" * 20_000) for n in range(100)])
    with pytest.raises(StoreUnavailable, match="full"):
        ledger.commit(big)
    assert {} == ledger.counts()
    ledger._db.execute("PRAGMA max_page_count = 1000000")

    assert set() == ledger.commit(big)
    assert {"Pending": 100} == ledger.counts()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_a_clear_refusal_and_recovers(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        ledger = SqliteLedger(disk / "x.db")
        filler = disk / "filler"
        with filler.open("wb") as file, pytest.raises(OSError, match="space"):
            while True:
                file.write(b"x" * 65536)
                file.flush()
        with pytest.raises(StoreUnavailable):
            ledger.commit(Batch(jobs=[job(str(n), spec=b"x" * 5000) for n in range(50)]))
        filler.unlink()
        ledger.commit(Batch(jobs=[job("a")]))
        assert {"Pending": 1} == ledger.counts()
        ledger.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_second_engine_is_told_who_has_the_file(ledger: SqliteLedger, path: Path) -> None:
    with pytest.raises(StoreLocked, match=str(os.getpid())):
        SqliteLedger(path)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt, match="x.db"):
        SqliteLedger(path)

    assert content == path.read_bytes()


def test_a_damaged_page_is_found(path: Path) -> None:
    ledger = SqliteLedger(path)
    ledger.commit(Batch(jobs=[job(str(n), spec=b"y" * 1000) for n in range(500)]))
    ledger.close()
    whole = bytearray(path.read_bytes())
    for page in range(3, 40):
        whole[page * 4096 : page * 4096 + 100] = b"\xa5" * 100
    path.write_bytes(whole)
    with pytest.raises(StoreCorrupt):
        SqliteLedger(path)

    assert bytes(whole) == path.read_bytes()


def test_somebody_elses_database_is_left_as_it_is(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="not one of Longshore"):
        SqliteLedger(path)

    assert before == path.read_bytes()


def test_a_newer_schema_is_refused_and_an_older_one_brought_up(path: Path) -> None:
    SqliteLedger(path).close()
    db = sqlite3.connect(path, isolation_level=None)
    migrate(db, (*MIGRATIONS, "ALTER TABLE jobs ADD COLUMN colour TEXT;"))
    assert "colour" in [row[1] for row in db.execute("PRAGMA table_info(jobs)")]
    db.close()
    with pytest.raises(StoreCorrupt, match="newer release"):
        SqliteLedger(path)


def test_a_network_file_system_is_known_by_its_mount() -> None:
    mounts = ("22 1 8:1 / / rw - ext4 /dev/a rw\n30 22 0:5 / /srv/share rw - nfs4 host:/x rw\n"
              "31 30 0:6 / /srv/share/local rw - tmpfs t rw\n")  # fmt: skip

    found = [mount_type(Path(p), mounts) for p in ("/srv/share/data", "/srv/shared", "/srv/share/local/x", "/")]
    assert ["nfs4", "ext4", "tmpfs", "ext4"] == found


def test_a_folder_that_cannot_be_written_is_a_clear_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnsupported, match="Not a directory"):
        SqliteLedger(tmp_path / "file" / "x.db")


def test_ended_jobs_go_by_time_and_by_number_and_leave_a_stone(path: Path) -> None:
    ledger = SqliteLedger(path, retention_jobs=2)
    for number in range(4):
        uid = str(number)
        ledger.commit(Batch(jobs=[job(uid, labels={"k": "v"})], claims=[claim(uid)]))
        row = end(uid)
        ledger.commit(Batch(ends=[row._replace(standing=row.standing._replace(expires_at=10.0 * (number + 1)))]))

    assert [("0", "job-0")] == ledger.expired(10.0)[:1]
    surplus = ledger.expired(0.0)
    assert [("0", "job-0"), ("1", "job-1")] == surplus
    ledger.commit(Batch(removed=[(uid, id, 5.0) for uid, id in surplus]))
    assert (None, True, False) == (ledger.job("job-0"), ledger.removed("job-0"), ledger.removed("job-9"))
    assert [] == ledger.attempts("0")
    assert 30.0 == ledger.next_expiry()
    ledger.close()


def test_what_became_of_a_delivery_goes_with_its_job(ledger: SqliteLedger) -> None:
    ledger.commit(Batch(jobs=[job("u")]))
    row = ToldRow("u", "msg_u_0", "Retrying", 1, 5.0, "HTTP 500", "http://x", "", b"{}")
    ledger.commit(Batch(told=[row, row._replace(uid="gone")]))
    assert (row._replace(revision=1), None) == (ledger.told("u"), ledger.told("gone"))

    ledger.commit(Batch(told=[row._replace(state="Delivered", attempts=2, body=b"")]))
    assert row._replace(state="Delivered", attempts=2, body=b"", revision=2) == ledger.told("u")


def test_keys_events_queues_and_deliveries_are_kept(ledger: SqliteLedger) -> None:
    key = KeyRow("k", "f", ("a", "b"), 1.0)
    event = EventRow(1, "u", "job-u", "submitted", 1.0, b"{}")
    delivery = DeliveryRow("d", "u", "http://x", "", b"{}", 0, 1.0)
    ledger.commit(Batch(keys=[key], events=[event], deliveries=[delivery], queues=[("q", b"{}")]))

    assert (key, [event], [delivery], {"q": b"{}"}) == (
        ledger.key("k"), ledger.events(uid=None, after=0, limit=5), ledger.deliveries(), ledger.queues(),
    )  # fmt: skip
    ledger.commit(Batch(delivered=["d"]))
    assert ([], 1) == (ledger.deliveries(), ledger.last_seq())
    assert ledger.trim(1.0 + 25 * 3600) == 1
    assert ledger.key("k") is None


def test_documents_are_what_the_model_says(ledger: SqliteLedger) -> None:
    import orjson

    ledger.commit(Batch(jobs=[job("a"), job("b"), job("c")], claims=[claim("a"), claim("b")]))
    ledger.commit(Batch(ends=[end("a"), end("b", phase="Failed")._replace(outcome="failed", exit_code=3)]))
    for uid in "abc":
        stored = ledger.job(f"job-{uid}")
        assert stored is not None
        found = orjson.loads(orjson.dumps(document(stored, ledger.attempts(uid))))
        status = JobStatus.model_validate_json(orjson.dumps(found["status"]), by_alias=True, by_name=False)
        assert (status.phase.value, status.attempts) == (stored.standing.phase, stored.attempts)
        assert len(status.history) == stored.attempts
        assert bool(status.conditions) == status.phase.terminal


def test_lists_go_page_by_page_newest_first(ledger: SqliteLedger, path: Path) -> None:
    ledger.commit(Batch(jobs=[job(str(n), labels={"team": "x" if n % 2 else "y"}) for n in range(7)]))
    reader = SqliteReader(str(path))
    seen: list[object] = []
    cursor = ""
    while True:
        page = reader.find(Query(limit=3, cursor=cursor))
        seen += [doc["id"] for doc in page.items]
        cursor = page.next_cursor
        if not cursor:
            break

    assert [f"job-{n}" for n in reversed(range(7))] == seen
    assert 3 == len(reader.find(Query(labels={"team": "x"})).items)
    assert 4 == reader.count(Query(labels={"team": "y"}))["Pending"]
    assert 0 == sum(reader.count(Query(queue="other")).values())


WRITER = """
import sys
from pathlib import Path
from longshore.store.ledger import Batch, JobRow
from longshore.store.sqlite.ledger import SqliteLedger
ledger = SqliteLedger(Path(sys.argv[1]))
for n in range(10**6):
    rows = [JobRow(f"{sys.argv[2]}-{n}-{k}", f"{sys.argv[2]}-{n}-{k}", b"{}", "q", "h", 0, 1.0, {}, "", "", "api", False)
            for k in range(5)]
    ledger.commit(Batch(jobs=rows))
    print(n, flush=True)
"""


def test_a_killed_writer_leaves_every_acknowledged_batch_and_no_half_one(path: Path) -> None:
    for round_ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(round_)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged = -1
        while acknowledged < 20 + 7 * round_:
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        acknowledged = int(rest[-1]) if rest else acknowledged
        ledger = SqliteLedger(path)
        uids = [row.job.uid for row in ledger.live() if row.job.uid.startswith(f"{round_}-")]
        ledger.close()
        assert len(uids) in (5 * (acknowledged + 1), 5 * (acknowledged + 2))


class LedgerAgainstDictionary(RuleBasedStateMachine):
    """Random batches and crashes; a dictionary knows what should be there."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = Path(tempfile.mkdtemp())
        self.ledger = SqliteLedger(self.folder / "x.db")
        self.model: dict[str, tuple[str, int]] = {}

    @rule(count=st.integers(1, 5))
    def submit(self, count: int) -> None:
        uids = [str(len(self.model) + n) for n in range(count)]
        assert not self.ledger.commit(Batch(jobs=[job(uid) for uid in uids]))
        self.model |= dict.fromkeys(uids, ("Pending", 0))

    @precondition(lambda self: self.model)
    @rule(data=st.data(), durable=st.booleans())
    def claim(self, data: st.DataObject, durable: bool) -> None:
        uid = data.draw(st.sampled_from(sorted(self.model)))
        number = data.draw(st.integers(1, 4))
        refused = self.ledger.commit(Batch(claims=[claim(uid, number)]), durable=durable)
        found, attempts = self.model[uid]
        good = found == "Pending" and number == attempts + 1
        assert good == (not refused)
        if good:
            self.model[uid] = ("Running", number)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), to=st.sampled_from(["Succeeded", "Failed", "Pending"]))
    def end(self, data: st.DataObject, to: str) -> None:
        uid = data.draw(st.sampled_from(sorted(self.model)))
        number = data.draw(st.integers(1, 4))
        refused = self.ledger.commit(Batch(ends=[end(uid, number, to)]))
        good = self.model[uid] == ("Running", number)
        assert good == (not refused)
        if good:
            self.model[uid] = (to, number)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.model)))
        found, attempts = self.model[uid]
        refused = self.ledger.commit(Batch(changes=[ChangeRow(uid, "Pending", Standing("Cancelled"))]))
        assert (found == "Pending") == (not refused)
        if not refused:
            self.model[uid] = ("Cancelled", attempts)

    @rule()
    def crash(self) -> None:
        copy = self.folder.with_name(self.folder.name + "c")
        shutil.copytree(self.folder, copy)  # the files as a crash would leave them, log and all
        self.ledger.close()
        shutil.rmtree(self.folder)
        copy.rename(self.folder)
        self.ledger = SqliteLedger(self.folder / "x.db")

    @invariant()
    def same(self) -> None:
        rows = self.ledger._db.execute("SELECT uid, phase, attempts FROM jobs")
        assert self.model == {uid: (found, attempts) for uid, found, attempts in rows}

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)


LedgerAgainstDictionary.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestLedgerAgainstDictionary = LedgerAgainstDictionary.TestCase
