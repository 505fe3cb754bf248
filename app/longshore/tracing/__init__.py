"""Traces by OpenTelemetry: one from the request that submits a job to the spans inside its handler.

On when OpenTelemetry's own variables name a collector (``OTEL_EXPORTER_OTLP_ENDPOINT``), and off at no cost otherwise: this
module imports nothing, ``spans`` imports the SDK, which comes with ``longshore[tracing]``. Slots and the api process
start it, each for itself, because the thread that sends does not survive a fork.
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longshore.tracing.spans import Tracing

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def wanted() -> bool:
    """Whether a collector is named, and nobody has switched traces off."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(os.environ.get(name) for name in ENDPOINTS)


def prepare() -> None:
    """Import what ``start`` needs, so that processes which are forked from this one share it."""
    if wanted():
        try:
            import longshore.tracing.spans  # noqa: F401  # for its import alone
        except ImportError as error:
            sys.stderr.write(f"traces are not sent: {error}; install longshore[tracing]\n")


def start(role: str) -> "Tracing | None":
    """Begin to record and send spans in this process; None when nobody wants them, or the SDK is not there."""
    if not wanted():
        return None
    try:
        from longshore.tracing.spans import Tracing
    except ImportError:
        return None  # told by ``prepare``
    return Tracing(role)
