"""What a run of kills has shown: from the jobs' own histories and the times of the kills. Pure.

``python -m e2e.chaos_report FILE`` prints the tables of docs/reliability.md from what a run wrote.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

Json = dict[str, Any]
CONTROL = ("operator", "apiserver")  # without these nobody notices anything


@dataclass
class Kill:
    """Times are seconds since the epoch."""

    kind: str
    pod: str = ""
    """Whose processes were hit; empty when none were that run jobs."""
    at: float = field(default_factory=time.time)
    back: float | None = None
    """When it did its work again, for those of which that was seen."""
    gone: float | None = None
    """When the processes that it ends by way of others were gone: containerd ends those of a killed shim, in its time."""


@dataclass(frozen=True)
class Cut:
    """An attempt that did not end by itself; seconds since the kill that cut it off."""

    job: str
    kind: str
    """Of the kill; empty when none explains it, which is then a worker that was removed with a job."""
    noticed: float = 0.0
    """Until the operator took it for lost."""
    again: float | None = None
    """Until the job's next attempt started, which may have waited for a free slot too."""
    alone: bool = True
    """Whether operator and API server were there all the time until it was noticed."""


def cuts(jobs: Sequence[Json], kills: Sequence[Kill]) -> list[Cut]:
    """All attempts that did not succeed."""
    return [
        _cut(job["metadata"]["name"], entry, job["status"]["history"], kills)
        for job in jobs for entry in job["status"].get("history", ()) if entry["outcome"] != "succeeded"
    ]  # fmt: skip


def _cut(job: str, entry: Json, history: Sequence[Json], kills: Sequence[Kill]) -> Cut:
    begin, end = seconds(entry["startedAt"]), seconds(entry["finishedAt"])
    # An attempt's first time is when it was decided on; a second more allows for the way. The first kill cut it off, whatever came
    # before that was noticed.
    hits = [
        kill
        for kill in kills
        if kill.pod == entry.get("worker") and begin - 1 <= (kill.back or kill.gone or kill.at) and kill.at <= end
    ]
    if not hits or entry["outcome"] != "lost":
        return Cut(job, "")
    at = max(hits[0].at, begin)  # a frozen worker may be sent another job
    again = min((seconds(one["startedAt"]) for one in history if one["number"] > entry["number"]), default=None)
    alone = not any(kill.kind in CONTROL and kill.at <= end and (kill.back or end) >= at for kill in kills)
    return Cut(job, hits[0].kind, end - at, again - at if again else None, alone)


def seconds(text: str) -> float:
    """Since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def report(jobs: Sequence[Json], kills: Sequence[Kill], **facts: object) -> Json:
    """What is written to the file; ``facts`` go in as they are."""
    found = cuts(jobs, kills)
    rows: list[Json] = []
    for kind in dict.fromkeys(kill.kind for kill in kills):
        for alone in (True, False):
            hits = [cut for cut in found if (cut.kind, cut.alone) == (kind, alone)]
            mine = [kill for kill in kills if kill.kind == kind] if alone else []
            if mine or hits:
                rows.append({
                    "killed": kind if alone else f"{kind}, with the operator or the API server away",
                    "times": len(mine) or None, "back": spread([one.back - one.at for one in mine if one.back]),
                    "cut_off": len(hits), "noticed": spread([cut.noticed for cut in hits]),
                    "again": spread([cut.again for cut in hits if cut.again is not None]),
                })  # fmt: skip
    return facts | {
        "jobs": len(jobs), "phases": dict(Counter(job["status"]["phase"] for job in jobs)), "kills": len(kills),
        "cut_off": len(found), "unexplained": [cut.job for cut in found if not cut.kind],
        "retries": sum(job["status"].get("retries", 0) for job in jobs), "recovery": rows,
        "each_kill": [asdict(kill) for kill in kills], "each_cut": [asdict(cut) for cut in found],
    }  # fmt: skip


def spread(values: Sequence[float]) -> list[float] | None:
    """Median and maximum."""
    return [round(median(values), 1), round(max(values), 1)] if values else None


def tables(run: Json) -> str:
    """Markdown."""
    whole = {
        "jobs": f"{run['jobs']:,}", "waves": run["waves"], "time": f"{run['seconds']:.0f} s", "kills": run["kills"],
        "attempts cut off": run["cut_off"], "by a scale-in": len(run["unexplained"]), "lost": run["lost"],
        "ended twice": run["ended_twice"], "retries": run["retries"],
    }  # fmt: skip
    rows = [{
        "killed": row["killed"], "times": row["times"] or "", "back after": _cell(row["back"]), "attempts cut off": row["cut_off"],
        "noticed after": _cell(row["noticed"]), "run again after": _cell(row["again"]),
    } for row in run["recovery"]]  # fmt: skip
    return f"{_table([whole])}\n\n{_table(rows)}"


def _table(rows: Sequence[Json]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _cell(pair: Sequence[float] | None) -> str:
    return f"{pair[0]:g} s, {pair[1]:g} s" if pair else "–"


if __name__ == "__main__":
    print(tables(json.loads(Path(sys.argv[1]).read_text())))
