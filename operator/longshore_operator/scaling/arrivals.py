"""What came when, for ``simulate``: read from a file of numbers, from recorded jobs, or drawn at random. Pure."""

import csv
import json
import math
import random
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

DAY_SECONDS = 86_400.0
HANDLER = "job"
COLUMNS = (2, 3)  # with and without a handler


class Arrival(NamedTuple):
    """A job that comes."""

    at: float
    """Seconds since the begin."""
    seconds: float
    """That it runs."""
    handler: str = HANDLER


class BadTrace(ValueError):
    """A trace that cannot be used; says where and why."""


def read(lines: Iterable[str]) -> Iterator[Arrival]:
    """A trace of either kind, by its first character; raises BadTrace."""
    source = iter(lines)
    first = next(source, "")
    whole = chain([first] if first else [], source)
    return iter(recorded(objects(whole))) if first.lstrip().startswith(("{", "[")) else _rows(whole)


def _rows(lines: Iterable[str]) -> Iterator[Arrival]:
    """Of ``seconds since the begin, seconds run[, handler]``, by time."""
    before = 0.0
    for number, row in enumerate(csv.reader(lines), 1):
        try:
            when, seconds = (float(text) for text in row[:2])
        except ValueError:
            when = math.nan
        if len(row) not in COLUMNS or not (math.isfinite(when) and math.isfinite(seconds)):
            text = ",".join(row)[:60]
            raise BadTrace(f"line {number} of the trace is not two numbers, and a handler if you like: {text}")
        if when < before or seconds < 0:
            raise BadTrace(f"line {number} of the trace is before the line above it, or ran less than no time")
        before = when
        yield Arrival(when, seconds, row[2].strip() if row[2:] else HANDLER)


def written(arrivals: Iterable[Arrival]) -> Iterator[str]:
    """The lines that ``read`` takes."""
    return (f"{one.at:.3f},{one.seconds:.3f},{one.handler}" for one in arrivals)


# -- recorded jobs -------------------------------------------------------------------------------------------


def objects(lines: Iterable[str]) -> Iterator[Any]:
    """JSON as ``kubectl get -o json`` prints it, also with ``--watch``: one object after the other, each ends with a ``}`` alone.

    Lines that are whole objects will do too. Raises BadTrace.
    """
    part: list[str] = []
    for line in lines:
        part.append(line)
        if line.rstrip() == "}" or (len(part) == 1 and line.rstrip().endswith("}") and not line.startswith(" ")):
            yield _parsed(part)
            part = []
    if "".join(part).strip():
        yield _parsed(part)


def _parsed(part: list[str]) -> Any:
    try:
        return json.loads("".join(part))
    except ValueError as error:
        raise BadTrace(f"the trace begins as JSON and is none: {error}") from None


def recorded(found: Iterable[Any]) -> list[Arrival]:
    """What came when, by jobs and lists of them, of Kubernetes or of the api; the first of them came at 0.

    A later object of a job takes the place of an earlier one. Each attempt that has ended is an arrival: the first at the
    time when the job could start, a further one when it started. Left out: jobs that have not ended, and array jobs,
    whose items leave no times of their own.
    """
    attempts: dict[str, list[tuple[float, float, str]]] = {}
    for one in found:
        for job in one if isinstance(one, list) else one.get("items", [one]):
            try:
                identity = str(job["metadata"]["uid"] if "metadata" in job else job["id"])
                attempts[identity] = list(_attempts(job))
            except (KeyError, TypeError, ValueError):
                raise BadTrace(f"the trace holds an object that is no job: {json.dumps(job)[:60]}") from None
    by_time = sorted(attempt for of_one in attempts.values() for attempt in of_one)
    return [Arrival(at - by_time[0][0], seconds, handler) for at, seconds, handler in by_time]


def _attempts(job: Any) -> Iterator[tuple[float, float, str]]:
    spec, status = job["spec"], job.get("status") or {}
    if "count" in spec or "items" in spec:
        return
    came = _time(job["createdAt"] if "createdAt" in job else job["metadata"]["creationTimestamp"])
    for number, attempt in enumerate(status.get("history") or ()):
        if not attempt.get("startedAt") or not attempt.get("finishedAt"):
            continue  # it never began, or nobody saw it
        began, ended = _time(attempt["startedAt"]), _time(attempt["finishedAt"])
        ready = max(came, _time(spec["startAfter"])) if "startAfter" in spec else came
        yield (min(ready, began) if number == 0 else began), max(0.0, ended - began), spec.get("handler") or "command"


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# -- at random -----------------------------------------------------------------------------------------------


def at_random(rate: float, seconds: float, seed: int, swing: float = 0.0) -> Iterator[Arrival]:
    """Without end: ``rate`` jobs a second, each running ``seconds``, on average of a day.

    ``swing`` from 0 to 1: how far the rate goes above and below over 24 hours; a day begins at its lowest.
    """
    chance, now, most = random.Random(seed), 0.0, rate * (1 + swing)
    while True:
        now += chance.expovariate(most)
        here = rate * (1 - swing * math.cos(2 * math.pi * now / DAY_SECONDS))
        if not swing or chance.random() * most < here:
            yield Arrival(now, chance.expovariate(1 / seconds))
