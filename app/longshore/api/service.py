"""The service itself: what it can run, how it is, and the way out. The same in every role."""

from collections.abc import Mapping

from flask import Blueprint, Response, current_app, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from longshore.api import parse
from longshore.api.checks import OK
from longshore.api.context import parts, service
from longshore.api.guard import needs
from longshore.api.jobs import idempotency_key
from longshore.api.reply import reply
from longshore.errors import Unavailable

bp = Blueprint("service", __name__)

LINKS = {
    "jobs": "/v1/jobs", "batch": "/v1/jobs:batch", "events": "/v1/events", "handlers": "/v1/handlers",
    "queues": "/v1/queues", "schedules": "/v1/schedules", "webhooks": "/v1/webhooks", "attempts": "/v1/attempts", "workers": "/v1/workers", "status": "/v1/status", "docs": "/docs",
    "openapi": "/openapi.json", "metrics": "/metrics", "live": "/livez", "ready": "/readyz", "health": "/healthz",
}  # fmt: skip


@bp.before_request
def _only_known_parameters() -> None:
    # None of these routes is about a namespace.
    parse.known_parameters(*(("verbose",) if request.endpoint == "service.readyz" else ()), namespaced=False)


def _links() -> dict[str, str]:
    ours = {rule.rule for rule in current_app.url_map.iter_rules()}
    return {name: request.script_root + path for name, path in LINKS.items() if path in ours}


@bp.get("/")
def index() -> AnyResponse:
    """Browsers go to the documentation, programs get links."""
    if "text/html" in request.headers.get("Accept", "") and parts().settings.docs:
        return redirect(f"{request.script_root}/docs")
    return reply({"links": _links()})


@bp.get("/v1", strict_slashes=False)
def v1() -> Response:
    """Links."""
    return reply({"links": _links()})


@bp.get("/v1/handlers")
def handlers() -> Response:
    """What can be run, with the JSON Schema of the arguments."""
    return reply({"items": service().handlers()})


@bp.get("/v1/workers")
def workers() -> Response:
    """Who runs jobs, and what runs now."""
    return reply({"items": service().workers()})


@bp.get("/v1/status")
def status() -> Response:
    """Capacity, counts, age, version."""
    return reply(service().status())


@bp.get("/v1/status/details")
def status_details() -> Response:
    """The same, with what runs now."""
    return reply(service().status(details=True))


@bp.post("/v1/admin:drain")
@needs("admin")
def drain() -> Response:
    """Take no new jobs and start none."""
    idempotency_key({})
    return reply(service().drain(on=True))


@bp.post("/v1/admin:undrain")
@bp.delete("/v1/admin:drain")
@needs("admin")
def undrain() -> Response:
    """Go on."""
    idempotency_key({})
    return reply(service().drain(on=False))


@bp.post("/v1/admin:reload")
@needs("admin")
def reload() -> Response:
    """Go on with the new code: 202 when it imports; then jobs are taken, and start again under the new code."""
    idempotency_key({})
    return reply(service().reload(), 202)


@bp.get("/livez")
def livez() -> Response:
    """The api process answers, and no liveness check of an application fails."""
    if parts().checks.failed("liveness"):
        raise Unavailable("a liveness check of an application fails; /healthz says which")
    return reply({"status": "ok"})


@bp.get("/readyz")
def readyz() -> Response:
    """Whether jobs are taken now, and no readiness check fails; with ``verbose``, for whoever may look, all checks."""
    if parse.flag("verbose"):
        return _health(parts().checks.all())
    # Anybody may ask this: the names of the checks are for those who may look.
    failed = parts().checks.failed("readiness")
    return _health({"applications": "not ready"} if failed else {})


@bp.get("/healthz")
def healthz() -> Response:
    """The same, with all of the applications' own checks."""
    return _health(parts().checks.all())


def _health(checks: Mapping[str, str]) -> Response:
    found = {parts().store.backend: parts().readiness.now(), **checks}
    healthy = all(text == OK for text in found.values())
    body: dict[str, object] = {"status": "ok" if healthy else "not ready", "checks": found}
    return reply(body, 200 if healthy else 503, None if healthy else {"Retry-After": "1"})
