"""Background tasks that nobody awaits: one that breaks ends the operator, which its supervisor starts anew.

Everything can be rebuilt within seconds; an operator that goes on without one of its parts cannot be trusted.
"""

import asyncio
import os
import sys
import traceback
from collections.abc import Coroutine
from typing import Any

_running: set[asyncio.Task[Any]] = set()


def spawn(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Run it beside everything else."""
    task = asyncio.get_running_loop().create_task(work)
    _running.add(task)  # the loop itself holds tasks weakly
    task.add_done_callback(_done)
    return task


def _done(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        traceback.print_exception(error)
        sys.stderr.flush()
        os._exit(70)  # EX_SOFTWARE
