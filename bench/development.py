"""``python -m bench.development``: from a save to its code in force, and whether 100 saves under load lose a job.

Nothing else should run on the machine. The load is two clients that submit a job every 0.1 s beside the saves.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from service import Service
from submit_load import Load

SAVES = 100
CODE = """
from flask import Blueprint
from longshore import handler
bp = Blueprint("measured", __name__)
@bp.get("/value")
def value():
    return {{"value": {0}}}
@handler
def echo():
    return {0}
"""
SETTLED_SECONDS = 1.5  # a person reads what happened before the next save


def reloads(service: Service) -> list[float]:
    """Seconds from the time of a save, as the file has it, to its code in force, as the service's log has them."""
    lines = [line for line in service.log.read_text().splitlines() if '"action":"reloaded"' in line]
    return [float(json.loads(line)["seconds"]) for line in lines]


def saves(service: Service, file: Path, count: int) -> list[float]:
    """Save so often, each time after the save before is in force; returns seconds of each."""
    for value in range(count):
        before = len(reloads(service))
        file.write_text(CODE.format(value + 1))
        while len(reloads(service)) == before:
            time.sleep(0.02)
        time.sleep(SETTLED_SECONDS)
    return reloads(service)


def main() -> None:
    """Quiet first, then under load, then jobs."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "project" / "measured.py"
        file.parent.mkdir()
        file.write_text(CODE.format(0))
        service = Service(
            Path(folder) / "data", {"apps": "measured", "path": str(file.parent), "slots": 2, "dev": True}
        )
        service.start()
        try:
            time.sleep(SETTLED_SECONDS)
            quiet = saves(service, file, 10)
            told("from a save to its code in force, nothing else to do", quiet)
            with Load(service, pause=0.2) as load:
                busy = saves(service, file, SAVES)[len(quiet) :]
            told(f"the same under load, {SAVES} saves", busy)
            print(
                f"  jobs submitted {len(load.ids)}, requests refused {len(load.wrong)}, jobs lost {lost(service, load)}"
            )
        finally:
            service.end()


def told(name: str, values: list[float]) -> None:
    """A line: median and range."""
    print(f"  {name:<58} {statistics.median(values):>6.2f} s  ({min(values):.2f} – {max(values):.2f})")


def lost(service: Service, load: Load) -> int:
    """Jobs that did not succeed in one attempt."""
    ended = [service.client().wait(id, 60)["status"] for id in load.ids]
    return sum((status["phase"], status["attempts"]) != ("Succeeded", 1) for status in ended)


if __name__ == "__main__":
    main()
