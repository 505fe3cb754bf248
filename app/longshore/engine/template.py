"""The engine's end of the template: starts it, asks it for slots, starts it again when it dies."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import orjson

from longshore.engine import hello
from longshore.engine.hello import Hello
from longshore.engine.loop import READ, Loop, receive
from longshore.errors import AppError

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
HANGING_SECONDS = 120.0  # an import that takes longer is broken, and should say so instead of waiting for ever


class Template:
    """Forks slots. ``on_ready`` comes with what it said each time it has started, ``on_failed`` when it cannot."""

    def __init__(
        self,
        loop: Loop,
        apps: Sequence[str],
        *,
        strict: bool = False,
        hook_seconds: float = 30.0,
        dev: bool = False,
        on_ready: Callable[[Hello], None],
        on_failed: Callable[[AppError], None],
        log: Callable[..., None],
    ) -> None:
        self._loop, self._apps, self._log = loop, list(apps), log
        self._strict, self._dev, self._hook_seconds = strict, dev, hook_seconds
        self._on_ready, self._on_failed = on_ready, on_failed
        self._child: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._hello = bytearray()
        self._pause = FIRST_PAUSE_SECONDS
        self._started = 0.0
        self._closed = self._waits = False
        self.ready = self._ever_ready = self._told_failure = False

    @property
    def pid(self) -> int | None:
        """Its process id, while there is one."""
        return self._child.pid if self._child else None

    def start(self, *, wait: bool = False) -> None:
        """Start it; the rest comes through the callbacks, after ``go`` if it is to ``wait``."""
        if self._closed:
            return
        self._waits = wait
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        mine = {
            "apps": self._apps,
            "engine": os.getpid(),
            "hook_seconds": self._hook_seconds,
            "dev": self._dev,
            "wait": wait,
        }
        config = orjson.dumps(mine).decode()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "longshore.slot.template", str(theirs.fileno()), config],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        theirs.close()
        self._sock, self._started = ours, time.monotonic()
        self._hello.clear()
        self._loop.watch(ours.fileno(), READ, self._read)
        if not wait:
            self._watch_import()

    def go(self) -> None:
        """Import the applications now."""
        if self._waits and self._sock is not None:
            self._waits = False
            try:
                self._sock.send(b"go")
            except OSError:
                return  # it died, which its socket says in a moment
            self._watch_import()

    def _watch_import(self) -> None:
        sock = self._sock
        self._loop.after(HANGING_SECONDS + self._hook_seconds, lambda: self._hangs(sock))

    def spawn(self, control: int, output: int) -> bool:
        """Fork a slot with these descriptors, which stay open here; False when there is no template now."""
        if self._sock is None or not self.ready:
            return False
        try:
            socket.send_fds(self._sock, [b"spawn"], [control, output])
        except OSError:
            return False
        return True

    def _hangs(self, sock: socket.socket | None) -> None:
        if sock is not None and self._sock is sock and not self.ready:
            self._failed(
                f"importing {', '.join(self._apps)} took longer than {HANGING_SECONDS + self._hook_seconds:g} seconds"
            )
            self._died()

    def _read(self, _events: int) -> None:
        assert self._sock is not None
        if (data := receive(self._sock, 65536)) is None:
            return
        if not data:
            self._died()
            return
        if self.ready:
            return  # it has said all that it says; this is an application's, which has found the descriptor
        self._hello += data[1:]
        if len(self._hello) > hello.MAX_BYTES:
            self._not_understood(f"it has more than {hello.MAX_BYTES} bytes")
        elif data[:1] == b".":
            try:
                said = hello.read(bytes(self._hello))
            except ValueError as error:
                self._not_understood(str(error))
            else:
                self._said(said)
        elif data[:1] != b"+":
            self._not_understood("a packet of it begins with neither + nor .")

    def _not_understood(self, why: str) -> None:
        """It costs this template, no more: another one is started, as for one that died."""
        named = ", ".join(self._apps) or "nothing"
        self._failed(f"the process that imports {named} does not say which handlers it has: {why[:200]}")
        if self._sock is not None:
            self._died()

    def _failed(self, text: str) -> None:
        """The first template decides whether there is a service; a later one, whose slots are missed, is started again."""
        if self._ever_ready:
            self._log("template_failed", level="error", detail=text)
        elif not self._told_failure:
            self._told_failure = True
            self._on_failed(AppError(text))

    def _said(self, said: Hello) -> None:
        if said.failed:
            self._failed(said.failed)
            return
        if said.threads:
            self._warn_of_threads(said.threads)
            if self._strict:
                return
        self.ready = self._ever_ready = True
        self._on_ready(said)

    def _warn_of_threads(self, threads: list[str]) -> None:
        named = f"the applications start threads when they are imported: {', '.join(threads)}"
        text = f"{named}; they are not in the slots, and a job that waits for one waits for ever: start them in @on_slot_start"
        if self._strict:
            self._failed(text)
            self._died()
        else:
            self._log("threads_at_import", level="warning", threads=threads, detail=text)

    def _died(self) -> None:
        assert self._sock is not None
        assert self._child is not None
        self._loop.unwatch(self._sock.fileno())
        self._sock.close()
        self._sock = None
        self._child.kill()
        code = self._child.wait()
        self._child, self.ready = None, False
        if self._closed:
            return
        if time.monotonic() - self._started > 10 * LONGEST_PAUSE_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        if not self._ever_ready:
            how = f"exited with status {code}" if code >= 0 else f"was ended by signal {-code}"
            self._failed(f"the process that imports {', '.join(self._apps) or 'nothing'} {how}")
            return
        self._log("template_died", level="error", exit_code=code, again_in_seconds=self._pause)
        self._loop.after(self._pause, self.start)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    def close(self) -> None:
        """End it; slots live on."""
        self._closed = True
        if self._sock is not None:
            self._died()
