"""What is kept no longer goes in small rounds, by time, by number and by bytes, and the file shrinks after it."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from longshore.store.ledger import Batch, LogRow, Standing
from longshore.store.port import Query
from longshore.store.sqlite import retention as module
from longshore.store.sqlite.ledger import SqliteLedger
from longshore.store.sqlite.reader import SqliteReader
from service import Service
from store_rows import make_claim, make_end, make_item_end, make_job

MIB = 1024 * 1024


def end_job(ledger: SqliteLedger, uid: str, *, output: int = 0, result: int = 0, expires_at: float = 1e12) -> None:
    """A job that succeeded, with so many bytes."""
    ledger.commit(Batch(jobs=[make_job(uid)], claims=[make_claim(uid)]))
    row = make_end(uid, expires_at=expires_at, result=b"1" * result if result else None)
    log = LogRow(uid, None, 1, b"", b"x" * output, output) if output else None
    ledger.commit(Batch(ends=[row._replace(log=log)]))


def remove_all(ledger: SqliteLedger, now: float = 0.0) -> list[int]:
    """Round after round; how many jobs went in each."""
    rounds = []
    while True:
        while ledger.lighten(now):
            pass
        if not (found := ledger.expired(now)):
            return rounds
        ledger.commit(Batch(removed=[(uid, id, now) for uid, id in found]))
        rounds.append(len(found))


def pages(path: Path) -> int:
    """As the file has them on the disk."""
    return path.stat().st_size // 4096


def test_results_and_output_are_kept_up_to_so_many_bytes(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "x.db", retention_bytes=3 * MIB)
    for number in range(6):
        end_job(ledger, str(number), output=MIB // 2, result=MIB // 2, expires_at=100.0 + number)
    assert ledger.overfull
    assert [3] == remove_all(ledger)
    assert [None, None, None] == [ledger.job(f"job-{number}") for number in range(3)]
    assert ledger.job("job-3") is not None
    assert not ledger.overfull
    ledger.close()


def test_a_round_removes_a_bounded_number_of_bytes(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "x.db")
    for number in range(20):
        end_job(ledger, str(number), output=MIB, expires_at=1.0)
    assert [8, 8, 4] == remove_all(ledger, now=2.0)
    ledger.close()


def test_a_job_with_more_output_than_a_round_can_remove_loses_it_piece_by_piece(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "x.db")
    ledger.commit(Batch(jobs=[make_job("a", array=True)], claims=[make_claim("a", 1, n) for n in range(20)]))
    for number in range(20):
        row = make_item_end("a", number, phase="Running" if number < 19 else "Succeeded")
        log = LogRow("a", number, 1, b"", b"x" * MIB, MIB)
        item = row.item and row.item._replace(result=b"1" * 1000)
        ledger.commit(Batch(ends=[row._replace(log=log, item=item, standing=row.standing._replace(expires_at=1.0))]))
    rounds = 0
    while ledger.lighten(2.0):
        rounds += 1
    assert 2 == rounds
    assert [1] == remove_all(ledger, now=2.0)
    assert (0, {}) == (ledger._tally.kept_bytes, ledger.counts())
    ledger.close()


def test_the_file_shrinks_after_a_deletion(tmp_path: Path) -> None:
    """One page was given back for every call, whatever number it was asked for."""
    path = tmp_path / "x.db"
    ledger = SqliteLedger(path)
    for number in range(24):
        end_job(ledger, str(number), output=MIB, expires_at=1.0)
    ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    full = pages(path)
    remove_all(ledger, now=2.0)
    while ledger.shrink():
        pass
    assert full > 6000
    assert pages(path) < 2 * module.SPARE_PAGES
    ledger.close()


def test_a_file_that_was_made_anew_can_shrink_again(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    ledger = SqliteLedger(path)
    end_job(ledger, "a", result=10)
    ledger.close()
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("PRAGMA auto_vacuum = NONE")
        db.execute("VACUUM")
    db.close()
    ledger = SqliteLedger(path)
    assert 2 == ledger._pragma("auto_vacuum")
    assert ledger.job("job-a") is not None
    ledger.close()


def test_a_page_of_jobs_is_cut_by_bytes_and_its_cursor_goes_on(tmp_path: Path) -> None:
    """One answer had 157 MB."""
    ledger = SqliteLedger(tmp_path / "x.db")
    for number in range(20):
        end_job(ledger, f"{number:02}", result=MIB)
    reader, cursor, sizes, names = SqliteReader(str(tmp_path / "x.db")), "", [], []
    while True:
        page = reader.find(Query(limit=100, cursor=cursor))
        sizes.append(len(page.items))
        names += [doc["id"] for doc in page.items]
        if not (cursor := page.next_cursor):
            break
    assert [7, 7, 6] == sizes
    assert [f"job-{number:02}" for number in reversed(range(20))] == names
    ledger.close()


def test_the_status_reads_no_row_of_a_job(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "x.db")
    end_job(ledger, "a")
    ledger.commit(Batch(jobs=[make_job("b")]))
    asked: list[str] = []
    ledger._db.set_trace_callback(asked.append)
    assert ({"Succeeded": 1, "Pending": 1}, []) == (ledger.counts(), asked)
    ledger.close()


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_counts_are_right_after_a_refusal_and_after_a_start(tmp_path: Path, phase: str) -> None:
    ledger = SqliteLedger(tmp_path / "x.db")
    ledger.commit(Batch(jobs=[make_job("a"), make_job("b")], claims=[make_claim("a")]))
    late = make_end("b", 1, "Succeeded")._replace(standing=Standing("Succeeded", result=b"12345"))
    assert ledger.commit(Batch(ends=[make_end("a", phase=phase, result=b"123"), late]))
    assert ({phase: 1, "Pending": 1}, 3) == (ledger.counts(), ledger._tally.kept_bytes)
    ledger.close()
    ledger = SqliteLedger(tmp_path / "x.db")
    assert ({phase: 1, "Pending": 1}, 3) == (ledger.counts(), ledger._tally.kept_bytes)
    ledger.close()


def test_a_service_keeps_to_its_bytes_and_its_file_shrinks(
    start_service: Callable[..., Service], eventually: Callable[..., object]
) -> None:
    service = start_service(retention_bytes="2MiB", max_result_bytes="1MiB")
    jobs = [{"handler": "echo", "args": {"x": "y" * 60_000}, "count": 100, "parallelism": 2}]
    service.request("POST", "/v1/jobs:batch", {"jobs": jobs * 2})
    database = service.folder / "longshore.db"
    client = service.client()
    eventually(lambda: not client.status()["waiting"]["count"] and client.status()["jobs"]["Running"] == 0)
    eventually(lambda: client.status()["jobs"]["Succeeded"] == 0, what="removal of what is too much")
    eventually(lambda: database.stat().st_size < 3 * MIB, what="a smaller file")
