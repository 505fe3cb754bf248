"""How a database file is opened: checked, closed to others, brought to the present schema, set as the ledger wants it."""

import contextlib
import sqlite3
from pathlib import Path

from longshore.errors import StoreCorrupt, StoreUnsupported
from longshore.store.sqlite.files import close_to_others, create_private
from longshore.store.sqlite.schema import check, migrate

# A damaged page is found at start up to this size; checking more would hold up a restart for seconds.
CHECKED_BYTES = 256 * 1024 * 1024

# Whoever else locks the file (a shell, a VACUUM) holds up the engine's only thread for so long; then the write is refused
# as by a full disk, and tried again.
BUSY_MILLISECONDS = 50


def open_database(path: Path) -> tuple[sqlite3.Connection, str]:
    """The connection, and what others can still reach of the files (``close_to_others``)."""
    create_private(path)
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=5.0, cached_statements=256)
    except sqlite3.Error as error:
        raise StoreUnsupported(f"cannot open {path}: {error}") from error
    try:
        if not path.stat().st_size:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        elif path.stat().st_size <= CHECKED_BYTES and db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("its check fails")
        check(db)  # before anything is written to a file that may be somebody else's
        _make_shrinkable(db, path)
        exposed = close_to_others(path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute("PRAGMA temp_store = MEMORY")
        migrate(db)
        db.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    except sqlite3.DatabaseError as error:
        db.close()
        if isinstance(error, sqlite3.OperationalError):
            raise StoreUnsupported(f"cannot use {path}: {error}") from error
        raise StoreCorrupt(
            f"{path} is damaged ({error}); it was left as it is. Restore a copy or move it away to begin anew"
        ) from error
    except BaseException:
        db.close()
        raise
    return db, exposed


def _make_shrinkable(db: sqlite3.Connection, path: Path) -> None:
    """A file that somebody made anew (a dump, a repair) may have lost the setting by which it can shrink; small ones get it back.

    A large one would hold up the start: docs/limits.md says what to do.
    """
    if db.execute("PRAGMA auto_vacuum").fetchone()[0] == 2 or path.stat().st_size > CHECKED_BYTES:
        return
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    with contextlib.suppress(sqlite3.OperationalError):  # no room for a second copy: it stays as it is
        db.execute("VACUUM")
