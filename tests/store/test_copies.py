"""Copies of the database: whole, private, and never in the place of what is there."""

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from longshore.errors import StoreCorrupt, StoreLocked, StoreUnsupported
from longshore.store.sqlite.copies import back_up, restore
from longshore.store.sqlite.schema import migrate


def make_database(path: Path) -> Path:
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("PRAGMA journal_mode = WAL")
        migrate(db)
    db.close()
    return path


def test_a_copy_is_private_and_has_what_was_written_while_others_have_the_database_open(tmp_path: Path) -> None:
    database, copy = make_database(tmp_path / "longshore.db"), tmp_path / "copy"
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("CREATE TABLE more (x)")
    writer.execute("INSERT INTO more VALUES (1)")  # in the log, not in the file
    assert 0 == back_up(database, copy)
    writer.execute("INSERT INTO more VALUES (2)")
    writer.close()

    assert [(1,)] == sqlite3.connect(copy).execute("SELECT x FROM more").fetchall()
    assert 0o600 == stat.S_IMODE(copy.stat().st_mode)
    assert ["copy"] == [path.name for path in tmp_path.iterdir() if path.name.startswith("copy")]


@pytest.mark.parametrize("name", ["a?mode=rwc", "a#b", "a%41", "ä b", "'"])
def test_any_name_is_a_name_of_a_copy(tmp_path: Path, name: str) -> None:
    database = make_database(tmp_path / name)
    copy, again = tmp_path / f"{name}.copy", tmp_path / f"{name}.again"

    assert (0, 0) == (back_up(database, copy), restore(copy, again))
    assert {name, copy.name, again.name} <= {path.name for path in tmp_path.iterdir()}


def text(path: Path) -> None:
    path.write_text("no database")


def empty(path: Path) -> None:
    path.touch()


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE x (y)")
    db.close()


def damaged(path: Path) -> None:
    make_database(path)
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    path.write_bytes(data)


@pytest.mark.parametrize("make", [text, empty, foreign, damaged])
def test_what_is_no_whole_copy_is_refused_and_leaves_nothing(tmp_path: Path, make: Callable[[Path], None]) -> None:
    copy, folder = tmp_path / "copy", tmp_path / "data"
    make(copy)
    with pytest.raises(StoreCorrupt):
        restore(copy, folder / "longshore.db")
    assert ["longshore.db.lock"] == [path.name for path in folder.iterdir()]


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    database, copy = make_database(tmp_path / "longshore.db"), tmp_path / "copy"
    back_up(database, copy)
    with pytest.raises(StoreUnsupported, match="copy is there already; choose another name"):
        back_up(database, copy)
    with pytest.raises(StoreUnsupported, match="longshore.db is there already; move it away first"):
        restore(copy, database)
    with pytest.raises(StoreUnsupported, match="there is no database"):
        back_up(tmp_path / "absent.db", tmp_path / "other")


def test_a_database_that_an_engine_has_is_not_restored(tmp_path: Path) -> None:
    from longshore.store.sqlite.files import Lock

    copy = make_database(tmp_path / "copy")
    lock = Lock(tmp_path / "longshore.db.lock")
    with pytest.raises(StoreLocked):
        restore(copy, tmp_path / "longshore.db")
    lock.release()
    assert 0 == restore(copy, tmp_path / "longshore.db")


def test_a_restored_copy_has_the_schedules(tmp_path: Path) -> None:
    database = make_database(tmp_path / "longshore.db")
    with sqlite3.connect(database) as db:
        db.execute("INSERT INTO schedules VALUES ('nightly', 'u', 'file', x'7b7d', x'7b7d', x'7b7d', 1.0, 1, 1)")
    db.close()
    back_up(database, tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "again")

    assert [("nightly", 1)] == sqlite3.connect(tmp_path / "again").execute(
        "SELECT name, paused FROM schedules"
    ).fetchall()


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_folder_and_a_namespace_are_not_copied_at_once(tmp_path: Path, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "longshore", command, str(tmp_path / "copy"), "--namespace", "a", "--data-dir", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (2, True) == (done.returncode, "--namespace and --data-dir exclude each other" in done.stderr), done.stderr
    assert not (tmp_path / "copy").exists()
