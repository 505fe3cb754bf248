"""Kill -9 of everything, in every state, under load: nothing lost, nothing recorded twice."""

import os
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longshore.client import ApiError, Client, ClientError
from service import Service, command_line, descendants


class Load(threading.Thread):
    """Submits batches under keys until told to stop; remembers what was acknowledged."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._client = Client(service.url, patience=60.0)
        self.acknowledged: list[str] = []
        self.stop = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stop.is_set():
            jobs = [{"handler": handler, "maxDisruptions": 1000, "maxRetries": retries, "retry": {"initialSeconds": 0.01},
                     "args": args} for handler, retries, args in
                    (("echo", 0, {}), ("primes", 0, {"limit": 20000}), ("flaky", 3, {}), ("raises", 0, {}),
                     ("sleep", 0, {"seconds": 0.05, "steps": 1}))] * 4  # fmt: skip
            try:
                self.acknowledged += self._client.submit_many(jobs, key=f"load-{number}")
            except (ApiError, ClientError):
                continue  # the same batch again, under the same key
            number += 1
            time.sleep(0.01)
        self._client.close()


def ends_of(service: Service) -> dict[str, tuple[str, int]]:
    """Phase of every kept job, and how many terminal events it has."""
    with sqlite3.connect(f"file:{service.folder / 'longshore.db'}?mode=ro", uri=True) as db:
        phases = dict(db.execute("SELECT id, phase FROM jobs").fetchall())
        events = Counter(
            id for (id,) in db.execute("SELECT id FROM events WHERE type IN ('succeeded', 'failed', 'cancelled')")
        )
    db.close()
    return {id: (phase, events[id]) for id, phase in phases.items()}


def settled(service: Service) -> bool:
    return all(phase in ("Succeeded", "Failed", "Cancelled") for phase, _ in ends_of(service).values())


def check(service: Service, acknowledged: list[str], eventually: Callable[..., Any]) -> None:
    eventually(lambda: settled(service), seconds=60, what="the end of all jobs")
    ends = ends_of(service)

    assert len(acknowledged) == len(set(acknowledged))
    assert [] == [id for id in acknowledged if id not in ends], "lost"
    assert [] == [id for id, (_, count) in ends.items() if count != 1], "recorded not exactly once"
    expected = {
        "echo": "Succeeded",
        "primes": "Succeeded",
        "flaky": "Succeeded",
        "sleep": "Succeeded",
        "raises": "Failed",
    }
    with sqlite3.connect(f"file:{service.folder / 'longshore.db'}?mode=ro", uri=True) as db:
        wrong = [row for row in db.execute("SELECT handler, phase, reason FROM jobs") if expected[row[0]] != row[1]]
    db.close()
    assert [] == wrong


def test_kill_of_the_engine_in_a_loop_under_load(
    start_service: Callable[..., Service], eventually: Callable[..., Any]
) -> None:
    service = start_service()
    load = Load(service)
    load.start()
    for _ in range(6):
        time.sleep(0.7)
        service.kill()
        service.start()
    eventually(lambda: len(load.acknowledged) > 100, seconds=60, what="jobs that were taken")
    load.stop.set()
    load.join(60)

    check(service, load.acknowledged, eventually)


@pytest.mark.parametrize("victim", ["template", "slot", "api worker", "api"])
def test_kill_of_a_child_in_a_loop_under_load(
    start_service: Callable[..., Service], eventually: Callable[..., Any], victim: str
) -> None:
    service = start_service(slots=3)
    load = Load(service)
    load.start()
    for _ in range(8):
        time.sleep(0.3)
        for pid in pids(service, victim)[:1]:
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(load.acknowledged) > 100, seconds=60, what="jobs that were taken")
    load.stop.set()
    load.join(60)

    assert service.running()
    check(service, load.acknowledged, eventually)


def pids(service: Service, victim: str) -> list[int]:
    """Of a kind of child: the template and the slots share a command line, and so do gunicorn's two."""
    children = [pid for pid in descendants(service.pid) if parent(pid) == service.pid]
    gunicorn = [pid for pid in children if "gunicorn" in command_line(pid)]
    templates = [pid for pid in children if "slot.template" in command_line(pid)]
    found = {
        "api": gunicorn, "api worker": [child for pid in gunicorn for child in descendants(pid)],
        "template": templates[:1], "slot": templates[1:],
    }  # fmt: skip
    return found[victim]


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_nothing_lives_on_after_a_killed_engine(
    start_service: Callable[..., Service], eventually: Callable[..., Any]
) -> None:
    service = start_service()
    service.client().submit({"handler": "naps"})
    service.client().submit({"handler": "ignores_sigterm"})
    eventually(lambda: len(service.client().workers()[0]["running"]) == 2)
    children = descendants(service.pid)
    service.kill()

    eventually(lambda: not [pid for pid in children if command_line(pid)], what="the end of all children")


