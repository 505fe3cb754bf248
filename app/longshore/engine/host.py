"""What every engine is, whoever gives it work: the host of slots, which drains, and says how it is."""

import secrets
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from prometheus_client.metrics_core import Metric

from longshore import tracing
from longshore.app_metrics.totals import Totals
from longshore.engine.app_health import AppHealth
from longshore.engine.attempt import Attempt, AttemptKey, Ended
from longshore.engine.echo import Echo
from longshore.engine.hello import HandlerInfo, Hello
from longshore.engine.journal import Journal
from longshore.engine.loop import Loop
from longshore.engine.metrics import EngineMetrics, gauge
from longshore.engine.operations import Operations
from longshore.engine.slots import SlotPool, SlotSettings
from longshore.engine.waiters import Waiters
from longshore.errors import AppError
from longshore.job.spec import rfc3339_at
from longshore.job.status import Outcome, Reason, disrupted
from longshore.job.trace_context import trace_id
from longshore.settings import Settings
from longshore.version import __version__


class SlotHost(ABC):
    """Owns the pool of slots and listens to it."""

    commands: Operations

    def __init__(self, loop: Loop, settings: Settings, journal: Journal,
                 children: Callable[[], Iterable[int]]) -> None:  # fmt: skip
        self.loop, self.settings, self.journal = loop, settings, journal
        self.boot = secrets.token_hex(4)
        self.worker = f"{socket.gethostname()}-{self.boot}"[:253]
        self.metrics = EngineMetrics()
        self.app_metrics = Totals(settings.metric_series, self._metric_full)
        self._tracing = tracing.wanted()
        self.waiters = Waiters(loop)
        self.app_health = AppHealth()
        self.pool = SlotPool(loop, _slot_settings(settings), self, journal, children)
        self.handlers: dict[str, HandlerInfo] = {}
        self.started = time.time()
        self.ready = self.draining = self.stopping = self.holding = False
        self.failure: AppError | None = None
        self._echoed: dict[AttemptKey, Echo] = {}
        self._idle: Callable[[], None] | None = None

    @staticmethod
    def now() -> float:
        """Seconds since the epoch."""
        return time.time()

    @abstractmethod
    def run(self, stop: Callable[[], bool]) -> None:
        """Turn after turn until ``stop`` says so."""

    @abstractmethod
    def free_slots(self) -> int:
        """Places that could take a job and are not promised to one."""

    # -- what the pool calls ---------------------------------------------------------------------------------

    @abstractmethod
    def progress(self, key: AttemptKey) -> None:
        """A job said how far it is."""

    @abstractmethod
    def ended(self, ended: Ended) -> None:
        """An attempt is over."""

    def pool_ready(self, handlers: list[HandlerInfo]) -> None:
        """The template knows these handlers."""
        self.handlers = {str(info["name"]): info for info in handlers}
        self.metrics.know(self.handlers)
        self.ready = True
        self.journal("ready", handlers=len(handlers), slots=self.pool.size, worker=self.worker)

    def declared(self, hello: Hello) -> None:
        """The metrics of the applications, and what they counted while they were imported: once, not per template."""
        self.app_metrics.declare(hello.declared)
        if not self.handlers:
            self.app_metrics.apply("template", hello.counted)

    def counted(self, place: int, changes: Sequence[object]) -> None:
        """A slot has counted for metrics of applications."""
        self.app_metrics.apply(f"slot {place}", changes)

    def newborn(self, place: int) -> None:
        """Another process comes into the place."""
        self.app_metrics.forget(f"slot {place}")

    def _metric_full(self, name: str) -> None:
        text = "more sets of label values than metric_series allows; further ones are dropped and counted"
        self.journal("metric_full", level="warning", metric=name, series=self.settings.metric_series, detail=text)

    def pool_failed(self, error: AppError) -> None:
        """The applications do not import."""
        self.cannot_start(error)

    def cannot_start(self, error: AppError) -> None:
        """A fault of the start, told to whoever started us; the first one, when there are several."""
        self.failure = self.failure or error

    def place_free(self) -> None:  # noqa: B027  # part of what the pool calls, and nothing to do here
        """The end of the turn sees it."""

    def slot_restarted(self, reason: str) -> None:
        """Counted."""
        self.metrics.slot_restarts.labels(reason).inc()

    def output(self, attempt: Attempt, data: bytes) -> None:
        """A job printed: echoed as far as allowed, and told to followers."""
        self.metrics.log_bytes.inc(len(data))
        if (echo := self._echoed.get(attempt.key)) is None:
            echo = self._echoed[attempt.key] = Echo(self.settings.log_echo_bytes)
        cut = echo.cut
        self.journal.job_output(attempt.job, attempt.key.uid, attempt.key.number, echo.add(data),
                                **self._trace(attempt.traceparent, attempt.key.uid))  # fmt: skip
        if echo.cut and not cut:
            self.journal("output_cut", job=attempt.job, kept_bytes=self.settings.log_echo_bytes)
        self.waiters.wake(("log", attempt.key.uid))

    def _run(self, attempt: Attempt) -> None:
        self.pool.run(attempt)
        if self.journal.debugging:
            self.journal("attempt_started", level="debug", job=attempt.job, namespace=attempt.namespace,
                         **_of_attempt(attempt.key), handler=attempt.handler, free=self.free_slots())  # fmt: skip

    def _count(self, ended: Ended, job: str, handler: str, traceparent: str) -> None:
        """Put the end of an attempt into metrics and log; the handler is empty for a command."""
        if (echo := self._echoed.pop(ended.key, None)) is not None:
            self.journal.job_output(
                job, ended.key.uid, ended.key.number, echo.rest(), **self._trace(traceparent, ended.key.uid)
            )
        if self.journal.debugging:
            self.journal("attempt_ended", level="debug", job=job, **_of_attempt(ended.key), outcome=ended.outcome.value,
                         reason=ended.reason, seconds=round(ended.run_seconds, 4))  # fmt: skip
        label = self.metrics.label(handler)
        self.metrics.series(self.metrics.finished, label, ended.outcome.value).inc()
        trace = traceparent.split("-")
        exemplar = {"trace_id": trace[1]} if len(trace) == 4 else None
        self.metrics.series(self.metrics.run, label, ended.outcome.value).observe(ended.run_seconds, exemplar)
        self.metrics.log_dropped.inc(ended.output.dropped)
        if disrupted(ended.outcome, ended.reason):
            self.metrics.disruptions.labels(ended.reason).inc()
        if ended.traceback:
            # In the attempt's output it is on its way to this log already, as lines of the job's own.
            fields = {"traceback": ended.traceback} if self.settings.tracebacks == "log" else {}
            self.journal("attempt_failed", level="warning", job=job, attempt=ended.key.number,
                         error=ended.error_type, message=ended.error_message, **fields, **self._trace(traceparent, ended.key.uid))  # fmt: skip

    def _trace(self, traceparent: str, uid: str) -> dict[str, str]:
        """The field that ties a log line to its trace; jobs without one have one of their own when traces are sent."""
        found = trace_id(traceparent, uid if self._tracing else "")
        return {"trace_id": found} if found else {}

    # -- drain -----------------------------------------------------------------------------------------------

    def drain(self, *, on: bool) -> None:
        """Take no new jobs and start none; running ones go on. After ``finish`` there is no way back."""
        on = on or self.stopping
        if on != self.draining:
            self.draining = on
            self.journal("draining" if on else "undrained", running=len(self.pool.running()))
            if on:
                self.waiters.wake_all()

    def finish(self, seconds: float, idle: Callable[[], None]) -> None:
        """Drain, and call ``idle`` once nothing runs and everything is told; what takes too long is stopped."""
        self.stopping = True
        self.drain(on=True)
        self._idle = idle
        self.loop.after(seconds, lambda: self._stop_running("its worker had to stop before it was done", None))
        self._check_idle()

    def hand_over(self, seconds: float, idle: Callable[[], None]) -> None:
        """Start no job any more but take them, and call ``idle`` as ``finish`` does: what waits is for the next engine."""
        self.holding = True
        self._idle = idle
        self.journal("reloading", running=len(self.pool.running()))
        self.loop.after(seconds, lambda: self._stop_running("its service was reloaded before it was done", None))
        self._check_idle()

    def hurry(self) -> None:
        """Somebody is impatient: stop what runs now."""
        self._stop_running("its worker had to stop at once", 0.0)

    def _stop_running(self, text: str, grace: float | None) -> None:
        for place in self.pool.running():
            attempt = place.attempt or place.next
            if attempt is not None:
                self.pool.stop(attempt.key, Outcome.DRAINED, Reason.DRAINED, text, grace)

    @abstractmethod
    def _settled(self) -> bool:
        """Whether somebody else knows the end of everything that ran here."""

    def _check_idle(self) -> None:
        if self._idle is not None and not self.pool.running() and self._settled():
            idle, self._idle = self._idle, None
            idle()

    # -- what it says of itself ------------------------------------------------------------------------------

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether jobs are taken now, and why not."""
        reasons = [reason for reason, true in self._obstacles() if true]
        return not reasons, {"reasons": reasons} if reasons else {}

    def probe(self) -> tuple[bool, dict[str, object]]:
        """What probes are told: the same, and whether the applications' readiness checks pass."""
        self.app_health.probed()
        ready, detail = self.health()
        if not self.app_health.failed:
            return ready, detail
        reasons = cast("list[str]", detail.get("reasons", []))
        return False, {**detail, "reasons": [*reasons, "health checks of applications"]}

    def _obstacles(self) -> list[tuple[str, bool]]:
        return [("draining", self.draining), ("starting", not self.ready)]

    def running_docs(self) -> list[dict[str, object]]:
        """What runs now."""
        return [
            {"job": place.attempt.job, "attempt": place.attempt.key.number, "index": place.attempt.key.index,
             "handler": place.attempt.handler, "slot": place.number, "startedAt": rfc3339_at(place.started_at),
             "seconds": round(time.monotonic() - place.started, 3)}
            for place in self.pool.running() if place.attempt is not None
        ]  # fmt: skip

    def status(self, *, details: bool) -> dict[str, object]:
        """Capacity, counts, age, version."""
        ready, detail = self.health()
        whole: dict[str, object] = {
            "version": __version__, "worker": self.worker, "boot": self.boot, "startedAt": rfc3339_at(self.started),
            "ready": ready, "draining": self.draining, **detail,
            "slots": {"total": self.pool.size, "busy": len(self.pool.running())}, **self._counts(),
        }  # fmt: skip
        if details:
            whole["running"] = self.running_docs()
        return whole

    @abstractmethod
    def _counts(self) -> dict[str, object]:
        """What the status says beside that."""

    def metric_families(self) -> list[dict[str, object]]:
        """Everything that is counted, and what is read off now."""
        return self.metrics.families(self._gauges()) + self.app_metrics.families()

    def _gauges(self) -> list[Metric]:
        return [
            gauge("engine_up", "Whether the engine answers.", [({}, 1)]),
            gauge("build_info", "Release.", [({"version": __version__}, 1)]),
            gauge("slots", "Jobs that can run at a time.", [({}, self.pool.size)]),
            gauge("slots_busy", "Jobs that run.", [({}, len(self.pool.running()))]),
            gauge("waiting_requests", "Requests that wait for a job.", [({}, len(self.waiters))]),
            gauge("draining", "Whether new jobs are refused.", [({}, int(self.draining))]),
        ]  # fmt: skip


def _of_attempt(key: AttemptKey) -> dict[str, object]:
    return {"uid": key.uid, "attempt": key.number, **({} if key.index is None else {"index": key.index})}


def _slot_settings(settings: Settings) -> SlotSettings:
    return SlotSettings(
        count=settings.slot_count, apps=settings.apps, strict=settings.strict,
        hook_seconds=settings.hook_seconds, token_seconds=settings.token_seconds,
        grace_seconds=settings.grace_seconds, max_jobs=settings.slot_max_jobs,
        max_age_seconds=settings.slot_max_age_seconds, max_growth_bytes=settings.slot_max_growth_bytes,
        log_head_bytes=settings.log_head_bytes, log_ring_bytes=settings.log_ring_bytes,
        tracebacks="output" if settings.dev else settings.tracebacks, dev=settings.dev,
    )  # fmt: skip
