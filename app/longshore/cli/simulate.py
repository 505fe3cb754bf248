"""``longshore simulate``: what a pool would do under a load, by the operator's own rule."""

import math
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from longshore_operator.scaling.simulate import Seen

ROWS, WIDTH = 24, 40
ABOVE_ZERO = click.FloatRange(0, min_open=True)
SHARES = (50, 95, 99)


@click.command()
@click.option(
    "--trace", type=click.File(), help="CSV, by time: seconds since the begin, run seconds[, handler]; or jobs as JSON."
)
@click.option("--save-trace", type=click.File("w"), help="Write the trace as CSV, and simulate nothing.")
@click.option(
    "--rate", type=ABOVE_ZERO, default=1.0, show_default=True, help="Without a trace: jobs per second, at random."
)
@click.option(
    "--run-seconds",
    type=ABOVE_ZERO,
    default=2.0,
    show_default=True,
    help="Without a trace: run time on average, at random.",
)
@click.option(
    "--swing",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Without a trace: share by which the rate goes up and down over a day.",
)
@click.option("--hours", type=ABOVE_ZERO, help="How long.  [default: 1; with a trace until its last job has ended]")
@click.option("--seed", default=1, show_default=True, help="Of what is random.")
@click.option("--min", "min_workers", default=0, show_default=True, help="Fewest workers.")
@click.option("--max", "max_workers", default=10, show_default=True, help="Most workers.")
@click.option("--slots", default=4, show_default=True, help="Of a worker.")
@click.option(
    "--start-seconds", default=10.0, show_default=True, help="From a new replica to a worker that takes jobs."
)
@click.option(
    "--handover-seconds",
    type=click.FloatRange(0),
    default=0.01,
    show_default=True,
    help="From the end of a slot's job to the begin of its next.",
)
@click.option(
    "--target-wait",
    "target_wait_seconds",
    default=5.0,
    show_default=True,
    help="Seconds within which a job should find a slot.",
)
@click.option("--headroom", "headroom_slots", default=0, show_default=True, help="Slots that are kept free.")
@click.option(
    "--window", "window_seconds", default=60.0, show_default=True, help="Seconds for which the highest target is kept."
)
@click.option(
    "--idle", "idle_seconds", default=60.0, show_default=True, help="Seconds after which the last worker goes."
)
@click.option("--up-workers", default=4, show_default=True, help="Workers added every 15 s at most …")
@click.option(
    "--up-percent", default=100, show_default=True, help="… or this share of those that are there, if that is more."
)
@click.option("--down-percent", default=25, show_default=True, help="Share of the workers that may go every 5 s.")
@click.option("--price", type=click.FloatRange(0), help="Of a pod for an hour, to tell the cost.")
@click.option("--png", type=click.Path(dir_okay=False, writable=True), help="Draw it into this file; needs longshore[plot].")  # fmt: skip
def simulate(trace: TextIO | None, save_trace: TextIO | None, rate: float, run_seconds: float, swing: float, hours: float | None,
             seed: int, slots: int, start_seconds: float, handover_seconds: float, price: float | None, png: str | None, **knobs: Any) -> None:  # fmt: skip
    """Size a pool before you buy it: waiting times, workers over time and pod-hours under a load."""
    from longshore_operator.scaling.arrivals import BadTrace, at_random, read, written
    from longshore_operator.scaling.decide import Knobs  # the one command that needs the operator's package
    from longshore_operator.scaling.simulate import Simulation

    if not 0 <= knobs["min_workers"] <= knobs["max_workers"] or min(knobs["max_workers"], slots) < 1:
        raise click.UsageError("0 <= --min <= --max, and --max and --slots above 0")
    if png:
        from longshore.cli.plot import ready

        ready()  # before the work, not after it
    until = hours * 3600 if hours is not None else 3600.0 if trace is None else math.inf
    try:
        arrivals = read(trace) if trace is not None else at_random(rate, run_seconds, seed, swing)
        arrivals = takewhile(lambda one: one.at <= until, arrivals)
        if save_trace is not None:
            save_trace.writelines(f"{line}\n" for line in written(arrivals))
            return
        simulation = Simulation(
            Knobs(**knobs), slots=slots, start_seconds=start_seconds, handover_seconds=handover_seconds
        )
        seen = simulation.run(arrivals, until=until)
    except BadTrace as error:
        raise click.UsageError(str(error)) from None
    if not seen.waits:
        raise click.UsageError("no job comes in that time")
    click.echo("\n".join(tell(seen, slots=slots, most=knobs["max_workers"], price=price)))
    if png:
        from longshore.cli.plot import draw

        draw(seen, png)


def tell(seen: "Seen", *, slots: int, most: int, price: float | None = None) -> list[str]:
    """The result as lines of text."""
    hours, paid = seen.end / 3600, seen.worker_seconds / 3600
    lines = [f"{len(seen.waits):,} jobs started in {hours:.4g} h"]
    parts = [f"{share:g} % within {seen.waited(share):.2f} s" for share in SHARES]
    lines.append(f"waited: {', '.join(parts)}, {seen.waits[-1]:.2f} s at most")
    used = seen.busy_seconds / 3600 / (paid * slots) if paid else 0.0
    lines.append(
        f"paid: {paid:.2f} pod-hours, {used:.0%} of their slots used; {most} pods all the time: {most * hours:.2f}"
    )
    if price is not None:
        lines.append(f"cost: {paid * price:,.2f}; {most} pods all the time: {most * hours * price:,.2f}")
    lines.append(f"workers: {max(count for _, count in seen.workers)} at most, {len(seen.workers) - 1} changes")
    return [*lines, *_operator(seen), "", *_chart(seen)]


def _operator(seen: "Seen") -> Iterator[str]:
    """What the load asks of the operator."""
    from longshore_operator.scaling.limits import memory_mib, peaks

    found = peaks(seen)
    parts = [f"{peak.value:,.4g} {peak.what} of {peak.measured:,.0f}" for peak in found]
    yield f"the operator, at most, of what was measured: {', '.join(parts)}; about {memory_mib(seen.live):,.0f} MiB"
    for peak in found:
        if peak.beyond:
            yield f"WARNING: {peak.value:,.0f} {peak.what} are more than the {peak.measured:,.0f} that were measured"


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
