"""How the service starts, how it refuses to, and how it ends."""

import contextlib
import fcntl
import os
import pty
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longshore.client import Client
from service import HERE, SAMPLES, Service, descendants, free_port


@pytest.fixture
def apps(tmp_path: Path) -> Callable[..., Path]:
    """Writes modules into a folder of their own, to be put on ``PYTHONPATH``."""

    def write(**modules: str) -> Path:
        folder = tmp_path / "apps"
        folder.mkdir()
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text)
        return folder

    return write


def serve(folder: Path, *, path: Path | None = None, **settings: object) -> subprocess.CompletedProcess[str]:
    """A start that is meant to end by itself; both streams in ``stdout``."""
    values = {"port": free_port(), "probe_port": free_port(), "data_dir": folder, "slots": 1, "log_format": "json"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LONGSHORE_")}
    environment |= {f"LONGSHORE_{name.upper()}": str(value) for name, value in (values | settings).items()}
    environment["PYTHONPATH"] = os.pathsep.join([*([str(path)] if path else []), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "longshore", "serve"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True, timeout=20, check=False, cwd=HERE,
    )  # fmt: skip


# -- applications ------------------------------------------------------------------------------------------------------

HANDLER = "from longshore import handler\n@handler\ndef twin():\n    pass\n"
OWN = ("from pydantic import BaseModel\nfrom longshore import app_settings\nclass Own(BaseModel):\n    {field}\n"
       "app_settings('own', Own)\n")  # fmt: skip
BLUEPRINT = "from flask import Blueprint\nbp = Blueprint({name!r}, __name__)\n@bp.get({route!r})\ndef view(**_): return 'mine'\n"


@pytest.mark.parametrize(
    ("case", "modules", "says"),
    [
        ("an exception", {"mine": "import json\njson.loads('{')\n"}, ["application 'mine' does not import", "JSONDecodeError", 'mine.py", line 2']),
        ("a syntax error", {"mine": "def ("}, ["application 'mine' does not import", "SyntaxError", "mine.py"]),
        ("not there", {}, ["application 'mine' does not import", "ModuleNotFoundError: No module named 'mine'"]),
        ("sys.exit", {"mine": "import sys\nsys.exit(0)\n"}, ["application 'mine' does not import", "SystemExit"]),
        ("it dies", {"mine": "import os\nos._exit(3)\n"}, ["the process that imports mine exited with status 3"]),
        ("a handler that cannot be", {"mine": "from longshore import handler\n@handler\ndef f(*args): pass\n"}, ["handler 'f': arguments come by name"]),
        ("two of a name", {"mine": HANDLER, "other": HANDLER}, ["handler 'twin' is defined in mine and again in other"]),
        ("our route", {"mine": BLUEPRINT.format(name="m", route="/v1/mine")}, ["application 'mine' wants the route /v1/mine, which is reserved"]),
        ("our probe", {"mine": BLUEPRINT.format(name="m", route="/livez")}, ["application 'mine' wants the route /livez, which is reserved"]),
        ("any route", {"mine": BLUEPRINT.format(name="m", route="/<path:p>")}, ["application 'mine' wants the route /<path:p>, which is reserved"]),
        ("the other's route", {"other": BLUEPRINT.format(name="o", route="/r"), "mine": BLUEPRINT.format(name="m", route="/r")},
         ["application 'mine' wants the route /r, which is reserved"]),
        ("the other's name", {"other": BLUEPRINT.format(name="same", route="/a"), "mine": BLUEPRINT.format(name="same", route="/b")},
         ["application 'mine'", "'same' is already registered"]),
        ("two settings of a name", {"mine": OWN.format(field="a: int = 1"), "other": OWN.format(field="b: int = 1")}, ["settings 'own' are defined in mine and again in other"]),
        ("a setting that is missing", {"mine": OWN.format(field="a: int")}, ["application 'own', setting a: it has to be set, as LONGSHORE_APP_OWN_A"]),
    ],
)  # fmt: skip
def test_an_application_that_cannot_be_served_ends_the_start(
    tmp_path: Path, apps: Callable[..., Path], case: str, modules: dict[str, str], says: list[str]
) -> None:
    ended = serve(tmp_path / "data", path=apps(**modules), apps=",".join(modules or ["mine"]))

    assert 1 == ended.returncode, case
    assert [] == [words for words in says if words not in ended.stdout], ended.stdout[-3000:]


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("app_own_a", "many", "application 'own', setting a (from LONGSHORE_APP_OWN_A)"),
        ("app_own_b", "1", "application 'own' has no setting b (from LONGSHORE_APP_OWN_B in the environment)"),
        ("app_others_a", "1", "no application here has settings 'others_a'"),
    ],
)
def test_a_wrong_setting_of_an_application_ends_the_start(
    tmp_path: Path, apps: Callable[..., Path], variable: str, value: str, says: str
) -> None:
    mine = {"apps": "mine", "app_own_a": "1", variable: value}
    ended = serve(tmp_path / "data", path=apps(mine=OWN.format(field="a: int")), **mine)

    assert (1, 1) == (ended.returncode, ended.stdout.count("longshore: ")), ended.stdout
    assert says in ended.stdout


