"""The service itself: what it can run, its queues, how it is, and the way out."""

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from longshore.api import parse
from longshore.api.context import parts, store
from longshore.api.guard import needs
from longshore.api.jobs import idempotency_key
from longshore.api.reply import reply
from longshore.errors import LongshoreError

bp = Blueprint("service", __name__)

LINKS = {
    "jobs": "/v1/jobs", "batch": "/v1/jobs:batch", "events": "/v1/events", "handlers": "/v1/handlers",
    "queues": "/v1/queues", "workers": "/v1/workers", "status": "/v1/status", "docs": "/docs",
    "openapi": "/openapi.json", "metrics": "/metrics", "live": "/livez", "ready": "/readyz", "health": "/healthz",
}  # fmt: skip


@bp.get("/")
def index() -> AnyResponse:
    """Browsers go to the documentation, programs get links."""
    if "text/html" in request.headers.get("Accept", "") and parts().settings.docs:
        return redirect("/docs")
    return reply({"links": LINKS})


@bp.get("/v1/")
def v1() -> Response:
    """Links."""
    return reply({"links": LINKS})


@bp.get("/v1/handlers")
def handlers() -> Response:
    """What can be run, with the JSON Schema of the arguments."""
    return reply({"items": store().handlers()})


@bp.get("/v1/queues")
def queues() -> Response:
    """All queues with policy and depth."""
    return reply({"items": store().queues()})


@bp.get("/v1/queues/<name:name>")
def queue(name: str) -> Response:
    """One queue."""
    return reply(store().queue(name))


@bp.patch("/v1/queues/<name:name>")
@needs("admin")
def change_queue(name: str) -> Response:
    """Lay fields over the policy; null gives a field back to the configuration."""
    return reply(store().set_queue(name, parse.an_object(parse.body()[1])))


@bp.post("/v1/queues/<name:name>:pause")
@needs("admin")
def pause(name: str) -> Response:
    """Start no more jobs of the queue."""
    idempotency_key({})
    return reply(store().set_queue(name, {"paused": True}))


@bp.post("/v1/queues/<name:name>:resume")
@needs("admin")
def resume(name: str) -> Response:
    """Go on."""
    idempotency_key({})
    return reply(store().set_queue(name, {"paused": False}))


@bp.get("/v1/workers")
def workers() -> Response:
    """Who runs jobs, and what runs now."""
    return reply({"items": store().workers()})


@bp.get("/v1/status")
def status() -> Response:
    """Capacity, counts, age, version."""
    return reply(store().status())


@bp.get("/v1/status/details")
def status_details() -> Response:
    """The same, with what runs now."""
    return reply(store().status(details=True))


@bp.post("/v1/admin:drain")
@needs("admin")
def drain() -> Response:
    """Take no new jobs and start none."""
    idempotency_key({})
    return reply(store().drain(on=True))


@bp.post("/v1/admin:undrain")
@needs("admin")
def undrain() -> Response:
    """Go on."""
    idempotency_key({})
    return reply(store().drain(on=False))


@bp.get("/livez")
def livez() -> Response:
    """The api process answers."""
    return reply({"status": "ok"})


@bp.get("/readyz")
def readyz() -> Response:
    """Whether jobs are taken now."""
    return _health(checks=parse.flag("verbose"))


@bp.get("/healthz")
def healthz() -> Response:
    """The same, with the applications' own checks."""
    return _health(checks=True)


def _health(*, checks: bool) -> Response:
    found: dict[str, str] = {}
    jobs = parts().store
    try:
        found[jobs.backend] = "ok" if jobs.status().get("ready") else "not ready"
    except LongshoreError as error:
        found[jobs.backend] = error.code
    if checks:
        for name, check in parts().apps.health_checks.items():
            found[name] = _passes(check)
    healthy = all(text == "ok" for text in found.values())
    body: dict[str, object] = {"status": "ok" if healthy else "not ready", "checks": found}
    return reply(body, 200 if healthy else 503, None if healthy else {"Retry-After": "1"})


def _passes(check: object) -> str:
    assert callable(check)
    try:
        check()
    except Exception as error:  # whatever an application's check raises means: not healthy
        return f"failed: {type(error).__name__}"
    return "ok"
