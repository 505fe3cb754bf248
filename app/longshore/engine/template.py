"""The engine's end of the template: starts it, asks it for slots, starts it again when it dies."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import cast

import orjson

from longshore.engine.loop import READ, Loop, receive
from longshore.errors import AppError

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
HANGING_SECONDS = 120.0  # an import that takes longer is broken, and should say so instead of waiting for ever

HandlerInfo = dict[str, object]


class Template:
    """Forks slots. ``on_ready`` comes with its handlers each time it has started, ``on_failed`` when it cannot."""

    def __init__(
        self,
        loop: Loop,
        apps: Sequence[str],
        *,
        strict: bool = False,
        on_ready: Callable[[list[HandlerInfo]], None],
        on_failed: Callable[[AppError], None],
        log: Callable[..., None],
    ) -> None:
        self._loop, self._apps, self._log = loop, list(apps), log
        self._strict = strict
        self._on_ready, self._on_failed = on_ready, on_failed
        self._child: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._hello = bytearray()
        self._pause = FIRST_PAUSE_SECONDS
        self._started = 0.0
        self._closed = False
        self.ready = self._ever_ready = False

    @property
    def pid(self) -> int | None:
        """Its process id, while there is one."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start it; the rest comes through the callbacks."""
        if self._closed:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        config = orjson.dumps({"apps": self._apps, "engine": os.getpid()}).decode()
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
        self._loop.after(HANGING_SECONDS, lambda sock=ours: self._hangs(sock))  # type: ignore[misc]  # a default binds now

    def spawn(self, control: int, output: int) -> bool:
        """Fork a slot with these descriptors, which stay open here; False when there is no template now."""
        if self._sock is None or not self.ready:
            return False
        try:
            socket.send_fds(self._sock, [b"spawn"], [control, output])
        except OSError:
            return False
        return True

    def _hangs(self, sock: socket.socket) -> None:
        if self._sock is sock and not self.ready:
            self._on_failed(AppError(f"importing {', '.join(self._apps)} took longer than {HANGING_SECONDS:g} seconds"))

    def _read(self, _events: int) -> None:
        assert self._sock is not None
        if (data := receive(self._sock, 65536)) is None:
            return
        if not data:
            self._died()
            return
        self._hello += data[1:]
        if data[:1] == b".":
            self._said(orjson.loads(self._hello))

    def _said(self, hello: dict[str, object]) -> None:
        if "failed" in hello:
            self._on_failed(AppError(str(hello["failed"])))
            return
        if threads := hello.get("threads"):
            self._warn_of_threads(cast("list[str]", threads))
            if self._strict:
                return
        self.ready = self._ever_ready = True
        self._on_ready(hello["handlers"])  # type: ignore[arg-type]  # the template's own message

    def _warn_of_threads(self, threads: list[str]) -> None:
        named = f"the applications start threads when they are imported: {', '.join(threads)}"
        text = f"{named}; they are not in the slots, and a job that waits for one waits for ever: start them in @on_slot_start"
        if self._strict:
            self._on_failed(AppError(text))
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
            self._on_failed(AppError(f"the process that imports {', '.join(self._apps) or 'nothing'} {how}"))
            return
        self._log("template_died", level="error", exit_code=code, again_in_seconds=self._pause)
        self._loop.after(self._pause, self.start)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    def close(self) -> None:
        """End it; slots live on."""
        self._closed = True
        if self._sock is not None:
            self._died()
