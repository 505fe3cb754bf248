"""What survives: fsyncs counted, processes killed, disks full, files damaged."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from longshore.errors import StartError, StoreCorrupt, StoreUnavailable, StoreUnsupported
from longshore.store.ledger import Batch, DeliveryRow, EventRow, KeyRow
from longshore.store.sqlite import retention as module
from longshore.store.sqlite.files import mount_type
from longshore.store.sqlite.ledger import SqliteLedger
from longshore.store.sqlite.schema import APPLICATION_ID, MIGRATIONS, migrate
from store_rows import make_claim, make_end, make_item_end, make_job

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    found = SqliteLedger(path)
    yield found
    found.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 1 MiB small."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


# Between two marks (directories that are not there) stands what one kind of commit costs.
TRACED = """
import os, sys
from pathlib import Path
from store_rows import make_claim, make_end, make_job
from longshore.store.ledger import Batch
from longshore.store.sqlite.ledger import SqliteLedger

def mark(name):
    try:
        os.rmdir("/nowhere-" + name)
    except FileNotFoundError:
        pass

ledger = SqliteLedger(Path(sys.argv[1]), synchronous=sys.argv[2])
ledger.commit(Batch(jobs=[make_job("warm")]))
mark("one")
ledger.commit(Batch(jobs=[make_job("a"), make_job("b")]))
mark("many")
ledger.commit(Batch(jobs=[make_job(str(n)) for n in range(64)]))
mark("claims")
ledger.commit(Batch(claims=[make_claim("a")]), durable=False)
ledger.commit(Batch(claims=[make_claim("b")]), durable=False)
mark("end")
ledger.commit(Batch(ends=[make_end("a"), make_end("b")]))
mark("rest")
"""


@pytest.mark.parametrize(
    ("level", "expected"),
    [("full", {"one": 1, "many": 1, "claims": 0, "end": 1}), ("normal", {"one": 0, "many": 0, "claims": 0, "end": 0})],
)
def test_a_commit_is_one_fsync_of_the_log_and_a_claim_is_none(
    path: Path, tmp_path: Path, program: Callable[[str], None], level: str, expected: dict[str, int]
) -> None:
    program("strace")
    trace = tmp_path / "trace"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        ["strace", "-y", "-e", "trace=fsync,fdatasync,rmdir", "-o", str(trace), sys.executable, "-c", TRACED, str(path), level],
        check=True, env=environment,
    )  # fmt: skip
    counts: dict[str, int] = {}
    name = "start"
    for line in trace.read_text().splitlines():
        if "/nowhere-" in line:
            name = line.split("/nowhere-")[1].split('"')[0]
            counts[name] = 0
        elif "x.db-wal" in line:
            counts[name] = counts.get(name, 0) + 1

    assert expected == {name: counts[name] for name in expected}


WRITER = """
import os, sys
from pathlib import Path
from store_rows import make_claim, make_end, make_job
from longshore.store.ledger import Batch, EventRow
from longshore.store.sqlite.ledger import SqliteLedger
ledger, tag = SqliteLedger(Path(sys.argv[1])), sys.argv[2]
seq = ledger.last_seq()
for n in range(10**6):
    uids = [f"{tag}-{n}-{k}" for k in range(3)]
    ledger.commit(Batch(jobs=[make_job(uid) for uid in uids]))
    os.write(1, f"{n} Pending\\n".encode())
    ledger.commit(Batch(claims=[make_claim(uid) for uid in uids]), durable=False)
    os.write(1, f"{n} Running\\n".encode())
    events = [EventRow(seq + k + 1, uid, "job-" + uid, "succeeded", 1.0, b"") for k, uid in enumerate(uids)]
    seq += 3
    ledger.commit(Batch(ends=[make_end(uid, log=True) for uid in uids], events=events))
    os.write(1, f"{n} Succeeded\\n".encode())
"""
ORDER = ["", "Pending", "Running", "Succeeded"]


def test_a_writer_killed_anywhere_leaves_whole_commits_and_all_that_it_said(path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for tag in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(tag)], stdout=subprocess.PIPE, env=environment
        )
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(30 + 11 * tag)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.read().splitlines()
        writer.wait()
        writer.stdout.close()
        last, phase = said[-1].decode().split()
        ledger = SqliteLedger(path)
        db = ledger._db
        # Each group of three goes through its commits together, and never back behind what was acknowledged.
        rows = db.execute("SELECT uid, phase FROM jobs WHERE uid LIKE ?", (f"{tag}-%",)).fetchall()
        groups: dict[int, list[str]] = {}
        for uid, found in rows:
            groups.setdefault(int(uid.split("-")[1]), []).append(found)
        assert all(len(group) == 3 and len(set(group)) == 1 for group in groups.values())
        assert all(groups[n] == ["Succeeded"] * 3 for n in range(int(last)))
        assert ORDER.index(groups[int(last)][0]) in (ORDER.index(phase), ORDER.index(phase) + 1)
        # What belongs to an end is there with it, or not at all.
        ended = {uid for uid, found in rows if found == "Succeeded"}
        for table in ("attempts", "logs", "events"):
            assert ended == {uid for (uid,) in db.execute(f"SELECT uid FROM {table} WHERE uid LIKE ?", (f"{tag}-%",))}
        ledger.close()


def fill(folder: Path) -> Path:
    """Leave no room; returns the file to remove."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        while True:
            file.write(b"x" * 4096)
    return filler


