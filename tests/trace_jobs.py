"""Handlers that record spans of their own."""

from opentelemetry import trace

from longshore import Context, handler

tracer = trace.get_tracer("trace_jobs")


@handler
def renders(fail_before: int = 0, *, ctx: Context) -> int:
    with tracer.start_as_current_span("draw"):
        print("drawing")
    if ctx.attempt <= fail_before:
        raise ValueError("not yet")
    return ctx.attempt
