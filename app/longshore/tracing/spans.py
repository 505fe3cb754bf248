"""The spans: of a submit in the api process; of the wait and of each attempt in a slot.

Ids of attempts are made of the job's uid, its index and the number, so that the next attempt, in another process or on
another worker, can link to the one before without anything being stored. A job that came without a trace has its
uid as one. Spans are sent by a thread in batches; a collector that is dead, slow or speaks nonsense costs spans, which are
dropped beyond the SDK's queue, and nothing else.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Mapping
from contextvars import Token
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from longshore.job.trace_context import trace_id
from longshore.version import __version__

FLUSH_SECONDS: Final = 0.5  # at the end of a process; a cancel waits for the end of its slot
SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)

_propagator = TraceContextTextMapPropagator()


class _Ids(RandomIdGenerator):
    """Random ids, but for the next span when somebody has said which."""

    def __init__(self) -> None:
        self.next_trace = self.next_span = 0

    def generate_trace_id(self) -> int:
        found, self.next_trace = self.next_trace, 0
        return found or super().generate_trace_id()

    def generate_span_id(self) -> int:
        found, self.next_span = self.next_span, 0
        return found or super().generate_span_id()


Begun = tuple[trace.Span, contexts.Context, Token[contexts.Context]]


class Tracing:
    """Records and sends in this process."""

    def __init__(self, role: str) -> None:
        # The SDK's complaints about its collector would land in the output of jobs.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        self._ids = _Ids()
        name = os.environ.get("OTEL_SERVICE_NAME") or "longshore"
        resource = Resource.create({"service.name": name, "service.version": __version__, "longshore.role": role})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        if not isinstance(trace.get_tracer_provider(), TracerProvider):
            trace.set_tracer_provider(self._provider)  # for the spans of applications
        self._tracer = self._provider.get_tracer("longshore", __version__)

    def flush(self) -> None:
        """Send what is there, for half a second at most."""
        sending = threading.Thread(target=self._provider.force_flush, daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)

    # -- in the api process ----------------------------------------------------------------------------------

    def begin_request(self, name: str, headers: Mapping[str, str]) -> tuple[trace.Span, str, str]:
        """The span of a request, and the trace context that belongs to it: traceparent and tracestate."""
        span = self._tracer.start_span(name, _propagator.extract(headers), SpanKind.SERVER)
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(span))
        return span, carrier.get("traceparent", ""), carrier.get("tracestate", "")

    # -- in a slot -------------------------------------------------------------------------------------------

    def begin_attempt(self, job: Mapping[str, object]) -> Begun:
        """The span of an attempt, which is the current one from now on; ``job`` is a slot's run frame."""
        parent = _propagator.extract({name: str(job.get(name, "")) for name in ("traceparent", "tracestate")})
        uid, index, number = str(job["uid"]), job.get("index"), int(str(job["number"]))
        whole = int(trace_id(str(job.get("traceparent", "")), uid), 16)
        earlier = SpanContext(whole, _span_id(uid, index, number - 1), is_remote=True, trace_flags=SAMPLED)
        attributes: dict[str, str | int] = {"longshore.job": str(job["job"]), "longshore.uid": uid, "longshore.handler": str(job["handler"]),
                      "longshore.attempt": number}  # fmt: skip
        if index is not None:
            attributes["longshore.index"] = int(str(index))
        self._ids.next_trace, self._ids.next_span = whole, _span_id(uid, index, number)
        span = self._tracer.start_span(
            f"run {job['handler']}", parent, SpanKind.CONSUMER, attributes, [Link(earlier)] if number > 1 else None
        )
        self._ids.next_trace = 0  # not used by a span that has a parent
        own = trace.set_span_in_context(span)
        return span, parent if trace.get_current_span(parent).get_span_context().is_valid else own, contexts.attach(own)

    def end_attempt(self, begun: Begun, job: Mapping[str, object], done: Mapping[str, object], ended: int) -> None:
        """How it ended, at ``ended`` nanoseconds since the epoch; ``done`` is the slot's report, which has left already."""
        span, parent, token = begun
        contexts.detach(token)
        span.set_attribute("longshore.outcome", str(done.get("outcome", "")))
        if done.get("reason"):
            error = done.get("error")
            kind = str(error[0]) if isinstance(error, list | tuple) and error else ""
            span.set_attribute("longshore.reason", str(done["reason"]))
            span.set_attribute("error.type", kind)
            span.set_status(Status(StatusCode.ERROR, kind))
        span.end(ended)
        waited = job.get("waited")
        if isinstance(waited, int | float) and isinstance(span, ReadableSpan) and span.start_time is not None:
            wait = self._tracer.start_span("wait in queue", parent, start_time=span.start_time - int(waited * 1e9))
            wait.end(span.start_time)


def _span_id(uid: str, index: object, number: int) -> int:
    digest = hashlib.sha256(f"{uid}/{'' if index is None else index}/{number}".encode()).digest()
    return int.from_bytes(digest[:8]) or 1
