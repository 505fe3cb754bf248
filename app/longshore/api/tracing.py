"""The span of a submit, which the job's trace goes on from; nothing here when nobody wants traces."""

import time

from flask import Flask, Response, g, request

from longshore import tracing

SUBMITS = frozenset({"jobs.submit", "jobs.submit_batch"})


def install(app: Flask) -> None:
    """Record submits, if traces are wanted."""
    tracing.prepare()
    if (recorder := tracing.start("api")) is None:
        return

    @app.before_request
    def _begin() -> None:
        if request.endpoint in SUBMITS:
            headers = {name: request.headers.get(name, "") for name in ("traceparent", "tracestate")}
            g.span, *context = recorder.begin_request(f"POST {request.url_rule}", headers)
            g.trace = tuple(context)

    @app.after_request
    def _status(response: Response) -> Response:
        if (span := g.pop("span", None)) is not None:
            span.set_attribute("http.response.status_code", response.status_code)
            ended = time.time_ns()
            response.call_on_close(lambda: span.end(ended))  # when the caller has the answer
        return response
