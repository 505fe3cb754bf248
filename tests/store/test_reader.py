"""What the api reads by itself: lists against a naive model, sixteen threads, documents against the published model."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.errors import EngineUnavailable, InvalidRequest
from longshore.job.status import JobStatus
from longshore.store.document import document
from longshore.store.ledger import AttemptRow, Batch, ChangeRow, JobRow, Standing, StoredJob
from longshore.store.port import Query
from longshore.store.sqlite.ledger import SqliteLedger
from longshore.store.sqlite.reader import SqliteReader
from store_rows import PHASES, make_claim, make_end, make_item_end, make_job

Kept = tuple[str, str, str, str, dict[str, str]]  # name, phase, queue, handler, labels


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    found = SqliteLedger(tmp_path / "x.db")
    yield found
    found.close()


@pytest.fixture
def reader(ledger: SqliteLedger, tmp_path: Path) -> SqliteReader:
    return SqliteReader(str(tmp_path / "x.db"))


def names(reader: SqliteReader, query: Query) -> list[object]:
    """Names of all jobs that match, page by page."""
    found: list[object] = []
    while True:
        page = reader.find(query)
        assert len(page.items) <= query.limit
        found += [doc["id"] for doc in page.items]
        if not page.next_cursor:
            return found
        query = Query(query.phases, query.queue, query.handler, query.labels, query.limit, page.next_cursor)


def some_of_each(ledger: SqliteLedger) -> list[Kept]:
    """Jobs of every phase, queue, handler and label, oldest first."""
    jobs: list[JobRow] = []
    kept: list[Kept] = []
    for number in range(60):
        uid, phase = f"{number:02}", PHASES[number % 5]
        queue, handler = f"q{number % 3}", f"h{number % 2}"
        labels = {"team": f"t{number % 4}", "tier": "x'y\"%"} if number % 7 else {}
        jobs.append(make_job(uid, queue=queue, handler=handler, labels=labels))
        kept.append((f"job-{uid}", phase, queue, handler, labels))
    by_phase = {phase: [name[4:] for name, found, *_ in kept if found == phase] for phase in PHASES}
    ledger.commit(Batch(jobs=jobs))
    ledger.commit(Batch(claims=[make_claim(uid) for phase in PHASES[1:4] for uid in by_phase[phase]]))
    ledger.commit(Batch(ends=[make_end(uid, 1, phase) for phase in PHASES[2:4] for uid in by_phase[phase]],
                        changes=[ChangeRow(uid, "Pending", Standing("Cancelled")) for uid in by_phase["Cancelled"]]))  # fmt: skip
    return kept


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SqliteReader, list[Kept]]]:
    """A store with some of everything, and what is in it."""
    path = tmp_path_factory.mktemp("catalog") / "x.db"
    ledger = SqliteLedger(path)
    yield SqliteReader(str(path)), some_of_each(ledger)
    ledger.close()


@pytest.mark.parametrize("phases", [(), ("Pending",), ("Running", "Failed"), PHASES])
@pytest.mark.parametrize("queue", ["", "q1", "nowhere"])
@pytest.mark.parametrize("handler", ["", "h0"])
@pytest.mark.parametrize("labels", [{}, {"team": "t2"}, {"team": "t1", "tier": "x'y\"%"}, {"team": "' OR 1=1 --"}])
def test_a_list_is_what_the_filters_say(
    catalog: tuple[SqliteReader, list[Kept]], phases: tuple[str, ...], queue: str, handler: str, labels: dict[str, str]
) -> None:
    reader, kept = catalog
    expected = [
        (name, phase) for name, phase, in_queue, by, has in reversed(kept)
        if (not phases or phase in phases) and queue in ("", in_queue) and handler in ("", by) and labels.items() <= has.items()
    ]  # fmt: skip
    query = Query(phases, queue, handler, labels, limit=7)

    assert [name for name, _ in expected] == names(reader, query)
    assert {phase: [p for _, p in expected].count(phase) for phase in PHASES} == reader.count(query)


def test_pages_stay_in_place_while_jobs_come_and_go(ledger: SqliteLedger, reader: SqliteReader) -> None:
    ledger.commit(Batch(jobs=[make_job(str(n)) for n in range(9)], claims=[make_claim("3")]))
    ledger.commit(Batch(ends=[make_end("3")]))
    first = reader.find(Query(limit=4))
    ledger.commit(Batch(jobs=[make_job("new")], removed=[("3", "job-3", 5.0)]))
    second = reader.find(Query(limit=4, cursor=first.next_cursor))

    assert [f"job-{n}" for n in (8, 7, 6, 5)] == [doc["id"] for doc in first.items]
    assert [f"job-{n}" for n in (4, 2, 1, 0)] == [doc["id"] for doc in second.items]
    assert "" == second.next_cursor


@pytest.mark.parametrize("cursor", ["x", "é", "%00", "czE", "c" * 400, "cy0x", "ICAg", "MTIz"])
def test_a_strange_cursor_is_refused_or_names_a_place(ledger: SqliteLedger, reader: SqliteReader, cursor: str) -> None:
    ledger.commit(Batch(jobs=[make_job("a")]))
    try:
        found = reader.find(Query(cursor=cursor)).items
    except InvalidRequest as refused:
        parameter = refused.errors[0]["parameter"]
    else:
        parameter = "cursor" if not found else "taken for something"
    assert "cursor" == parameter


def test_items_come_by_index(ledger: SqliteLedger, reader: SqliteReader) -> None:
    ledger.commit(Batch(jobs=[make_job("arr", array=True)], claims=[make_claim("arr", 1, idx) for idx in (5, 0, 3)]))
    done = make_item_end("arr", 3)
    assert done.item is not None
    failed = make_item_end("arr", 5, 1, "failed")
    assert failed.item is not None
    ledger.commit(Batch(ends=[done._replace(item=done.item._replace(result=b'{"x":1}')),
                              failed._replace(item=failed.item._replace(error_type="E", error_message="no"))]))  # fmt: skip
    found = orjson.loads(orjson.dumps(reader.items("job-arr")[0]))

    assert [(0, "Running"), (3, "Succeeded"), (5, "Failed")] == [(item["index"], item["phase"]) for item in found]
    assert ({"x": 1}, {"type": "E", "message": "no"}) == (found[1]["result"], found[2]["error"])
    assert [3] == [item["index"] for item in reader.items("job-arr", after=0, limit=1)[0]]
    assert ([], False) == reader.items("job-nobody")


def test_a_page_of_items_is_cut_by_bytes_and_goes_on(ledger: SqliteLedger, reader: SqliteReader) -> None:
    large = b'"' + b"x" * (1024 * 1024 - 2) + b'"'
    ledger.commit(Batch(jobs=[make_job("arr", array=True)], claims=[make_claim("arr", 1, idx) for idx in range(20)]))
    ends = [make_item_end("arr", index) for index in range(20)]
    ledger.commit(Batch(ends=[end._replace(item=end.item._replace(result=large)) for end in ends if end.item]))
    sizes, seen, more = [], -1, True
    while more:
        items, more = reader.items("job-arr", after=seen, limit=1000)
        sizes.append(len(items))
        seen = int(str(items[-1]["index"]))

    assert ([8, 8, 4], 19) == (sizes, seen)
    assert [(5, True), (5, True), (5, False)] == [
        (len(items), more) for after in (-1, 4, 14) for items, more in [reader.items("job-arr", after=after, limit=5)]
    ]


def test_the_api_cannot_write(reader: SqliteReader) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db().execute("DELETE FROM jobs")
    reader._db().execute("PRAGMA query_only = OFF")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db().execute("DELETE FROM jobs")


def test_no_database_yet_is_try_again(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        SqliteReader(str(tmp_path / "x.db")).find(Query())
    assert not (tmp_path / "x.db").exists()


def test_sixteen_threads_read_while_the_engine_writes(ledger: SqliteLedger, reader: SqliteReader) -> None:
    stop = threading.Event()
    faults: list[BaseException] = []

    def look() -> None:
        seen = 0
        while not stop.is_set():
            try:
                counts = reader.count(Query())
                total = sum(counts.values())
                # Jobs come, start and end in tens: a reader sees whole commits, and never an older one.
                assert total >= seen
                assert {0} == {count % 10 for count in counts.values()}
                seen = total
                assert len(names(reader, Query(limit=50))) >= total
            except BaseException as error:
                faults.append(error)
                return
        reader._db().close()

    threads = [threading.Thread(target=look) for _ in range(16)]
    for thread in threads:
        thread.start()
    for group in range(20):
        uids = [f"{group}-{n}" for n in range(10)]
        ledger.commit(Batch(jobs=[make_job(uid) for uid in uids]))
        ledger.commit(Batch(claims=[make_claim(uid) for uid in uids]), durable=False)
        ledger.commit(Batch(ends=[make_end(uid) for uid in uids]))
    stop.set()
    for thread in threads:
        thread.join()

    assert [] == faults
    assert 200 == reader.count(Query())["Succeeded"]


def times() -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(0, 4_000_000_000)


words = st.text(max_size=40)
standings = st.builds(
    Standing, phase=st.sampled_from(PHASES), reason=words, message=words, retries=st.integers(0, 99),
    disruptions=st.integers(0, 99), redrives=st.integers(0, 9), not_before=times(), worker=words, started_at=times(),
    finished_at=st.none(), expires_at=times(), error_type=words, error_message=words, log_tail=words,
    result=st.none() | st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | words, st.lists).map(orjson.dumps),
    items=st.sampled_from([None, b"{}", b'{"succeeded":2,"succeededIndexes":"0-1"}']), cancel=st.booleans(),
    suspend=st.booleans(), redrive=st.integers(0, 3),
).flatmap(lambda s: st.floats(0, 4e9).map(lambda at: s if s.phase in PHASES[:2] else s._replace(finished_at=at)))  # fmt: skip
ended_attempts = st.lists(st.builds(
    AttemptRow, st.none() | st.integers(0, 9), st.integers(1, 99), words, st.floats(0, 4e9), st.floats(0, 4e9),
    st.sampled_from(["succeeded", "failed", "lost", "oom"]), words, st.none() | st.integers(-64, 255),
), max_size=10)  # fmt: skip


@given(standings, ended_attempts, st.none() | st.tuples(st.integers(0, 9), st.floats(0, 100), words))
def test_any_document_reads_as_the_published_model(
    standing: Standing, attempts: list[AttemptRow], progress: tuple[int, float, str] | None
) -> None:
    found = orjson.loads(orjson.dumps(document(StoredJob(make_job("a"), 3, 7, standing), attempts, progress)))
    status = JobStatus.model_validate_json(orjson.dumps(found["status"]), by_alias=True, by_name=False)

    assert (standing.phase, 3, standing.reason, standing.message) == (
        status.phase,
        status.attempts,
        status.reason,
        status.message,
    )
    assert (standing.retries, standing.redrives, standing.worker) == (status.retries, status.redrives, status.worker)
    assert [(a.number, a.idx, a.outcome, a.exit_code) for a in attempts] == [
        (h.number, h.index, h.outcome, h.exit_code) for h in status.history
    ]
    assert bool(status.conditions) == status.phase.terminal
    assert (standing.result is not None) == ("result" in found["status"])
    # Nothing that says nothing.
    said = {name: value for name, value in found["status"].items() if name not in ("attempts", "result", "items")}
    assert [] == [name for name, value in said.items() if value in ("", 0, [], {}, None)]
    spec = {"cancel": standing.cancel, "suspend": standing.suspend, "redrive": standing.redrive}
    assert {"handler": "h", **{name: value for name, value in spec.items() if value}} == found["spec"]


def test_a_taken_back_wish_of_the_submit_shows_as_it_stands() -> None:
    row = make_job("a", spec=b'{"handler":"h","suspend":true,"redrive":0}')
    resumed = orjson.loads(orjson.dumps(document(StoredJob(row, 0, 2, Standing("Failed", redrive=2)))))

    assert {"handler": "h", "suspend": False, "redrive": 2} == resumed["spec"]


def test_the_revision_grows_with_every_change(ledger: SqliteLedger) -> None:
    def rev() -> int:
        stored = ledger.job("job-a")
        assert stored is not None
        assert stored.rev == ledger.rev("a")
        return int(str(document(stored, ())["rev"]))

    seen = []
    for batch in (
        Batch(jobs=[make_job("a")]), Batch(changes=[ChangeRow("a", "Pending", Standing("Pending", suspend=True))]),
        Batch(claims=[make_claim("a")]), Batch(ends=[make_end("a", 1, "Failed")]),
        Batch(changes=[ChangeRow("a", "Failed", Standing("Pending", redrives=1))]),
    ):  # fmt: skip
        assert not ledger.commit(batch)
        seen.append(rev())
        ledger.commit(Batch(ends=[make_end("a", 9)]))  # refused: no change
        assert seen[-1] == rev()
    assert sorted(set(seen)) == seen


def test_history_is_the_last_ten_oldest_first(ledger: SqliteLedger) -> None:
    ledger.commit(Batch(jobs=[make_job("a")]))
    for number in range(1, 15):
        ledger.commit(Batch(claims=[make_claim("a", number)]))
        ledger.commit(Batch(ends=[make_end("a", number, "Pending")._replace(finished_at=float(number))]))

    assert list(range(5, 15)) == [row.number for row in ledger.attempts("a")]
    assert [13, 14] == [row.number for row in ledger.attempts("a", last=2)]
