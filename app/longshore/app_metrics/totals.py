"""The sum of what all processes of a service have counted, within bounds that no process can move.

Changes come from slots, in which jobs run that may write whatever they like. So each change is checked here:
a metric that was declared, label values of the right number and length, finite numbers, and a bounded number of series.
What does not fit is dropped, counted by metric and reason, and changes nothing else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from longshore.app_metrics.declared import MAX_VALUE, Declaration

MOST_SAMPLES: Final = 20_000  # lines of a scrape for all metrics of applications; the engine writes them in tens of ms
MOST_COUNTED: Final = 2**53  # the largest whole number that a float holds without a gap
UNKNOWN: Final = "unknown"

Family = dict[str, object]


class _Dropped(Exception):
    """Why a change is not taken: ``series``, ``value`` or ``unknown``."""


@dataclass(slots=True)
class _Series:
    """One set of label values."""

    value: float = 0.0
    """Of a counter or gauge; the sum of a histogram."""
    counts: list[int] = field(default_factory=list)
    living: dict[str, float] = field(default_factory=dict)
    """Of a gauge that is the sum over processes: the value of each."""


class Totals:
    """What the scrape shows. ``on_full`` is told the name of a metric that has as many series as it may have, once."""

    def __init__(self, most_series: int, on_full: Callable[[str], None]) -> None:
        self._most, self._on_full = most_series, on_full
        self._declared: dict[str, Declaration] = {}
        self._series: dict[str, dict[tuple[str, ...], _Series]] = {}
        self._samples = 0
        self._dropped: dict[tuple[str, str], int] = {}
        self._told: set[str] = set()

    def declare(self, declarations: Iterable[Declaration]) -> None:
        """The metrics of the applications that were imported; one that has changed its shape begins anew."""
        for new in declarations:
            earlier = self._declared.get(new.name)
            if earlier is not None and earlier.differs_from(new):
                self._samples -= earlier.samples * len(self._series.pop(new.name, {}))
            self._declared[new.name] = new
            self._series.setdefault(new.name, {})

    def apply(self, source: str, changes: Sequence[object]) -> None:
        """Take what a process has counted since it was heard last; ``source`` tells processes apart."""
        for change in changes:
            declaration = self._declaration_of(change)
            try:
                if declaration is None:
                    raise _Dropped("unknown")
                self._take(source, declaration, cast("Sequence[object]", change))
            except _Dropped as why:
                key = (declaration.name if declaration is not None else UNKNOWN, str(why))
                self._dropped[key] = self._dropped.get(key, 0) + 1

    def forget(self, source: str) -> None:
        """The process has ended: its values of gauges go with it."""
        for name, declaration in self._declared.items():
            if declaration.livesum:
                for series in self._series[name].values():
                    series.living.pop(source, None)

    def families(self) -> list[Family]:
        """As ``EngineMetrics.families`` writes them."""
        found = [self._family(declaration) for declaration in self._declared.values()]
        dropped = [
            ["longshore_app_metric_changes_dropped_total", {"metric": name, "reason": reason}, count, None]
            for (name, reason), count in self._dropped.items()
        ]
        series = [["longshore_app_metric_series", {}, sum(map(len, self._series.values())), None]]
        return [
            *found,
            _plain("longshore_app_metric_changes_dropped", "counter", "Changes that were not taken.", dropped),
            _plain("longshore_app_metric_series", "gauge", "Series of metrics of applications.", series),
        ]

    def sample(self, name: str, labels: Mapping[str, str]) -> float | None:
        """The value of one line of the scrape, or None when it is not there."""
        for family in self.families():
            for sample in cast("list[tuple[str, dict[str, str], float, object]]", family["samples"]):
                if sample[0] == name and sample[1] == labels:
                    return sample[2]
        return None

    # -- one change ------------------------------------------------------------------------------------------

    def _declaration_of(self, change: object) -> Declaration | None:
        if not isinstance(change, list | tuple) or len(change) != 3 or not isinstance(change[0], str):
            return None
        return self._declared.get(change[0])

    def _take(self, source: str, declaration: Declaration, change: Sequence[object]) -> None:
        labels, data = _label_values(change[1], len(declaration.labels)), change[2]
        if declaration.kind == "counter":
            amount = _number(data, least=0.0)
            self._of(declaration, labels).value += amount
        elif declaration.kind == "gauge":
            self._set(source, declaration, labels, data)
        else:
            total, counts = _observations(data, len(declaration.buckets) + 1)
            series = self._of(declaration, labels)
            series.value += total
            series.counts = [had + more for had, more in zip(series.counts, counts, strict=True)]

    def _set(self, source: str, declaration: Declaration, labels: tuple[str, ...], data: object) -> None:
        if not isinstance(data, list | tuple) or len(data) != 2 or not isinstance(data[0], bool):
            raise _Dropped("value")
        whole, number = data[0], _number(data[1], least=-MOST_COUNTED)
        series = self._of(declaration, labels)
        if declaration.livesum:
            series.living[source] = number + (0.0 if whole else series.living.get(source, 0.0))
        else:
            series.value = number + (0.0 if whole else series.value)

    def _of(self, declaration: Declaration, values: tuple[str, ...]) -> _Series:
        """The series, made now when there is room for it."""
        name = declaration.name
        all_of_it = self._series[name]
        series = all_of_it.get(values)
        if series is None:
            if len(all_of_it) >= self._most or self._samples + declaration.samples > MOST_SAMPLES:
                if name not in self._told:
                    self._told.add(name)
                    self._on_full(name)
                raise _Dropped("series")
            series = all_of_it[values] = _Series(counts=[0] * (len(declaration.buckets) + 1))
            self._samples += declaration.samples
        return series

    # -- what is shown ---------------------------------------------------------------------------------------

    def _family(self, declaration: Declaration) -> Family:
        samples: list[object] = []
        for values, series in self._series[declaration.name].items():
            labels = dict(zip(declaration.labels, values, strict=True))
            if declaration.kind == "counter":
                samples.append([f"{declaration.name}_total", labels, series.value, None])
            elif declaration.kind == "gauge":
                value = sum(series.living.values()) if declaration.livesum else series.value
                samples.append([declaration.name, labels, value, None])
            else:
                samples += _of_histogram(declaration, labels, series)
        return _plain(declaration.name, declaration.kind, declaration.documentation, samples)


def _of_histogram(declaration: Declaration, labels: Mapping[str, str], series: _Series) -> Iterator[object]:
    so_far = 0
    for bound, count in zip((*map(str, declaration.buckets), "+Inf"), series.counts, strict=True):
        so_far += count
        yield [f"{declaration.name}_bucket", {**labels, "le": bound}, so_far, None]
    yield [f"{declaration.name}_count", labels, so_far, None]
    yield [f"{declaration.name}_sum", labels, series.value, None]


def _plain(name: str, kind: str, text: str, samples: Sequence[object]) -> Family:
    return {"name": name, "type": kind, "help": text, "samples": samples}


def _label_values(value: object, length: int) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) != length:
        raise _Dropped("value")
    if not all(isinstance(one, str) and len(one) <= MAX_VALUE for one in value):
        raise _Dropped("value")
    return tuple(value)


def _number(value: object, *, least: float) -> float:
    # Sums of such numbers stay finite for as long as a service can run.
    if type(value) not in (int, float) or not least <= cast("float", value) <= MOST_COUNTED:
        raise _Dropped("value")
    return float(cast("float", value))


def _observations(data: object, buckets: int) -> tuple[float, list[int]]:
    if not isinstance(data, list | tuple) or len(data) != 2:
        raise _Dropped("value")
    total, counts = data
    if not isinstance(counts, list | tuple) or len(counts) != buckets:
        raise _Dropped("value")
    if not all(type(count) is int and 0 <= count <= MOST_COUNTED for count in counts):
        raise _Dropped("value")
    return _number(total, least=-MOST_COUNTED), list(counts)
