"""A small debugger for tests: it speaks the Debug Adapter Protocol over a socket, as an editor does."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Message = dict[str, Any]


class Session:
    """One connection to the adapter: a process that is debugged."""

    def __init__(self, port: int, *, timeout: float = 60.0) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._file = self._sock.makefile("rb")
        self._numbers = itertools.count(1)
        self._timeout = timeout
        self._changed = threading.Condition()
        self.events: list[Message] = []
        self._answers: dict[int, Message] = {}
        self.closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while header := self._file.readline():
                length = int(header.split(b":")[1])
                self._file.readline()
                self._heard(json.loads(self._file.read(length)))
        except (OSError, ValueError):
            pass  # closed by either side
        self._file.close()
        self._sock.close()
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _heard(self, message: Message) -> None:
        with self._changed:
            if message["type"] == "event":
                self.events.append(message)
            elif message["type"] == "response":
                self._answers[message["request_seq"]] = message
            self._changed.notify_all()

    def send(self, command: str, **arguments: object) -> int:
        """A request; returns its number."""
        number = next(self._numbers)
        body = json.dumps({"seq": number, "type": "request", "command": command, "arguments": arguments}).encode()
        self._sock.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return number

    def answer(self, number: int) -> Any:
        """The body of the answer to a request; fails when the adapter refused it."""
        found = self._wait(lambda: self._answers.get(number), f"the answer to request {number}")
        assert found["success"], found
        return found.get("body")

    def ask(self, command: str, **arguments: object) -> Any:
        """A request and its answer."""
        return self.answer(self.send(command, **arguments))

    def event(self, name: str, *, after: int = 0) -> Message:
        """The first event of that name."""
        found: Message = self._wait(
            lambda: next((each for each in self.events[after:] if each["event"] == name), None), f"the event {name}"
        )
        return found

    def _wait(self, look: Callable[[], Any], what: str) -> Any:
        limit = time.monotonic() + self._timeout
        with self._changed:
            while not (found := look()):
                assert not self.closed, f"the adapter hung up before {what}"
                assert time.monotonic() < limit, f"{what} did not come: {self.events[-5:]}"
                self._changed.wait(1.0)
        return found

    def attach(self, breakpoints: dict[Path, list[int]], **arguments: object) -> None:
        """As an editor does: initialize, attach, breakpoints, done."""
        self.ask("initialize", adapterID="debugpy", clientID="test", pathFormat="path", linesStartAt1=True)
        attached = self.send("attach", **{"justMyCode": True, **arguments})
        self.event("initialized")
        for path, lines in breakpoints.items():
            self.ask("setBreakpoints", source={"path": str(path)}, breakpoints=[{"line": line} for line in lines])
        self.ask("configurationDone")
        self.answer(attached)

    def close(self) -> None:
        """Hang up, as an editor that is killed."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other end was first
        self._reader.join(10)


class Editor:
    """Attaches to the port, and to each process that the adapter tells of, with the same breakpoints."""

    def __init__(self, port: int, breakpoints: dict[Path, list[int]]) -> None:
        self._port, self._breakpoints = port, breakpoints
        self.root = self._attached()
        self.processes: list[Session] = []
        self._over = False
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _attached(self) -> Session:
        """To the port; again for as long as the adapter has not noticed that an editor before this one is gone."""
        limit = time.monotonic() + 30
        while True:
            session = None
            try:
                session = Session(self._port)
                session.attach(self._breakpoints, connect={"host": "127.0.0.1", "port": self._port})
            except (AssertionError, OSError):
                if session is not None:
                    session.close()
                if time.monotonic() > limit:
                    raise
                time.sleep(0.2)
            else:
                return session

    def _follow(self) -> None:
        told = 0
        while not self._over and not self.root.closed:
            found = [each for each in self.root.events if each["event"] == "debugpyAttach"]
            for each in found[told:]:
                session = Session(self._port)
                try:
                    arguments = {k: v for k, v in each["body"].items() if k not in ("request", "type", "name")}
                    session.attach(self._breakpoints, **arguments)
                    self.processes.append(session)
                except (AssertionError, OSError):
                    session.close()  # the process ended meanwhile
            told = len(found)
            time.sleep(0.02)

    def stopped(self, seconds: float = 60.0) -> tuple[Session, int]:
        """The first process that stands at a breakpoint, and its thread."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            for session in list(self.processes):
                stops = [each for each in session.events if each["event"] == "stopped"]
                goes = [each for each in session.events if each["event"] == "continued"]
                if len(stops) > len(goes) and not session.closed:
                    return session, stops[-1]["body"]["threadId"]
            time.sleep(0.02)
        raise AssertionError("no process reached a breakpoint")

    def variable(self, session: Session, thread: int, name: str) -> str:
        """The value of a local variable of the topmost frame."""
        frame = session.ask("stackTrace", threadId=thread)["stackFrames"][0]
        scope = session.ask("scopes", frameId=frame["id"])["scopes"][0]
        found = session.ask("variables", variablesReference=scope["variablesReference"])["variables"]
        return str(next(each["value"] for each in found if each["name"] == name))

    def die(self) -> None:
        """Hang up without a word."""
        self._over = True
        for session in (self.root, *self.processes):
            session.close()
        self._thread.join(10)

    def detach(self) -> None:
        """Leave, and let everything go on."""
        self._over = True
        self._thread.join(10)
        for session in [*self.processes, self.root]:
            try:
                session.ask("disconnect", terminateDebuggee=False)
            except (AssertionError, OSError):
                pass  # it ended meanwhile
            session.close()
