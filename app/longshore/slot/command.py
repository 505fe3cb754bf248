"""Command jobs: the slot becomes the command, so that it keeps its session, its pipe and its parent."""

import os
import signal
from collections.abc import Mapping
from typing import cast

from longshore.job.status import Outcome, Reason
from longshore.slot.frames import Frame, Taint

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
CONTROL = 3


def environment(job: Mapping[str, object], inherited: Mapping[str, str]) -> dict[str, str]:
    """What a command sees: a few of ours, what it is told about its job, and what the job asks for."""
    found = {name: inherited[name] for name in PASSED_ON if name in inherited}
    found |= {
        "LONGSHORE_JOB_ID": str(job["job"]), "LONGSHORE_ATTEMPT": str(job["number"]),
        "LONGSHORE_IDEMPOTENCY_KEY": str(job.get("key", "")), "LONGSHORE_PROGRESS_FD": str(CONTROL),
    }  # fmt: skip
    if job.get("index") is not None:
        found["LONGSHORE_ITEM_INDEX"] = str(job["index"])
    if job.get("traceparent"):
        found["TRACEPARENT"] = str(job["traceparent"])
    if job.get("tracestate"):
        found["TRACESTATE"] = str(job["tracestate"])
    return found | cast("dict[str, str]", job.get("env") or {})


def become(job: Mapping[str, object]) -> Frame:
    """Replace this process by the command; returns only when that fails, with how to report it."""
    argv = cast("list[str]", job["command"])
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_DFL)
        except OSError:
            pass  # the C library's own
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.set_inheritable(CONTROL, True)
    variables = environment(job, os.environ)
    try:
        os.execvpe(argv[0], argv, variables)
    except OSError as error:
        message = f"cannot run {argv[0]!r}: {error.strerror}"
    except ValueError as error:
        message = f"cannot run {argv[0]!r}: {error}"
    return {"outcome": Outcome.FAILED.value, "reason": Reason.COMMAND_NOT_FOUND, "recycle": Taint.COMMAND,
            "error": [Reason.COMMAND_NOT_FOUND, message], "nonce": job["nonce"]}  # fmt: skip
