"""A real service for tests: ``python -m longshore serve`` on free loopback ports, in a folder of its own."""

import itertools
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import orjson

from longshore.client import Client

SAMPLES = ",".join(f"longshore_samples.{name}" for name in ("echo", "sleep", "fail", "primes", "wordcount", "hello"))
HERE = Path(__file__).parent


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        """The body as data."""
        return orjson.loads(self.body)


class Service:
    """Starts, kills, restarts and ends the process tree that it started; by pid, nothing else."""

    role = "serve"

    def __init__(self, folder: Path, settings: dict[str, object]) -> None:
        self.folder = folder
        self.port, self.probe_port = free_port(), free_port()
        self.host = str(settings.get("host", "127.0.0.1"))
        self._path = str(settings.pop("path", ""))
        values = {
            "apps": SAMPLES + ",rough_jobs", "data_dir": str(folder), "port": self.port, "probe_port": self.probe_port,
            "log_format": "json", "slots": 2, **settings,
        }  # fmt: skip
        self._environment: dict[str, str] = {}
        self.change(**values)
        self.tls = unchecked() if "tls_dir" in settings else None
        """What requests of the test are made with."""
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "service.log"

    def change(self, **values: object) -> None:
        """Settings from the next start on."""
        self._environment |= {f"LONGSHORE_{name.upper()}": str(value) for name, value in values.items()}

    @property
    def url(self) -> str:
        """Address of the api."""
        return f"{'http' if self.tls is None else 'https'}://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Of the engine."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, ready: bool = True) -> None:
        """Start it and wait until it takes jobs."""
        path = os.pathsep.join([str(HERE), *([self._path] if self._path else []), *sys.path])
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LONGSHORE_")}
        environment |= self._environment | {"PYTHONPATH": path}
        self._process = self.launch(environment)
        if ready:
            self.wait_ready()

    def launch(self, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        """The process, with its streams."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "longshore", self.role], env=environment, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd=HERE,
            )  # fmt: skip

    def wait_ready(self, seconds: float = 30.0) -> None:
        """Until both listeners say so."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if self._process is not None and self._process.poll() is not None:
                raise AssertionError(
                    f"the service ended with {self._process.returncode}:\n{self.log.read_text()[-4000:]}"
                )
            if self.probe("/readyz") == 200 and self._api_answers():
                return
            time.sleep(0.03)
        raise AssertionError(f"the service was not ready in time:\n{self.log.read_text()[-4000:]}")

    def _api_answers(self) -> bool:
        try:
            return self.request("GET", "/livez", timeout=1).status == 200
        except OSError:
            return False

    def probe(self, path: str) -> int:
        """Status of the engine's own listener; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.probe_port}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def client(self) -> Client:
        """A client for it, for the test's own thread; closed with the service."""
        if self._client is None:
            self._client = Client(self.url)
        return self._client

    def request(self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None,
                raw: bytes | None = None, timeout: float = 30.0) -> Answer:  # fmt: skip
        """One plain request."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        own = {"Content-Type": "application/json"} if data is not None else {}
        request = urllib.request.Request(f"{self.url}{path}", data, {**own, **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=self.tls) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def kill(self) -> None:
        """SIGKILL to the engine; its children have to go by themselves."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self, seconds: float = 40.0) -> int:
        """SIGTERM; returns the exit status."""
        self.terminate()
        return self.wait_end(seconds)

    def terminate(self) -> None:
        """SIGTERM, and no waiting."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait_end(self, seconds: float = 40.0) -> int:
        """Until it has ended by itself; returns the exit status."""
        assert self._process is not None
        return self._process.wait(seconds)

    def running(self) -> bool:
        """Whether the engine lives."""
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        """End it, whatever state it is in."""
        if self._client is not None:
            self._client.close()
        if self.running():
            children = descendants(self.pid)
            self.kill()
            for pid in children:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # went with its parent

    def child(self, word: str) -> list[int]:
        """Pids of descendants whose command line has the word."""
        return [pid for pid in descendants(self.pid) if word in command_line(pid)]


def unchecked() -> ssl.SSLContext:
    """For requests that are not about the certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def descendants(pid: int) -> list[int]:
    """Everything below a process."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    except OSError:
        pass  # it ended meanwhile
    return found


def command_line(pid: int) -> str:
    """Of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


# Below those that the system gives to outgoing connections (32768 and up on Linux), so that none of these takes the port
# of a program that is not up yet, or down between kill and start. A slice for each process of xdist: two that draw at
# random from one range get the same port in one run of many.
_size = 20_000 // max(4, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
_first = 11_000 + _size * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = itertools.cycle(range(_first, _first + _size))
for _ in range(random.randrange(_size)):  # other runs on this machine begin elsewhere
    next(_ports)


def free_port() -> int:
    """A port that nobody has now, and that this process has not had for a long while."""
    while True:
        port = next(_ports)
        with socket.socket() as sock:
            try:
                sock.bind(("0.0.0.0", port))  # nobody has it on any address: pods have loopback addresses of their own
            except OSError:
                continue
            return port
