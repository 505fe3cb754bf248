"""New code for a service that does not close its door: ``longshore reload``.

The new code is tried first, by this program's own command line in a child, which imports it and builds the api with its
routes: what does not come up is refused, and the old code goes on. Then no job starts any more while submits are still taken, and once nothing runs this process becomes the new
program (``execv``). The listening sockets stay open all the while. Who connects in between waits in their backlog.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import IO, NoReturn

import orjson

from longshore.engine.journal import Journal
from longshore.engine.loop import READ, Loop
from longshore.errors import Conflict, LongshoreError
from longshore.settings import Settings

# Not LONGSHORE_…: those are settings, and an unknown one is refused.
_CHECK, _SOCKETS = "_LONGSHORE_CHECK", "_LONGSHORE_SOCKETS"
CHECK_SECONDS = 60.0
"""How long the import of the new code may take, as at a start."""
MAX_REASON_BYTES = 2000

Answer = Callable[[LongshoreError | None], None]


class NewCode:
    """Tries whether the new code starts; one trial at a time."""

    def __init__(self, loop: Loop, journal: Journal) -> None:
        self._loop, self._journal = loop, journal
        self._child: subprocess.Popen[bytes] | None = None

    def pids(self) -> list[int]:
        """Of the child, while there is one."""
        return [self._child.pid] if self._child is not None else []

    def check(self, answer: Answer) -> None:
        """Call ``answer`` with what is wrong with the new code, or None; raises Conflict while a trial is under way."""
        if self._child is not None:
            raise Conflict("a reload is under way")
        said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the child has ended
        self._child = child = subprocess.Popen(
            command(), env=os.environ | {_CHECK: "1"}, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip
        pidfd = os.pidfd_open(child.pid)
        late = self._loop.after(CHECK_SECONDS, lambda: os.killpg(child.pid, signal.SIGKILL))

        def ended(_events: int) -> None:
            late.cancel()
            self._loop.unwatch(pidfd)
            os.close(pidfd)
            self._child = None
            answer(self._judge(child.wait(), said))

        self._loop.watch(pidfd, READ, ended)

    def _judge(self, code: int, said: IO[bytes]) -> LongshoreError | None:
        with said:
            if code == 0:
                return None
            said.seek(0)
            reason = said.read(MAX_REASON_BYTES).decode("utf-8", "replace").strip()
        if code == -signal.SIGKILL:
            reason = f"its import took longer than {CHECK_SECONDS:g} seconds, or the system ended it"
        self._journal("reload_refused", level="error", detail=reason)
        return Conflict(f"the new code does not start, and the old one goes on: {reason or f'exit status {code}'}")


def command() -> list[str]:
    """How this program was started, options of the interpreter included."""
    return [sys.executable, *sys.orig_argv[1:]]


def is_check() -> bool:
    """Whether this process is the child that only tries the new code."""
    return _CHECK in os.environ


def try_code(settings: Settings) -> NoReturn:
    """What the child does once the settings are read: it becomes a program that imports the applications and builds the api.

    That is a module by its name, as gunicorn's is a file, because the engine knows no Flask. It ends with 1 and the reason.
    """
    boot = {"settings": settings.dump(), "rpc": "", "db": "", "trial": True}
    os.environ["LONGSHORE_API_BOOT"] = orjson.dumps(boot).decode()
    os.execv(sys.executable, [sys.executable, "-m", "longshore.api.trial"])  # noqa: S606 - argv, no shell


def become_new(sockets: Mapping[str, tuple[str, int, int]]) -> NoReturn:
    """Start this program anew in this process. Listening sockets by setting: host, port and descriptor."""
    for _host, _port, fd in sockets.values():
        os.set_inheritable(fd, True)
    os.environ[_SOCKETS] = orjson.dumps(sockets).decode()
    sys.stdout.flush()
    # A signal that switches the log would end the new program before it has a handler for it.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    os.execv(sys.executable, command())  # noqa: S606 - argv, no shell


def inherited(host: str, port: int, setting: str) -> socket.socket | None:
    """The socket that the program before this one listened on for this setting; None when it is to be another address."""
    left = orjson.loads(os.environ.pop(_SOCKETS, "{}"))
    found = left.pop(setting, None)
    if left:
        os.environ[_SOCKETS] = orjson.dumps(left).decode()
    if found is None:
        return None
    sock = socket.socket(fileno=found[2])
    sock.set_inheritable(False)
    if found[:2] == [host, port]:
        return sock
    sock.close()
    return None
