"""Processes that ``multiprocessing`` starts for itself and remembers: the fork server and the resource tracker.

They end with the job that needed them, as they end with a plain interpreter; what the module remembers of them would
otherwise fail the next job that needs one.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

TRACKER_SECONDS = 1.0  # it removes what the job has not, semaphores and shared memory, and leaves by itself


def _tracker() -> Any:
    return getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)


def tracker_pid() -> int | None:
    """The resource tracker that this process started, or None."""
    return getattr(_tracker(), "_pid", None)


def end_tracker() -> None:
    """Let the tracker clean up and go; when all others who hold its pipe are gone."""
    tracker, pid = _tracker(), tracker_pid()
    if pid is None:
        return
    if tracker._fd is not None:
        with suppress(OSError):  # the job has closed it
            os.close(tracker._fd)
    tracker._fd = tracker._pid = None
    limit = time.monotonic() + TRACKER_SECONDS
    with suppress(ChildProcessError):
        while not os.waitpid(pid, os.WNOHANG)[0]:
            if time.monotonic() > limit:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            time.sleep(0.001)


def forget() -> None:
    """Children are gone: whoever asks for the fork server gets a new one, and none is asked to end at the slot's end."""
    server: Any = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    if server is not None and server._forkserver_pid is not None:
        with suppress(OSError):
            os.close(server._forkserver_alive_fd)
        with suppress(OSError, TypeError):
            os.unlink(server._forkserver_address)
        server._forkserver_pid = server._forkserver_alive_fd = server._forkserver_address = None
    children: Any = getattr(sys.modules.get("multiprocessing.process"), "_children", None)
    if children is not None:
        children.clear()