def test_a_killed_engine_makes_a_disruption_and_keeps_the_order(
    start_service: Callable[..., Service], eventually: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "order"
    service = start_service(slots=1)
    first = service.client().submit(
        {"handler": "appends", "args": {"path": str(file), "word": "first", "seconds": 2.0}}
    )
    later = [
        service.client().submit({"handler": "appends", "args": {"path": str(file), "word": str(n)}}) for n in range(5)
    ]
    eventually(lambda: service.client().get(first["id"])["status"]["phase"] == "Running")
    service.kill()
    service.start()
    done = service.client().wait(first["id"], 20)
    for job in later:
        service.client().wait(job["id"], 20)

    assert (1, 2, "lost") == (
        done["status"]["disruptions"],
        done["status"]["attempts"],
        done["status"]["history"][0]["outcome"],
    )
    assert ["first", "0", "1", "2", "3", "4"] == file.read_text().split()


def test_a_job_that_outlasts_the_drain_runs_again(
    start_service: Callable[..., Service], eventually: Callable[..., Any]
) -> None:
    service = start_service(drain_seconds=0.3, grace_seconds=0.2)
    id = service.client().submit({"handler": "naps", "args": {"seconds": 600}})["id"]
    eventually(lambda: service.client().get(id)["status"]["phase"] == "Running")

    assert 0 == service.stop()
    service.start()
    status = service.client().get(id)["status"]
    assert ("drained", 1, 0) == (status["history"][0]["outcome"], status["disruptions"], status.get("retries", 0))


def test_a_disk_that_fills_up_refuses_and_recovers(
    start_service: Callable[..., Service], eventually: Callable[..., Any]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    # Not below pytest's folders: what a killed run leaves mounted there ends every later run that cleans up.
    disk = Path(tempfile.mkdtemp(prefix="longshore-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    try:
        service = start_service(data_dir=disk)
        kept = service.client().submit({"handler": "echo"})["id"]
        (disk / "filler").write_bytes(b"")
        with (disk / "filler").open("wb") as file, pytest.raises(OSError, match="space"):
            while True:
                file.write(b"x" * 65536)
                file.flush()
        big = {"handler": "echo", "args": {"x": "y" * 60_000}}
        answers = [service.request("POST", "/v1/jobs", {**big, "name": f"big-{n}"}) for n in range(30)]
        refused = [n for n, answer in enumerate(answers) if answer.status == 503]
        (disk / "filler").unlink()

        assert refused
        assert "/problems/store-unavailable" == answers[refused[-1]].json()["type"]
        for n in refused:
            assert 404 == service.request("GET", f"/v1/jobs/big-{n}").status, "half stored"
        eventually(lambda: service.probe("/readyz") == 200, what="a store that takes writes")
        assert "Succeeded" == service.client().submit({"handler": "echo"}, wait=10)["status"]["phase"]
        assert "Succeeded" == service.client().get(kept)["status"]["phase"]
        service.end()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
        disk.rmdir()