def test_an_import_error_is_said_once_in_ten_lines(tmp_path: Path, apps: Callable[..., Path]) -> None:
    """There were 129, with the same error four times."""
    steps = {f"step{n}": f"import step{n + 1}\n" for n in range(9)}
    last = {
        "step9": "def load():\n    return configure()\n\ndef configure():\n    import not_installed_here\n\nload()\n"
    }
    ended = serve(tmp_path / "data", path=apps(**steps, **last), apps="step0")

    assert 1 == ended.returncode
    assert 1 == ended.stdout.count("No module named 'not_installed_here'"), ended.stdout
    assert len(ended.stdout.splitlines()) <= 10, ended.stdout
    assert 'step0.py", line 1, in <module>: import step1' in ended.stdout
    assert 'step9.py", line 5, in configure: import not_installed_here' in ended.stdout


def test_an_application_without_flask_never_loads_it_where_jobs_run(
    start_service: Callable[..., Service], apps: Callable[..., Path]
) -> None:
    code = "import sys\nfrom longshore import handler\n@handler\ndef loaded():\n    return 'flask' in sys.modules\n"
    folder = apps(plain=code)
    service = start_service(apps="plain", path=folder)

    assert service.client().submit({"handler": "loaded"}, wait=10)["status"]["result"] is False


# -- where it cannot start ---------------------------------------------------------------------------------------------


def test_a_second_engine_on_the_same_data_is_refused_and_the_first_goes_on(
    start_service: Callable[..., Service],
) -> None:
    service = start_service()
    second = serve(service.folder)

    assert 1 == second.returncode
    assert f"{service.folder / 'longshore.db'}" in second.stdout
    assert "Traceback" not in second.stdout
    assert "Succeeded" == service.client().submit({"handler": "echo"}, wait=10)["status"]["phase"]


