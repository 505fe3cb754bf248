"""``python -m bench.schedules``: what ten thousand schedules cost a service that has nothing to do, beside one that has none."""

import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from service import Service, descendants

SCHEDULES = 10_000
SECONDS = 20.0
TICK = os.sysconf("SC_CLK_TCK")


def fill(folder: Path) -> None:
    """Daily schedules, whose next time is hours away, straight into the database of a stopped service."""
    far = (time.gmtime().tm_hour + 12) % 24
    with sqlite3.connect(folder / "longshore.db") as db:
        db.executemany(
            "INSERT INTO schedules VALUES (?, ?, 'request', ?, ?, ?, ?, 1, NULL)",
            [
                (f"s-{n}", f"uid-{n}", b"{}", f'{{"cron":"{n % 60} {far} * * *","jobTemplate":{{"spec":{{"handler":"echo"}}}}}}'.encode(),
                 b"{}", time.time())
                for n in range(SCHEDULES)
            ],
        )  # fmt: skip
    db.close()


def measured(service: Service) -> tuple[float, int]:
    """Share of a processor and wake-ups a second of the whole process tree, while nobody asks anything."""

    def now() -> tuple[int, int]:
        ticks = switches = 0
        for pid in (service.pid, *descendants(service.pid)):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
            status = Path(f"/proc/{pid}/status").read_text()
            switches += int(status.partition("voluntary_ctxt_switches:")[2].split()[0])
        return ticks, switches

    before = now()
    time.sleep(SECONDS)
    after = now()
    return (after[0] - before[0]) / TICK / SECONDS * 100, after[1] - before[1]


def settled(service: Service) -> float:
    """Seconds until every schedule has been looked at."""
    begun = time.monotonic()
    while True:
        with sqlite3.connect(service.folder / "longshore.db") as db:
            (left,) = db.execute("SELECT count(*) FROM schedules WHERE status = CAST('{}' AS BLOB)").fetchone()
        db.close()
        if not left:
            return time.monotonic() - begun
        time.sleep(0.2)


def main() -> None:
    """Two idle services, one after the other, on this machine."""
    with tempfile.TemporaryDirectory() as name:
        service = Service(Path(name) / "data", {})
        service.start()
        try:
            time.sleep(3)
            cpu, wakes = measured(service)
            print(f"  no schedules: {cpu:.2f} % of a processor, {wakes / SECONDS:.2f} wake-ups a second")
            service.stop()
            fill(service.folder)
            service.start()
            print(f"  {SCHEDULES:,} schedules: all looked at {settled(service):.1f} s after the start")
            time.sleep(3)
            cpu, wakes = measured(service)
            print(f"  {SCHEDULES:,} schedules: {cpu:.2f} % of a processor, {wakes / SECONDS:.2f} wake-ups a second")
        finally:
            service.end()


if __name__ == "__main__":
    main()
