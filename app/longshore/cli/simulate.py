"""``longshore simulate``: what a pool would do under a load, by the operator's own rule."""

import csv
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from longshore_operator.scaling.simulate import Seen

ROWS, WIDTH = 24, 40

Arrivals = Iterator[tuple[float, float]]


@click.command()
@click.option(
    "--trace", type=click.File(), help="CSV of seconds since the begin and run seconds, a line per job, by time"
)
@click.option("--rate", default=1.0, show_default=True, help="without a trace: jobs per second, at random")
@click.option("--run-seconds", default=2.0, show_default=True, help="without a trace: run time on average, at random")
@click.option("--hours", default=1.0, show_default=True, help="how long")
@click.option("--seed", default=1, show_default=True, help="of what is random")
@click.option("--min", "least", default=0, show_default=True, help="fewest workers")
@click.option("--max", "most", default=10, show_default=True, help="most workers")
@click.option("--slots", default=4, show_default=True, help="of a worker")
@click.option("--start-seconds", default=10.0, show_default=True, help="from a new replica to a ready worker")
@click.option("--target-wait", default=5.0, show_default=True, help="seconds within which a job should find a slot")
@click.option("--headroom", default=0, show_default=True, help="slots that are kept free")
@click.option("--window", default=60.0, show_default=True, help="seconds for which the highest target is kept")
@click.option("--idle", default=60.0, show_default=True, help="seconds after which the last worker goes")
def simulate(trace: TextIO | None, rate: float, run_seconds: float, hours: float, seed: int, least: int, most: int, slots: int,
             start_seconds: float, target_wait: float, headroom: int, window: float, idle: float) -> None:  # fmt: skip
    """Size a pool before you buy it: waiting times, workers over time and pod-hours under a load."""
    from longshore_operator.scaling.decide import Knobs  # the one command that needs the operator's package
    from longshore_operator.scaling.simulate import Simulation

    if not 0 <= least <= most or slots < 1 or rate <= 0 or hours <= 0:
        raise click.UsageError("0 <= --min <= --max, and --slots, --rate and --hours above 0")
    knobs = Knobs(
        least, most, target_wait_seconds=target_wait, headroom_slots=headroom, window_seconds=window, idle_seconds=idle
    )
    until = hours * 3600.0
    arrivals = _read(trace) if trace is not None else _random(rate, run_seconds, seed)
    seen = Simulation(knobs, slots=slots, start_seconds=start_seconds).run(arrivals, until=until)
    click.echo("\n".join(tell(seen, slots=slots, most=most)))


def _random(rate: float, seconds: float, seed: int) -> Arrivals:
    chance, now = random.Random(seed), 0.0
    while True:
        now += chance.expovariate(rate)
        yield now, chance.expovariate(1 / seconds)


def _read(trace: TextIO) -> Arrivals:
    before = 0.0
    for number, row in enumerate(csv.reader(trace), 1):
        try:
            when, seconds = (float(text) for text in row)
        except ValueError:
            raise click.UsageError(f"line {number} of the trace is not two numbers: {','.join(row)[:60]}") from None
        if when < before or seconds < 0:
            raise click.UsageError(f"line {number} of the trace is before the line above it, or ran less than no time")
        before = when
        yield when, seconds


def tell(seen: "Seen", *, slots: int, most: int) -> list[str]:
    """The result as lines of text."""
    waits = sorted(seen.waits)
    hours, paid = seen.end / 3600, seen.worker_seconds / 3600
    lines = [f"{len(waits):,} jobs started in {hours:g} h"]
    if waits:
        parts = [
            f"{share:g} % within {waits[min(len(waits) - 1, int(len(waits) * share / 100))]:.2f} s"
            for share in (50, 95, 99)
        ]
        lines.append(f"waited: {', '.join(parts)}, {waits[-1]:.2f} s at most")
    used = seen.busy_seconds / 3600 / (paid * slots) if paid else 0.0
    lines.append(
        f"paid: {paid:.2f} pod-hours, {used:.0%} of their slots used; {most} pods all the time: {most * hours:.2f}"
    )
    lines.append(f"workers: {max(count for _, count in seen.workers)} at most, {len(seen.workers) - 1} changes")
    return [*lines, "", *_chart(seen)]


def _chart(seen: "Seen") -> Iterator[str]:
    """The most workers of each part of the time."""
    step, top = seen.end / ROWS, max(1, *(count for _, count in seen.workers))
    at, now = 0, seen.workers[0][1]
    for row in range(ROWS):
        most = now
        while at < len(seen.workers) and seen.workers[at][0] < (row + 1) * step:
            now = seen.workers[at][1]
            most = max(most, now)
            at += 1
        yield f"{row * step / 3600:8.2f} h {most:6d} {'█' * round(WIDTH * most / top)}".rstrip()