@pytest.mark.parametrize("setting", ["port", "probe_port"])
def test_a_port_that_is_taken_is_named_with_the_way_out(tmp_path: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = serve(tmp_path / "data", **{setting: port})

    option = f"--{setting.replace('_', '-')}"
    assert 1 == ended.returncode
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in ended.stdout
    assert f"(pid {os.getpid()}) listens there" in ended.stdout, "who has it"
    assert f"choose another with LONGSHORE_{setting.upper()} or {option}" in ended.stdout
    assert "Traceback" not in ended.stdout


def test_a_second_service_names_the_first_one_by_port_and_by_folder(start_service: Callable[..., Service]) -> None:
    first = start_service()
    by_port = serve(first.folder.parent / "other", port=first.port)
    by_folder = serve(first.folder)

    assert [1, 1] == [by_port.returncode, by_folder.returncode]
    assert f"(pid {first.pid}) listens there" in by_port.stdout, "the engine, and none of its children"
    assert (f"pid {first.pid}" in by_folder.stdout, str(first.folder) in by_folder.stdout) == (True, True)
    assert "Succeeded" == first.client().submit({"handler": "echo"}, wait=10)["status"]["phase"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Read-only even for root: nothing can be made below /proc."""
    for folder in (Path("/proc/longshore"), tmp_path / "file" / "data"):
        (tmp_path / "file").write_text("no folder")
        ended = serve(folder)

        assert 1 == ended.returncode
        assert str(folder) in ended.stdout
        assert "Traceback" not in ended.stdout


# -- a disk that is full -----------------------------------------------------------------------------------------------


def test_a_database_that_may_not_grow_refuses_keeps_nothing_and_goes_on(
    start_service: Callable[..., Service], eventually: Callable[..., Any]
) -> None:
    """Without a file system of its own: the engine's limit on the size of files is what is full here."""
    service = start_service()
    kept = service.client().submit({"handler": "echo"}, wait=10)["id"]
    running = service.client().submit({"handler": "sleep", "args": {"seconds": 1.0, "steps": 1}})["id"]
    eventually(lambda: service.client().get(running)["status"]["phase"] == "Running")
    size = (service.folder / "longshore.db-wal").stat().st_size
    limit(service.pid, size)
    big = {"handler": "echo", "args": {"x": "y" * 60_000}}
    answers = [service.request("POST", "/v1/jobs", {**big, "name": f"big-{n}"}) for n in range(20)]
    batch = service.request("POST", "/v1/jobs:batch", {"jobs": [big] * 10, "labels": {"set": "batch"}})
    refused = [n for n, answer in enumerate(answers) if answer.status == 503]
    seen = {n: service.request("GET", f"/v1/jobs/big-{n}").status for n in refused}

    assert len(refused) > 10
    assert ({"/problems/store-unavailable"}, {404}) == (
        {answers[n].json()["type"] for n in refused},
        set(seen.values()),
    )
    assert int(answers[refused[0]].headers["Retry-After"]) > 0
    assert 503 == batch.status
    assert "Succeeded" == service.client().get(kept)["status"]["phase"], "reading goes on"
    assert (200, 503) == (service.probe("/livez"), service.probe("/readyz"))

    limit(service.pid, resource.RLIM_INFINITY)
    eventually(lambda: service.probe("/readyz") == 200, what="a store that takes writes")
    assert ("Succeeded", 1) == (lambda s: (s["phase"], s["attempts"]))(service.client().wait(running, 20)["status"])
    assert "Succeeded" == service.client().submit({"handler": "echo"}, wait=10)["status"]["phase"]
    assert 0 == sum(service.request("GET", "/v1/jobs:count?label=set=batch").json()["counts"].values())


def limit(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


# -- the end -----------------------------------------------------------------------------------------------------------


def test_sigterm_drains_and_the_answers_say_so(
    start_service: Callable[..., Service], eventually: Callable[..., Any], tmp_path: Path
) -> None:
    service = start_service(slots=1, apps=f"{SAMPLES},worker_jobs")
    id = service.client().submit({"handler": "held", "args": {"path": str(tmp_path / "gate")}})["id"]
    eventually(lambda: service.client().get(id)["status"]["phase"] == "Running")
    waiting = service.client().submit({"handler": "echo"})["id"]
    os.kill(service.pid, signal.SIGTERM)
    eventually(lambda: service.probe("/readyz") == 503)
    refused = service.request("POST", "/v1/jobs", {"handler": "echo"})
    batch = service.request("POST", "/v1/jobs:batch", {"jobs": [{"handler": "echo"}]})

    assert [(503, "/problems/draining", True)] * 2 == [
        (answer.status, answer.json()["type"], int(answer.headers["Retry-After"]) > 0) for answer in (refused, batch)
    ]
    assert "Running" == service.request("GET", f"/v1/jobs/{id}").json()["status"]["phase"]
    assert "Draining" == service.request("GET", f"/v1/jobs/{waiting}/explain").json()["reason"]
    assert 200 == service.request("GET", "/v1/jobs").status
    assert 200 == service.probe("/livez")
    (tmp_path / "gate").touch()
    assert 0 == service.wait_end()
    with sqlite3.connect(service.folder / "longshore.db") as db:
        found = dict(db.execute("SELECT id, phase FROM jobs").fetchall())
    db.close()
    assert {id: "Succeeded", waiting: "Pending"} == found
    service.start()
    assert 1 == service.client().get(id)["status"]["attempts"]
    assert "Succeeded" == service.client().wait(waiting, 10)["status"]["phase"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_what_runs_at_once(
    start_service: Callable[..., Service], eventually: Callable[..., Any], number: signal.Signals
) -> None:
    service = start_service(drain_seconds=600, grace_seconds=600)
    stubborn = service.client().submit({"handler": "ignores_sigterm"})["id"]
    plain = service.client().submit({"handler": "naps"})["id"]
    eventually(lambda: len(service.client().workers()[0]["running"]) == 2)
    children = descendants(service.pid)
    os.kill(service.pid, signal.SIGTERM)
    eventually(lambda: service.probe("/readyz") == 503)
    os.kill(service.pid, number)

    assert 0 == service.wait_end(30)
    assert [] == [pid for pid in children if Path(f"/proc/{pid}").exists()]
    service.start()
    for id in (stubborn, plain):
        status = service.client().get(id)["status"]
        assert ("drained", 1) == (status["history"][0]["outcome"], status["disruptions"])


class OnTerminal(Service):
    """A service whose session has a terminal of its own, which can be closed."""

    def launch(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """As of a service, as the leader of the terminal's session."""
        self._window, shell = pty.openpty()
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "longshore", self.role], env=environment, stdin=shell, stdout=shell, stderr=shell,
                cwd=HERE, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )  # fmt: skip
        finally:
            os.close(shell)

    def close_terminal(self) -> None:
        """What closing the window does: the kernel sends SIGHUP."""
        os.close(self._window)


def test_a_closed_terminal_drains(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    """The service was gone at once, and with it the attempt."""
    service = OnTerminal(tmp_path / "data", {"slots": 1, "apps": f"{SAMPLES},worker_jobs"})
    try:
        service.start()
        id = service.client().submit({"handler": "held", "args": {"path": str(tmp_path / "gate")}})["id"]
        eventually(lambda: service.client().get(id)["status"]["phase"] == "Running")
        service.close_terminal()
        eventually(lambda: service.probe("/readyz") == 503)
        os.kill(service.pid, signal.SIGHUP)  # a shell sends one of its own
        refused = service.request("POST", "/v1/jobs", {"handler": "echo"})
        (tmp_path / "gate").touch()
        ended = service.wait_end()
    finally:
        service.end()

    assert (503, 0) == (refused.status, ended)
    with contextlib.closing(sqlite3.connect(service.folder / "longshore.db")) as db:
        assert [("Succeeded", 1)] == db.execute("SELECT phase, attempts FROM jobs").fetchall()


def test_a_service_that_nohup_started_outlives_its_terminal(start_service: Callable[..., Service]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a child inherits it
    try:
        service = start_service()
    finally:
        signal.signal(signal.SIGHUP, before)
    os.kill(service.pid, signal.SIGHUP)

    assert "Succeeded" == service.client().submit({"handler": "echo"}, wait=10)["status"]["phase"]
    assert 200 == service.probe("/readyz")


def test_an_api_that_is_killed_loses_no_wait_and_no_job(
    start_service: Callable[..., Service], eventually: Callable[..., Any]
) -> None:
    service = start_service()
    id = service.client().submit({"handler": "sleep", "args": {"seconds": 2, "steps": 1}})["id"]
    eventually(lambda: service.client().get(id)["status"]["phase"] == "Running")
    engine = service.pid
    patient = Client(service.url, patience=20)
    for pid in service.child("gunicorn"):
        os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    done = patient.wait(id, 20)
    patient.close()

    assert ("Succeeded", 1, 0) == (
        done["status"]["phase"], done["status"]["attempts"], done["status"].get("disruptions", 0),
    )  # fmt: skip
    assert (engine, True) == (service.pid, service.running())
    assert time.monotonic() - begun < 20
    eventually(lambda: service.child("gunicorn"), what="another api")