@needs_root
def test_the_same_batch_goes_through_once_the_disk_has_room_again(disk: Path) -> None:
    ledger = SqliteLedger(disk / "x.db")
    ledger.commit(
        Batch(jobs=[make_job("a"), make_job("arr", array=True)], claims=[make_claim("a"), make_claim("arr", 1, 0)])
    )
    filler = fill(disk)
    batch = Batch(jobs=[make_job(str(n), spec=b"x" * 5000) for n in range(50)], keys=[KeyRow("k", "f", ("a",), 1.0)],
                  ends=[make_end("a", log=True), make_item_end("arr", 0)], claims=[make_claim("7")],
                  events=[EventRow(1, "a", "job-a", "succeeded", 3.0, b"")],
                  deliveries=[DeliveryRow("d", "a", "http://x", "", b"{}", 0, 1.0)])  # fmt: skip
    before = ledger.job("job-a")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="full"):
            ledger.commit(batch)
    assert (before, None, [], 0, None) == (
        ledger.job("job-a"), ledger.job("job-7"), ledger.attempts("a"), ledger.last_seq(), ledger.key("k"),
    )  # fmt: skip
    filler.unlink()

    assert set() == ledger.commit(batch)
    assert {"Succeeded": 1, "Running": 2, "Pending": 49} == ledger.counts()
    assert (1, ["d"]) == (len(ledger.attempts("a")), [row.id for row in ledger.deliveries()])
    ledger.close()
    SqliteLedger(disk / "x.db").close()  # its check passes


@needs_root
def test_a_read_only_disk_is_refused_at_start(disk: Path) -> None:
    SqliteLedger(disk / "x.db").close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StoreUnsupported, match="Read-only"):
        SqliteLedger(disk / "x.db")


def test_somebody_elses_lock_is_a_refusal_and_passes(ledger: SqliteLedger, path: Path) -> None:
    ledger._db.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        ledger.commit(Batch(jobs=[make_job("a")]))
    other.execute("ROLLBACK")
    other.close()

    assert set() == ledger.commit(Batch(jobs=[make_job("a")]))


