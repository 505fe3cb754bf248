"""Who can open what the service writes: its own user, whatever the umask was; of a results volume its group too."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from longshore.store.ledger import Batch
from longshore.store.results import ResultsFolder
from longshore.store.sqlite.ledger import SqliteLedger
from service import Service
from store_rows import make_job


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0, 0o022, 0o277])
def test_a_fresh_database_is_closed_to_others_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        ledger = SqliteLedger(tmp_path / "data" / "x.db")
        ledger.commit(Batch(jobs=[make_job("a")]))
    assert {"x.db": 0o600, "x.db-wal": 0o600, "x.db-shm": 0o600, "x.db.lock": 0o600} == modes(tmp_path / "data")
    assert (0o700, "") == (mode(tmp_path / "data"), ledger.exposed)
    ledger.close()


def test_no_file_of_the_database_is_ever_made_open(tmp_path: Path, program: Callable[[str], None]) -> None:
    program("strace")
    script = (
        "import os, sys\nfrom pathlib import Path\nos.umask(0)\n"
        "from longshore.store.sqlite.ledger import SqliteLedger\nSqliteLedger(Path(sys.argv[1])).close()\n"
    )
    calls = ["strace", "-f", "-e", "trace=openat,mkdir,mkdirat", sys.executable, "-c", script]
    told = subprocess.run([*calls, str(tmp_path / "data" / "x.db")], capture_output=True, text=True, check=True).stderr
    made = re.findall(rf'"{tmp_path}/data(?:/([^"]*))?", (?:[A-Z_|]*O_CREAT[A-Z_|]*, )?(0\d+)\)', told)
    first = {name: int(given, 8) for name, given in reversed(made)}  # later ones find the file there
    assert {"", "x.db", "x.db-wal", "x.db-shm", "x.db.lock"} <= set(first)
    assert (0o700, {0o600}) == (first.pop(""), set(first.values()))


def test_what_an_older_release_left_open_is_closed_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    ledger = SqliteLedger(folder / "x.db")
    ledger.commit(Batch(jobs=[make_job("a")]))
    left = [path.read_bytes() for path in (folder / "x.db", folder / "x.db-wal")]
    ledger.close()
    for name, data in zip(("x.db", "x.db-wal"), left, strict=True):  # as after a kill, its log beside it
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o644)
    (folder / "x.db.lock").chmod(0o644)
    folder.chmod(0o755)

    ledger = SqliteLedger(folder / "x.db")
    assert (0o700, {0o600}, "") == (mode(folder), set(modes(folder).values()), ledger.exposed)
    assert ledger.job("job-a") is not None
    ledger.close()


@pytest.mark.parametrize("case", ["the working directory", "a folder of everybody"])
def test_a_folder_that_is_not_longshores_alone_stays_as_it_is_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o755 if case == "the working directory" else 0o1777)
    if case == "the working directory":
        monkeypatch.chdir(folder)
    before = mode(folder)
    ledger = SqliteLedger(folder / "x.db")
    assert before == mode(folder)
    assert "LONGSHORE_DATA_DIR" in ledger.exposed
    assert {0o600} == set(modes(folder).values())
    ledger.close()


def test_a_running_service_leaves_nothing_open(start_service: Callable[..., Service]) -> None:
    with umask(0):
        service = start_service(slots=1)
    service.request("POST", "/v1/jobs", {"handler": "echo", "args": {"x": 1}}, headers={"Prefer": "wait=10"})
    found = modes(service.folder)
    del found["service.log"]  # the test's own
    assert {"longshore.db", "longshore.db-wal", "longshore.db-shm", "longshore.db.lock", "engine.sock"} == set(found)
    assert ({0o600}, 0o700) == (set(found.values()), mode(service.folder))


@pytest.mark.parametrize("mask", [0, 0o077])
def test_a_results_volume_is_open_to_its_group_alone(tmp_path: Path, mask: int) -> None:
    (tmp_path / "default").mkdir()
    (tmp_path / "default").chmod(0o2755)  # of an older release, on a volume that hands its group down
    with umask(mask):
        ResultsFolder(tmp_path).put("default/uid-1/job.1.0a1b2c3d.json", b"1", durable=False)
    folder = tmp_path / "default" / "uid-1"
    assert (0o770, 0o770) == (mode(tmp_path / "default") & 0o777, mode(folder) & 0o777)
    assert mode(tmp_path / "default") & stat.S_ISGID
    assert {"job.1.0a1b2c3d.json": 0o640} == modes(folder)
