"""Metrics of applications that views count: sent to whoever keeps the totals, by the scrape and by requests.

A scrape sends what has gathered before it asks. Between scrapes the end of a request does, at most once in a second, so that
a process that is killed takes a second of counts with it and not all since the last scrape.
"""

from flask import Flask

from longshore.app_metrics.changes import CHANGES
from longshore.errors import LongshoreError
from longshore.store.port import ServicePort


def send(store: ServicePort) -> None:
    """Send what has gathered. Lost when the engine is away, whose totals begin anew then."""
    if changes := CHANGES.take():
        try:
            store.add_counts(changes)
        except LongshoreError:
            pass


def install(app: Flask, store: ServicePort) -> None:
    """After each request, look whether something has waited for a second."""

    @app.teardown_request
    def _send(_error: BaseException | None) -> None:
        if CHANGES.due():
            send(store)
