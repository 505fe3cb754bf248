"""What applications declare when they are imported: each metric's name, type, labels and buckets, checked once.

A declaration travels from the template to the engine in its hello, where the same checks run again: applications
run in the template, so its words are not the engine's.
"""

import math
import re
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]

MAX_NAME: Final = 200  # characters
MAX_TEXT: Final = 1000  # characters of documentation
MAX_LABELS: Final = 10
MAX_BUCKETS: Final = 64
MAX_VALUE: Final = 128  # characters of a label's value
MAX_METRICS: Final = 1000
# Prefixes of what Longshore and the libraries in its api process show beside it.
RESERVED: Final = ("longshore_", "flask_", "process_", "python_")
_SPOKEN = {"kind": "type", "livesum": "multiprocess_mode"}
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_RESERVED_LABELS = frozenset({"le", "quantile"})
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "counter": ("", "_total", "_created"),
    "gauge": ("",),
    "histogram": ("", "_bucket", "_count", "_sum", "_created"),
}


@dataclass(frozen=True, slots=True)
class Declaration:
    """One metric, as every process has to know it."""

    name: str
    """Whole name, with namespace, subsystem and unit; that of a counter without ``_total``."""
    kind: Kind
    documentation: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, without +Inf."""
    livesum: bool = False
    """Of a gauge: the sum over living processes; else the value that was set last."""
    module: str = ""

    @property
    def samples(self) -> int:
        """Lines of a scrape for each set of label values."""
        return len(self.buckets) + 3 if self.kind == "histogram" else 1

    def differs_from(self, other: "Declaration") -> str:
        """Name of the first thing in which two declarations of one name differ; empty when they are one metric."""
        for what in ("kind", "labels", "buckets", "livesum"):
            if getattr(self, what) != getattr(other, what):
                return _SPOKEN.get(what, what)
        return ""

    def check(self) -> None:
        """Raises ValueError, which says what is wrong, for what cannot be a metric here."""
        if len(self.name) > MAX_NAME or not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name[:MAX_NAME]!r} is no metric name: letters, digits and _, at most {MAX_NAME}")
        if self.name.startswith(RESERVED):
            raise ValueError(
                f"metric {self.name!r} of {self.module}: names that begin with {', '.join(RESERVED)} are Longshore's own"
            )
        if len(self.documentation) > MAX_TEXT:
            raise ValueError(f"metric {self.name!r}: its documentation has more than {MAX_TEXT} characters")
        self._check_labels()
        self._check_buckets()

    def _check_labels(self) -> None:
        if len(self.labels) > MAX_LABELS or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"metric {self.name!r}: it has more than {MAX_LABELS} labels, or one of them twice")
        for label in self.labels:
            if len(label) > MAX_NAME or not _NAME.fullmatch(label) or label.startswith("__"):
                raise ValueError(f"metric {self.name!r}: {label[:MAX_NAME]!r} is no name of a label")
            if label in _RESERVED_LABELS:
                raise ValueError(f"metric {self.name!r}: the label {label!r} is reserved")

    def _check_buckets(self) -> None:
        if self.kind != "histogram":
            return
        ordered = list(self.buckets) == sorted(set(self.buckets)) and all(map(math.isfinite, self.buckets))
        if not 1 <= len(self.buckets) <= MAX_BUCKETS or not ordered:
            raise ValueError(f"metric {self.name!r}: buckets are 1 to {MAX_BUCKETS} numbers in rising order")


class Declarations:
    """The metrics of the applications that this process has imported, by name."""

    def __init__(self) -> None:
        self.by_name: dict[str, Declaration] = {}
        self._closed = False

    def open(self) -> None:
        """Applications are about to be imported."""
        self._closed = False

    def close(self) -> None:
        """Applications have been imported: what comes later could not be told to the other processes."""
        self._closed = True

    def add(self, new: Declaration) -> None:
        """Raises ValueError for a declaration that is wrong or at odds with another, RuntimeError for a late one."""
        earlier = self.by_name.get(new.name)
        if self._closed and (earlier is None or earlier.differs_from(new)):
            raise RuntimeError(
                f"metric {new.name!r} of {new.module} was made after the applications were imported, inside a handler "
                "or a view: make it at the top of a module that is imported with the application"
            )
        new.check()
        if earlier is not None and (what := earlier.differs_from(new)):
            raise ValueError(
                f"metric {new.name!r} is declared in {earlier.module} and again in {new.module}, and the two differ in {what}"
            )
        if earlier is None:
            self._refuse_overlap(new)
            if len(self.by_name) >= MAX_METRICS:
                raise ValueError(f"metric {new.name!r} of {new.module}: there are {MAX_METRICS} metrics already")
            self.by_name[new.name] = new

    def _refuse_overlap(self, new: Declaration) -> None:
        names = {new.name + suffix for suffix in _SUFFIXES[new.kind]}
        for other in self.by_name.values():
            if both := names & {other.name + suffix for suffix in _SUFFIXES[other.kind]}:
                raise ValueError(
                    f"metric {new.name!r} of {new.module} and metric {other.name!r} of {other.module} "
                    f"would both write {sorted(both)[0]}"
                )


DECLARED = Declarations()
