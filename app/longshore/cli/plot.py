"""``longshore simulate --png``: what was simulated, drawn. What is drawn is put together first, without matplotlib."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from longshore_operator.scaling.simulate import Sample, Seen

POINTS = 1200  # about as many as the picture has columns
INCHES, DPI = (11.0, 8.5), 110
HOUR, MINUTE = 3600.0, 60.0


@dataclass(frozen=True, slots=True)
class Series:
    """Points of each line; of times that share a column the highest value is drawn, so that no peak is lost."""

    unit: str
    """Of the times."""
    times: list[float]
    workers: list[int]
    busy: list[int]
    waiting: list[int]
    shares: list[float]
    """Per cent of the jobs …"""
    waits: list[float]
    """… and the seconds within which so many started."""


def series(seen: "Seen") -> Series:
    """Of a simulation that is over."""
    unit, of_unit = ("hours", HOUR) if seen.end > 2 * HOUR else ("minutes", MINUTE)
    columns = _parts(seen.samples, POINTS)
    shares = [100 * (number + 1) / POINTS for number in range(POINTS)] if seen.waits else []
    return Series(
        unit,
        [column[0].at / of_unit for column in columns],
        [max(sample.workers for sample in column) for column in columns],
        [max(sample.busy for sample in column) for column in columns],
        [max(sample.waiting for sample in column) for column in columns],
        shares, list(map(seen.waited, shares)),
    )  # fmt: skip


def _parts(samples: "list[Sample]", most: int) -> "list[list[Sample]]":
    size = -(-len(samples) // most) or 1
    return [samples[at : at + size] for at in range(0, len(samples), size)]


def ready() -> None:
    """Raises ClickException when it cannot be drawn here."""
    try:
        import matplotlib.figure  # noqa: F401  # a heavy package that nothing else needs
    except ImportError:
        raise click.ClickException("--png needs matplotlib: pip install 'longshore[plot]'") from None


def draw(seen: "Seen", path: str) -> None:
    """Into a PNG file; raises OSError."""
    figure(seen).savefig(path, format="png")


def figure(seen: "Seen") -> "Figure":
    """Three panels over each other."""
    from matplotlib.figure import Figure

    found = series(seen)
    whole = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    pods, waiting, waits = whole.subplots(3)
    pods.set_title("Pods")
    pods.plot(found.times, found.workers, drawstyle="steps-post", label="present: starting, ready, leaving")
    pods.fill_between(found.times, found.busy, step="post", alpha=0.4, color="tab:orange", label="busy: run a job")
    waiting.set_title("Jobs that wait")
    waiting.plot(found.times, found.waiting, drawstyle="steps-post", color="tab:red", label="waiting")
    waits.set_title("Waiting time")
    waits.plot(found.shares, found.waits, color="tab:green", label="started within")
    for panel, across, up in ((pods, found.unit, "pods"), (waiting, found.unit, "jobs"), (waits, "% of the jobs", "s")):
        panel.set_xlabel(across)
        panel.set_ylabel(up)
        panel.set_ylim(bottom=0)
        panel.margins(x=0)
        panel.grid(alpha=0.3)
        panel.legend(loc="upper left", fontsize="small")
    return whole
