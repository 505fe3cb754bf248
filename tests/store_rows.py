"""Rows for tests of the store: builders with everything filled in that a test does not care about."""

from longshore.store.ledger import ClaimRow, EndRow, ItemRow, JobRow, LogRow, Standing

PHASES = ("Pending", "Running", "Succeeded", "Failed", "Cancelled")


def make_job(uid: str, **fields: object) -> JobRow:
    """A job named ``job-<uid>``."""
    whole: dict[str, object] = {
        "uid": uid, "id": f"job-{uid}", "spec": b'{"handler":"h"}', "queue": "default", "handler": "h", "priority": 0,
        "created_at": 1.0, "labels": {}, "fingerprint": "", "traceparent": "", "source": "api", "array": False, **fields,
    }  # fmt: skip
    return JobRow(**whole)  # type: ignore[arg-type]


def make_claim(uid: str, number: int = 1, idx: int | None = None) -> ClaimRow:
    """An attempt that starts."""
    return ClaimRow(uid, idx, number, "w", 2.0)


def make_end(uid: str, number: int = 1, phase: str = "Succeeded", *, log: bool = False, **standing: object) -> EndRow:
    """The end of an attempt of a plain job, which then stands at ``phase``."""
    ended = phase not in ("Pending", "Running")
    whole: dict[str, object] = {
        "phase": phase,
        "finished_at": 3.0 if ended else None,
        "expires_at": 50.0 if ended else None,
    }
    outcome = "succeeded" if phase == "Succeeded" else "failed"
    output = LogRow(uid, None, number, b"head", b"tail", 8) if log else None
    return EndRow(uid, None, number, "w", 2.0, 3.0, outcome, "", None, Standing(**{**whole, **standing}), None, output)  # type: ignore[arg-type]


def make_item_end(uid: str, idx: int, number: int = 1, state: str = "succeeded", phase: str = "Running") -> EndRow:
    """The end of an attempt of one item; the whole job then stands at ``phase``."""
    item = ItemRow(uid, idx, state, number, 0, 0)
    return EndRow(uid, idx, number, "w", 2.0, 3.0, "succeeded", "", None, Standing(phase, items=b"{}"), item, None)
