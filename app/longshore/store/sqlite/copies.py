"""Copies of the database: made while the engine writes, and put back while none runs.

SQLite's backup API reads one snapshot, so a copy is consistent, and the engine goes on writing meanwhile (WAL). The copy
has jobs, results, output, events, queue policies, schedules and deliveries that wait: all that the service keeps is in the database.
"""

import os
import sqlite3
import urllib.parse
from contextlib import closing, suppress
from pathlib import Path

from longshore.errors import StoreCorrupt, StoreUnsupported
from longshore.store.sqlite.files import Lock, create_private
from longshore.store.sqlite.schema import check

PARTIAL = ".partial"


def back_up(database: Path, target: Path) -> int:
    """Write a copy, which its owner alone can read; returns how many jobs are in it. The database may be in use.

    Raises StoreUnsupported when there is no database or the target is there already, StoreCorrupt for a damaged one.
    """
    if not database.exists():
        raise StoreUnsupported(f"there is no database {database}; say where it is with --data-dir")
    _refuse_existing(target, "choose another name for the copy")
    return _copied(database, target)


def restore(source: Path, database: Path) -> int:
    """Put a copy in the place of the database; returns how many jobs are in it.

    Raises StoreLocked while an engine has the database, StoreUnsupported when there is one already: what is there is
    never overwritten. Raises StoreCorrupt for a copy that is damaged, foreign, or of a newer release.
    """
    if not source.exists():
        raise StoreUnsupported(f"there is no copy {source}")
    lock = Lock(database.with_name(database.name + ".lock"))
    try:
        for end in ("", "-wal"):
            _refuse_existing(database.with_name(database.name + end), "move it away first")
        return _copied(source, database)
    finally:
        lock.release()


def _refuse_existing(path: Path, hint: str) -> None:
    if path.exists():
        raise StoreUnsupported(f"{path} is there already; {hint}")


def _copied(source: Path, target: Path) -> int:
    """By way of a file of another name, so that half a copy never looks like one."""
    partial = target.with_name(target.name + PARTIAL)
    with suppress(FileNotFoundError):
        partial.unlink()
    try:
        create_private(partial)
        with (
            closing(sqlite3.connect(_read_only(source), uri=True)) as old,
            closing(sqlite3.connect(partial)) as new,
        ):
            old.backup(new)
            if new.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise StoreCorrupt(f"{source} is damaged; the copy was thrown away")
            if not check(new):
                raise StoreCorrupt(f"{source} is an empty file, not a database of Longshore")
            new.execute("PRAGMA journal_mode = DELETE")  # one file, which can be moved
            (jobs,) = new.execute("SELECT count(*) FROM jobs").fetchone()
        _sync(partial)
        os.link(partial, target)  # unlike a rename it never takes the place of a file that came meanwhile
        _sync(target.parent)
    except FileExistsError:
        raise StoreUnsupported(f"{target} is there already") from None
    except OSError as error:  # such as a file system without links
        raise StoreUnsupported(f"{target} cannot be written: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise StoreCorrupt(f"{source} cannot be copied: {error}") from error
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
    return int(jobs)


def _read_only(path: Path) -> str:
    return f"file:{urllib.parse.quote(str(path.absolute()))}?mode=ro"  # a name may have ? and # in it


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