def damaged(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Ways in which a database file goes bad."""
    for size in (1, 16, 99, 100, 4095, 4096, 4097, len(whole) // 2, len(whole) - 4096):
        yield f"cut to {size} bytes", whole[:size]
    seeded = random.Random(7)
    for page in (0, 1, 2):
        noise = seeded.randbytes(4000)
        at = page * 4096 + (16 if page == 0 else 0)
        yield f"noise in page {page + 1}", whole[:at] + noise + whole[at + 4000 :]
    yield "noise after the magic", whole[:16] + seeded.randbytes(len(whole) - 16)


def test_every_kind_of_damage_is_found_and_left_as_it_is(path: Path) -> None:
    ledger = SqliteLedger(path)
    ledger.commit(Batch(jobs=[make_job(str(n), spec=b"y" * 1000) for n in range(50)]))
    ledger.close()
    for case, content in damaged(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(StartError, match="x.db"):
            SqliteLedger(path)
        assert content == path.read_bytes(), case


@pytest.mark.parametrize("pragma", ["application_id = 42", "user_version = 1"])
def test_a_marked_file_of_another_program_is_left_as_it_is(path: Path, pragma: str) -> None:
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA {pragma}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="not one of Longshore"):
        SqliteLedger(path)

    assert before == path.read_bytes()


def test_a_step_of_a_migration_is_whole(path: Path) -> None:
    SqliteLedger(path).close()
    good = "ALTER TABLE jobs ADD COLUMN colour TEXT;"
    db = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, (*MIGRATIONS, good, "ALTER TABLE jobs ADD COLUMN taste TEXT; SELECT nonsense;"))
    db.close()  # as an engine that gives up
    db = sqlite3.connect(path, isolation_level=None)
    columns = {row[1] for row in db.execute("PRAGMA table_info(jobs)")}

    assert ("colour" in columns, "taste" in columns) == (True, False)
    assert (len(MIGRATIONS) + 1, APPLICATION_ID) == (
        db.execute("PRAGMA user_version").fetchone()[0], db.execute("PRAGMA application_id").fetchone()[0],
    )  # fmt: skip
    migrate(db, (*MIGRATIONS, good, "ALTER TABLE jobs ADD COLUMN taste TEXT;"))
    assert (len(MIGRATIONS) + 2,) == db.execute("PRAGMA user_version").fetchone()
    db.close()


def test_jobs_that_wait_come_back_in_order(path: Path) -> None:
    ledger = SqliteLedger(path)
    uids = [f"{n:03}" for n in range(50)]
    random.Random(1).shuffle(uids)
    for uid in uids:
        ledger.commit(Batch(jobs=[make_job(uid, created_at=1.0)]))
    ledger.commit(Batch(claims=[make_claim(uid) for uid in uids[:20]]))
    ledger.commit(
        Batch(ends=[make_end(uids[0]), *(make_end(uid, phase="Pending", not_before=9.5) for uid in uids[1:10])])
    )
    ledger.close()
    ledger = SqliteLedger(path)
    found = list(ledger.live())
    ledger.close()

    assert uids[1:] == [row.job.uid for row in found]
    assert [("Pending", 1, 9.5)] * 9 == [(r.standing.phase, r.attempts, r.standing.not_before) for r in found[:9]]


def test_removal_takes_everything_of_the_job(ledger: SqliteLedger) -> None:
    ledger.commit(Batch(jobs=[make_job("gone", labels={"k": "v"}), make_job("arr", array=True), make_job("stays")],
                        claims=[make_claim("gone"), make_claim("arr", 1, 0), make_claim("stays")]))  # fmt: skip
    last = make_item_end("arr", 0)
    ledger.commit(Batch(ends=[make_end("gone", log=True), make_end("stays", log=True),
                              last._replace(standing=last.standing._replace(phase="Succeeded"))]))  # fmt: skip
    ledger.commit(Batch(removed=[("gone", "job-gone", 5.0), ("arr", "job-arr", 5.0)]))
    kept = {table: ledger._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("jobs", "attempts", "logs", "labels", "items")}  # fmt: skip

    assert {"jobs": 1, "attempts": 1, "logs": 1, "labels": 0, "items": 0} == kept
    assert [True, True, False] == [ledger.removed(f"job-{uid}") for uid in ("gone", "arr", "stays")]


def test_a_name_can_be_used_again_after_removal(ledger: SqliteLedger) -> None:
    for uid in ("first", "second"):
        ledger.commit(Batch(jobs=[make_job(uid, id="nightly")], claims=[make_claim(uid)]))
        ledger.commit(Batch(ends=[make_end(uid)]))
        found = ledger.job("nightly")
        assert found is not None
        assert (uid, 1) == (found.job.uid, found.attempts)
        ledger.commit(Batch(removed=[(uid, "nightly", 5.0)]))
    assert (None, True) == (ledger.job("nightly"), ledger.removed("nightly"))


def test_trim_forgets_by_age_and_by_number(ledger: SqliteLedger) -> None:
    ledger.commit(Batch(keys=[KeyRow("old", "f", (), 0.0), KeyRow("young", "f", (), 10.0)],
                        removed=[("u", "job-old", 0.0), ("v", "job-young", 10.0)],
                        events=[EventRow(n, "u", "job-u", "x", 0.0, b"") for n in range(1, module.MAX_EVENTS + 1201)]))  # fmt: skip
    while ledger.trim(module.KEY_SECONDS + 5.0, limit=500):
        pass
    assert (None, False) == (ledger.key("old"), ledger.key("young") is None)
    assert (True, True) == (ledger.removed("job-old"), ledger.removed("job-young"))
    assert [1201] == [row.seq for row in ledger.events(uid=None, after=0, limit=1)]
    assert module.MAX_EVENTS + 1200 == ledger.last_seq()
    ledger.trim(module.TOMBSTONE_SECONDS + 5.0)
    assert (False, True) == (ledger.removed("job-old"), ledger.removed("job-young"))


def test_a_closed_store_is_one_file(ledger: SqliteLedger, path: Path) -> None:
    ledger.commit(Batch(jobs=[make_job("a")]))
    ledger.close()
    left = {file.name for file in path.parent.iterdir()} - {"x.db.lock"}
    ledger.__init__(path)  # type: ignore[misc]  # the fixture closes it once more

    assert {"x.db"} == left


def test_escaped_names_of_mounts_are_read() -> None:
    mounts = "22 1 8:1 / / rw - ext4 /dev/a rw\n30 22 0:5 / /srv/my\\040share rw shared:5 - cifs //host/x rw\n"

    assert "cifs" == mount_type(Path("/srv/my share/data"), mounts)


def test_a_database_of_the_release_before_gets_the_column_of_tracestate(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as db:
        migrate(db, MIGRATIONS[:3])
        db.execute(
            "INSERT INTO jobs (uid, id, spec, queue, handler, priority, created_at, labels, fingerprint, traceparent, source, array)"
            " VALUES ('u', 'old', x'7b7d', 'default', 'h', 0, 1.0, '{}', '', '', 'api', 0)"
        )
        db.commit()
        migrate(db)

        assert [("old", "")] == db.execute("SELECT id, tracestate FROM jobs").fetchall()
