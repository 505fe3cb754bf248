"""The tables, and how an older file becomes the present one."""

import sqlite3

from longshore.errors import StoreCorrupt

APPLICATION_ID = 0x4C534852  # "LSHR": tells our files from anybody else's

_V1 = """
CREATE TABLE jobs (
  seq INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  id TEXT NOT NULL UNIQUE,
  spec BLOB NOT NULL,
  queue TEXT NOT NULL,
  handler TEXT NOT NULL,
  priority INTEGER NOT NULL,
  created_at REAL NOT NULL,
  labels TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  traceparent TEXT NOT NULL,
  source TEXT NOT NULL,
  array INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  rev INTEGER NOT NULL DEFAULT 1,
  phase TEXT NOT NULL DEFAULT 'Pending',
  reason TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  retries INTEGER NOT NULL DEFAULT 0,
  disruptions INTEGER NOT NULL DEFAULT 0,
  redrives INTEGER NOT NULL DEFAULT 0,
  not_before REAL,
  worker TEXT NOT NULL DEFAULT '',
  started_at REAL,
  finished_at REAL,
  expires_at REAL,
  error_type TEXT NOT NULL DEFAULT '',
  error_message TEXT NOT NULL DEFAULT '',
  log_tail TEXT NOT NULL DEFAULT '',
  result BLOB,
  items BLOB,
  cancel INTEGER NOT NULL DEFAULT 0,
  suspend INTEGER NOT NULL DEFAULT 0,
  redrive INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX jobs_live ON jobs (seq) WHERE phase IN ('Pending', 'Running');
CREATE INDEX jobs_failed ON jobs (seq) WHERE phase = 'Failed';
CREATE INDEX jobs_expiry ON jobs (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE labels (
  key TEXT NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  PRIMARY KEY (key, value, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_of ON labels (seq);
CREATE TABLE attempts (
  uid TEXT NOT NULL REFERENCES jobs (uid) ON DELETE CASCADE,
  idx INTEGER NOT NULL,
  number INTEGER NOT NULL,
  worker TEXT NOT NULL,
  started_at REAL NOT NULL,
  finished_at REAL NOT NULL,
  outcome TEXT NOT NULL,
  reason TEXT NOT NULL,
  exit_code INTEGER,
  PRIMARY KEY (uid, idx, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE items (
  uid TEXT NOT NULL REFERENCES jobs (uid) ON DELETE CASCADE,
  idx INTEGER NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  retries INTEGER NOT NULL DEFAULT 0,
  disruptions INTEGER NOT NULL DEFAULT 0,
  not_before REAL,
  error_type TEXT NOT NULL DEFAULT '',
  error_message TEXT NOT NULL DEFAULT '',
  result BLOB,
  PRIMARY KEY (uid, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE logs (
  uid TEXT NOT NULL REFERENCES jobs (uid) ON DELETE CASCADE,
  idx INTEGER NOT NULL,
  number INTEGER NOT NULL,
  head BLOB NOT NULL,
  tail BLOB NOT NULL,
  total INTEGER NOT NULL,
  PRIMARY KEY (uid, idx, number)
) STRICT;
CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  uid TEXT NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  at REAL NOT NULL,
  data BLOB NOT NULL
) STRICT;
CREATE INDEX events_of ON events (uid);
CREATE TABLE keys (
  key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, ids TEXT NOT NULL, at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_age ON keys (at);
CREATE TABLE outbox (
  id TEXT PRIMARY KEY,
  uid TEXT NOT NULL,
  url TEXT NOT NULL,
  secret_ref TEXT NOT NULL,
  body BLOB NOT NULL,
  attempts INTEGER NOT NULL,
  next_at REAL,
  last_error TEXT NOT NULL
) STRICT;
CREATE TABLE tombstones (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, uid TEXT NOT NULL, at REAL NOT NULL
) STRICT;
CREATE TABLE queues (name TEXT PRIMARY KEY, overrides BLOB NOT NULL) STRICT;
"""

_V2 = """
ALTER TABLE attempts ADD COLUMN error_type TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN error_message TEXT NOT NULL DEFAULT '';
"""

_V3 = """
CREATE TABLE told (
  uid TEXT PRIMARY KEY REFERENCES jobs (uid) ON DELETE CASCADE,
  id TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  at REAL NOT NULL,
  detail TEXT NOT NULL,
  url TEXT NOT NULL,
  secret_ref TEXT NOT NULL,
  body BLOB NOT NULL,
  revision INTEGER NOT NULL
) STRICT;
CREATE INDEX told_unsettled ON told (id) WHERE state IN ('Refused', 'GivenUp');
"""

_V4 = "ALTER TABLE jobs ADD COLUMN tracestate TEXT NOT NULL DEFAULT '';"

_V5 = """
CREATE TABLE schedules (
  name TEXT PRIMARY KEY,
  uid TEXT NOT NULL,
  origin TEXT NOT NULL,
  labels BLOB NOT NULL,
  spec BLOB NOT NULL,
  status BLOB NOT NULL,
  created_at REAL NOT NULL,
  generation INTEGER NOT NULL,
  paused INTEGER
) STRICT;
"""

MIGRATIONS: tuple[str, ...] = (_V1, _V2, _V3, _V4, _V5)
"""Each brings the file from its position to the next; never edited once released."""


def check(db: sqlite3.Connection, migrations: tuple[str, ...] = MIGRATIONS) -> int:
    """The schema that an open file has, reading only; raises StoreCorrupt for a newer or foreign file."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise StoreCorrupt("the file is an SQLite database, but not one of Longshore")
    if version > len(migrations):
        raise StoreCorrupt(
            f"the database was written by a newer release (schema {version}, this one knows {len(migrations)})"
        )
    return int(version)


def migrate(db: sqlite3.Connection, migrations: tuple[str, ...] = MIGRATIONS) -> None:
    """Bring an open file to the present schema, each step whole; raises StoreCorrupt as ``check`` does."""
    for number, script in enumerate(migrations[check(db, migrations) :], start=check(db, migrations) + 1):
        db.executescript(
            f"BEGIN IMMEDIATE; {script} PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {number}; COMMIT;"
        )
