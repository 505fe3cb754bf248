"""``Counter``, ``Gauge`` and ``Histogram`` for applications, with the signatures of prometheus_client.

::

    from longshore import Counter, handler

    PAID = Counter("shop_paid", "Invoices paid.", ["currency"])

    @handler
    def pay(invoice: str, currency: str) -> None:
        PAID.labels(currency).inc()

They are not prometheus_client's own because those count within one process, and here every slot is one. Nothing
of that library is imported either: it would cost each slot a megabyte.
"""

import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal, Self

from longshore.app_metrics.changes import CHANGES, MOST, Key
from longshore.app_metrics.declared import DECLARED, MAX_VALUE, Declaration, Kind

DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class _Metric:
    """What the three have in common: a declaration, and the label values of a child."""

    def __init__(self, declaration: Declaration) -> None:
        DECLARED.add(declaration)
        self._declaration = declaration
        self._children: dict[tuple[str, ...], Self] = {}
        self._label_values: Key | None = None
        if not declaration.labels:
            self._become(())

    def labels(self, *labelvalues: object, **labelkwargs: object) -> Self:
        """The series with these values, in the order of the label names or by name; it shows at zero from now on.

        A value longer than 128 characters is cut. Raises ValueError when the values do not fit the label names.
        """
        values = self._values(labelvalues, labelkwargs)
        child = self._children.get(values)
        if child is None:
            child = object.__new__(type(self))
            child.__dict__.update(self.__dict__)
            child._become(values)
            if len(self._children) < MOST:
                self._children[values] = child
        return child

    def _values(self, positional: tuple[object, ...], named: dict[str, object]) -> tuple[str, ...]:
        names = self._declaration.labels
        if not names or self._label_values is not None:
            raise ValueError(f"metric {self._declaration.name!r} has no labels to be set here")
        if named:
            if positional or named.keys() != set(names):
                raise ValueError(f"metric {self._declaration.name!r} has the labels {', '.join(names)}")
            positional = tuple(named[name] for name in names)
        if len(positional) != len(names):
            raise ValueError(f"metric {self._declaration.name!r} has the labels {', '.join(names)}")
        return tuple(map(_text, positional))

    def _become(self, values: tuple[str, ...]) -> None:
        declaration = self._declaration
        self._label_values = (declaration.name, values)
        buckets = len(declaration.buckets) + 1 if declaration.kind == "histogram" else 0
        CHANGES.create(self._label_values, declaration.kind, buckets)

    @property
    def _key(self) -> Key:
        if self._label_values is None:
            raise ValueError(f"metric {self._declaration.name!r} needs its labels first: .labels(...)")
        return self._label_values


class Counter(_Metric):
    """Goes up alone; shown as ``name_total``."""

    def __init__(
        self, name: str, documentation: str, labelnames: Sequence[str] = (), namespace: str = "", subsystem: str = "",
        unit: str = "",
    ) -> None:  # fmt: skip
        name = name.removesuffix("_total")
        super().__init__(_declare("counter", name, documentation, labelnames, namespace, subsystem, unit))

    def inc(self, amount: float = 1) -> None:
        """Count ``amount``; raises ValueError when it is negative."""
        if amount < 0:
            raise ValueError("a counter only goes up: the amount may not be negative")
        CHANGES.add(self._key, amount)

    @contextmanager
    def count_exceptions(
        self, exception: type[BaseException] | tuple[type[BaseException], ...] = Exception
    ) -> Iterator[None]:
        """Count exceptions that leave the block, or the function that is decorated."""
        try:
            yield
        except exception:
            self.inc()
            raise


class Gauge(_Metric):
    """Goes up and down.

    ``multiprocess_mode`` says what the values of several processes make. ``mostrecent``: there is one value; ``set``
    replaces it, ``inc`` and ``dec`` change it, whatever process they come from. ``livesum``: each process has a value of its
    own, the sum is shown, and a process that ends takes its own away.
    """

    def __init__(
        self, name: str, documentation: str, labelnames: Sequence[str] = (), namespace: str = "", subsystem: str = "",
        unit: str = "", *, multiprocess_mode: Literal["mostrecent", "livesum"] = "mostrecent",
    ) -> None:  # fmt: skip
        if multiprocess_mode not in ("mostrecent", "livesum"):
            raise ValueError(
                f"gauge {name!r}: multiprocess_mode is mostrecent or livesum here, not {multiprocess_mode!r}"
            )
        found = _declare("gauge", name, documentation, labelnames, namespace, subsystem, unit,
                         livesum=multiprocess_mode == "livesum")  # fmt: skip
        super().__init__(found)

    def set(self, value: float) -> None:
        """The value from now on."""
        CHANGES.gauge(self._key, float(value), whole=True)

    def inc(self, amount: float = 1) -> None:
        """Up by ``amount``."""
        CHANGES.gauge(self._key, amount, whole=False)

    def dec(self, amount: float = 1) -> None:
        """Down by ``amount``."""
        CHANGES.gauge(self._key, -amount, whole=False)

    def set_to_current_time(self) -> None:
        """Seconds since the epoch."""
        self.set(time.time())

    @contextmanager
    def track_inprogress(self) -> Iterator[None]:
        """One more while the block, or the function that is decorated, runs; wants ``livesum``."""
        self.inc()
        try:
            yield
        finally:
            self.dec()

    @contextmanager
    def time(self) -> Iterator[None]:
        """Set it to the seconds that the block, or the function that is decorated, took."""
        with _timed(self.set):
            yield


class Histogram(_Metric):
    """Counts observations in buckets."""

    def __init__(
        self, name: str, documentation: str, labelnames: Sequence[str] = (), namespace: str = "", subsystem: str = "",
        unit: str = "", *, buckets: Sequence[float] = DEFAULT_BUCKETS,
    ) -> None:  # fmt: skip
        bounds = tuple(float(bound) for bound in buckets if bound != float("inf"))
        found = _declare("histogram", name, documentation, labelnames, namespace, subsystem, unit, buckets=bounds)
        super().__init__(found)

    def observe(self, amount: float) -> None:
        """Count ``amount``."""
        bounds = self._declaration.buckets
        CHANGES.observe(self._key, amount, bisect_left(bounds, amount), len(bounds) + 1)

    @contextmanager
    def time(self) -> Iterator[None]:
        """Observe the seconds that the block, or the function that is decorated, took."""
        with _timed(self.observe):
            yield


@contextmanager
def _timed(tell: Callable[[float], None]) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        tell(time.perf_counter() - began)


def _declare(
    kind: Kind, name: str, documentation: str, labelnames: Sequence[str], namespace: str, subsystem: str, unit: str,
    *, buckets: tuple[float, ...] = (), livesum: bool = False,
) -> Declaration:  # fmt: skip
    if isinstance(labelnames, str):
        raise ValueError(f"metric {name!r}: labelnames is a sequence of names, not one text")
    whole = "_".join(part for part in (namespace, subsystem, name) if part)
    if unit and not whole.endswith(f"_{unit}"):
        whole += f"_{unit}"
    # One frame up is the constructor, two the module that makes the metric.
    module = str(sys._getframe(2).f_globals.get("__name__", "?"))
    return Declaration(whole, kind, documentation, tuple(labelnames), buckets, livesum, module)


def _text(value: object) -> str:
    text = str(value)[:MAX_VALUE]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
