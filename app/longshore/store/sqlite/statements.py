"""Every SQL statement of the store, in one place to read."""

_STANDING = (
    "phase", "reason", "message", "retries", "disruptions", "redrives", "not_before", "worker", "started_at",
    "finished_at", "expires_at", "error_type", "error_message", "log_tail", "result", "items", "cancel", "suspend",
    "redrive",
)  # fmt: skip
_SET = ", ".join(f"{name} = coalesce(?, items)" if name == "items" else f"{name} = ?" for name in _STANDING)

JOB_COLUMNS = (
    "uid, id, spec, queue, handler, priority, created_at, labels, fingerprint, traceparent, source, array, "
    "tracestate, attempts, rev, " + ", ".join(_STANDING)
)

INSERT_JOB = """INSERT INTO jobs (uid, id, spec, queue, handler, priority, created_at, labels, fingerprint, traceparent,
  source, array, tracestate) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
INSERT_LABEL = "INSERT INTO labels (key, value, seq) SELECT ?, ?, seq FROM jobs WHERE uid = ?"
INSERT_KEY = "INSERT OR REPLACE INTO keys (key, fingerprint, ids, at) VALUES (?, ?, ?, ?)"
INSERT_EVENT = "INSERT OR REPLACE INTO events (seq, uid, id, type, at, data) VALUES (?, ?, ?, ?, ?, ?)"
INSERT_ATTEMPT = """INSERT INTO attempts (uid, idx, number, worker, started_at, finished_at, outcome, reason, exit_code,
  error_type, error_message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
INSERT_LOG = "INSERT OR REPLACE INTO logs (uid, idx, number, head, tail, total) VALUES (?, ?, ?, ?, ?, ?)"
INSERT_TOMBSTONE = """INSERT OR REPLACE INTO tombstones (id, uid, at) SELECT ?, ?, ?
  WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE uid = ?)"""  # not of one that a redrive has saved

# The fences: a claim takes the next number of a waiting job, an end speaks for the attempt that runs, a change comes
# from where it was decided. A terminal record gives way to a redrive alone.
CLAIM_JOB = """UPDATE jobs SET phase = 'Running', reason = '', message = '', attempts = ?, not_before = NULL,
  worker = ?, started_at = coalesce(started_at, ?), rev = rev + 1 WHERE uid = ? AND attempts = ? AND phase = 'Pending'"""
CLAIM_ARRAY = """UPDATE jobs SET phase = 'Running', reason = '', message = '', attempts = attempts + 1, worker = ?,
  started_at = coalesce(started_at, ?), rev = rev + 1 WHERE uid = ? AND phase IN ('Pending', 'Running')"""
CLAIM_ITEM = """INSERT INTO items (uid, idx, state, attempts) VALUES (?, ?, 'running', ?)
  ON CONFLICT (uid, idx) DO UPDATE SET state = 'running', attempts = excluded.attempts, not_before = NULL
  WHERE items.state = 'pending' AND items.attempts = excluded.attempts - 1"""
END_JOB = f"UPDATE jobs SET {_SET}, rev = rev + 1 WHERE uid = ? AND attempts = ? AND phase = 'Running'"
END_ARRAY = f"UPDATE jobs SET {_SET}, rev = rev + 1 WHERE uid = ? AND phase = 'Running'"
END_ITEM = """UPDATE items SET state = ?, attempts = ?, retries = ?, disruptions = ?, not_before = ?, error_type = ?,
  error_message = ?, result = ? WHERE uid = ? AND idx = ? AND attempts = ? AND state = 'running'"""
CHANGE_JOB = f"""UPDATE jobs SET {_SET}, rev = rev + 1 WHERE uid = ? AND phase = ? AND (phase IN ('Pending', 'Running')
  OR (phase = 'Failed' AND ? = 'Pending' AND ? = redrives + 1))"""
PUT_ITEM = """INSERT OR REPLACE INTO items (uid, idx, state, attempts, retries, disruptions, not_before, error_type,
  error_message, result) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
PUT_DELIVERY = """INSERT OR REPLACE INTO outbox (id, uid, url, secret_ref, body, attempts, next_at, last_error)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
PUT_QUEUE = "INSERT OR REPLACE INTO queues (name, overrides) VALUES (?, ?)"
_SCHEDULE = "name, uid, origin, labels, spec, status, created_at, generation, paused"
PUT_SCHEDULE = f"INSERT OR REPLACE INTO schedules ({_SCHEDULE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
DELETE_SCHEDULE = "DELETE FROM schedules WHERE name = ?"
SELECT_SCHEDULES = f"SELECT {_SCHEDULE} FROM schedules ORDER BY name"
# By the label, which has an index; who made the job stands in its fingerprint, which nobody can choose.
SELECT_SCHEDULED = """SELECT jobs.uid, id, phase, created_at, finished_at FROM labels JOIN jobs USING (seq)
  WHERE key = ? AND value = ? AND source = ? AND fingerprint = ?"""
_TOLD = "uid, id, state, attempts, at, detail, url, secret_ref, body, revision"
# Of a job that was removed meanwhile nothing is kept.
PUT_TOLD = f"""INSERT INTO told ({_TOLD}) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, 1
    WHERE EXISTS (SELECT 1 FROM jobs WHERE uid = ?)
    ON CONFLICT (uid) DO UPDATE SET id = excluded.id, state = excluded.state, attempts = excluded.attempts,
    at = excluded.at, detail = excluded.detail, body = excluded.body, revision = told.revision + 1"""
SELECT_TOLD = f"SELECT {_TOLD} FROM told WHERE uid = ?"
SELECT_GIVEN_UP = f"SELECT {_TOLD} FROM told WHERE state IN ('Refused', 'GivenUp')"
SELECT_UNDELIVERED = """SELECT outbox.id, jobs.id, outbox.url, CASE outbox.attempts WHEN 0 THEN 'Pending' ELSE 'Retrying' END,
    outbox.attempts, outbox.last_error, outbox.next_at FROM outbox LEFT JOIN jobs USING (uid) WHERE outbox.id > ?1
    UNION ALL SELECT told.id, jobs.id, told.url, told.state, told.attempts, told.detail, NULL FROM told
    JOIN jobs USING (uid) WHERE told.state IN ('Refused', 'GivenUp') AND told.id > ?1 ORDER BY 1 LIMIT ?2"""
DELETE_DELIVERY = "DELETE FROM outbox WHERE id = ?"
DELETE_JOB = "DELETE FROM jobs WHERE uid = ? AND phase IN ('Succeeded', 'Failed', 'Cancelled')"

SELECT_LIVE = f"SELECT {JOB_COLUMNS} FROM jobs WHERE phase IN ('Pending', 'Running') ORDER BY seq"
SELECT_JOB = f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?"
COUNT_RUNNING_ITEMS = "SELECT count(*) FROM items WHERE uid = ? AND state = 'running'"
SELECT_FAILED_DEPENDENTS = "SELECT id, spec FROM jobs WHERE phase = 'Failed' AND reason = ? ORDER BY seq"
SELECT_ITEMS = """SELECT uid, idx, state, attempts, retries, disruptions, not_before, error_type, error_message, result
  FROM items WHERE uid = ? ORDER BY idx"""
SELECT_ATTEMPTS = """SELECT idx, number, worker, started_at, finished_at, outcome, reason, exit_code,
  error_type, error_message FROM attempts
  WHERE uid = ? ORDER BY finished_at DESC, number DESC LIMIT ?"""
SELECT_LOG = """SELECT number, head, tail, total FROM logs WHERE uid = ? AND idx = ? AND (? IS NULL OR number = ?)
  ORDER BY number DESC LIMIT 1"""
SELECT_EVENTS = "SELECT seq, uid, id, type, at, data FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
SELECT_EVENTS_OF = "SELECT seq, uid, id, type, at, data FROM events WHERE uid = ? AND seq > ? ORDER BY seq LIMIT ?"
SELECT_DELIVERIES = "SELECT id, uid, url, secret_ref, body, attempts, next_at, last_error FROM outbox ORDER BY next_at"
_WEIGHT = """coalesce(length(result), 0)
  + (SELECT coalesce(sum(length(head) + length(tail)), 0) FROM logs WHERE logs.uid = jobs.uid)
  + (SELECT coalesce(sum(length(items.result)), 0) FROM items WHERE items.uid = jobs.uid)"""
SELECT_OLDEST = f"""SELECT uid, id, expires_at, {_WEIGHT} FROM jobs WHERE expires_at IS NOT NULL
  ORDER BY expires_at LIMIT ?"""
WEIGH_JOB = f"SELECT phase, {_WEIGHT} FROM jobs WHERE uid = ?"
DELETE_LOGS = "DELETE FROM logs WHERE rowid IN (SELECT rowid FROM logs WHERE uid = ? LIMIT ?)"
CLEAR_RESULTS = """UPDATE items SET result = NULL WHERE (uid, idx) IN (
  SELECT uid, idx FROM items WHERE uid = ? AND result IS NOT NULL LIMIT ?)"""
COUNT_PHASES = "SELECT phase, count(*) FROM jobs GROUP BY phase"
COUNT_PENDING = "SELECT count(*) FROM jobs WHERE uid IN ({}) AND phase = 'Pending'"
# Lengths stand in the heads of rows: no page of a result or an output is read for them.
COUNT_BYTES = """SELECT (SELECT coalesce(sum(length(result)), 0) FROM jobs)
  + (SELECT coalesce(sum(length(head) + length(tail)), 0) FROM logs)
  + (SELECT coalesce(sum(length(result)), 0) FROM items)"""

TRIM_KEYS = "DELETE FROM keys WHERE key IN (SELECT key FROM keys WHERE at < ? ORDER BY at LIMIT ?)"
TRIM_TOMBSTONES = """DELETE FROM tombstones WHERE seq IN (SELECT seq FROM tombstones WHERE at < ?
  OR seq <= (SELECT max(seq) FROM tombstones) - ? ORDER BY seq LIMIT ?)"""
TRIM_EVENTS = """DELETE FROM events WHERE seq IN (
  SELECT seq FROM events WHERE seq <= (SELECT max(seq) FROM events) - ? ORDER BY seq LIMIT ?)"""
