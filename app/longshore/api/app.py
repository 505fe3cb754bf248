"""The Flask application, put together: ``create_app`` is the only place that knows all its parts."""

from collections.abc import Iterable, Mapping

from flask import Blueprint, Flask, Response, request
from werkzeug.routing import BaseConverter

from longshore.api import (
    attempts,
    docs,
    jobs,
    metrics,
    problems,
    queues,
    schedules,
    service,
    streams,
    tracing,
    webhooks,
)
from longshore.api.checks import Checks
from longshore.api.compression import Compressed
from longshore.api.connections.refusals import ALLOWED
from longshore.api.context import Parts
from longshore.api.guard import Guard, WorkerGuard
from longshore.api.proxies import behind
from longshore.api.readiness import Readiness
from longshore.api.waiting import Budget
from longshore.apps import Apps
from longshore.errors import AppError
from longshore.settings import Settings
from longshore.store.port import AttemptPort, JobStore

# Polls of a worker's feed that may wait at a time: the operator's, and one of another that has not noticed that it was
# replaced. They have a budget of their own, so that followers of output cannot make the operator's polls busy ones.
POLLS = 2
RESERVED = ("/v1", "/livez", "/readyz", "/healthz", "/metrics", "/openapi.json", "/docs", "/problems")
RESERVED_NAMES = frozenset(
    {
        "attempts",
        "docs",
        "jobs",
        "longshore_webhooks",
        "metrics",
        "queues",
        "schedules",
        "service",
        "streams",
        "ui",
        "worker_docs",
    }
)


class _Api(Flask):
    def make_default_options_response(self) -> Response:
        """What a route takes, without content: nobody looks at a page of OPTIONS."""
        return _options(super().make_default_options_response().allow)


def _options(methods: Iterable[str]) -> Response:
    return Response(status=204, headers={"Allow": ", ".join(sorted(methods))})


def _options_of_the_service() -> Response | None:
    """``OPTIONS *`` asks about no route but the whole service (RFC 9110, 9.3.7)."""
    return _options(ALLOWED) if request.environ.get("RAW_URI") == "*" and request.method == "OPTIONS" else None


class IdConverter(BaseConverter):
    """The name of a job: without this, ``a1:cancel`` would be one."""

    regex = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
    part_isolating = True


class UidConverter(BaseConverter):
    """The uid of a job."""

    regex = r"[A-Za-z0-9][A-Za-z0-9-]{0,63}"


class NumberConverter(BaseConverter):
    """The number of an attempt; a larger one than there can be is no route."""

    regex = r"[0-9]{1,9}"

    def to_python(self, value: str) -> int:
        """As a number."""
        return int(value)


class NameConverter(BaseConverter):
    """The name of a queue."""

    regex = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


def create_app(store: JobStore, settings: Settings, apps: Apps, guard: Guard | None = None) -> Flask:
    """The application over a store; raises AppError when an application wants a route that is ours."""
    parts = Parts(
        store, settings, apps, Budget(settings.wait_threads), Budget(0), Readiness(store), Checks(apps.health_checks)
    )
    app = _application(
        parts, guard or Guard(settings), (jobs.bp, streams.bp, queues.bp, schedules.bp, webhooks.bp, docs.bp)
    )
    if settings.docs:
        app.register_blueprint(docs.ui)
    _add_apps(app, apps)
    return app


def create_worker(store: AttemptPort, settings: Settings, apps: Apps) -> Flask:
    """The same application in the role of a worker: attempts instead of jobs; raises AppError as above."""
    threads = settings.api_threads - 1  # the last one answers who does not wait
    polls = min(POLLS, threads)
    parts = Parts(
        store,
        settings,
        apps,
        Budget(min(settings.wait_threads, threads - polls)),
        Budget(polls),
        Readiness(store),
        Checks(apps.health_checks),
    )
    app = _application(parts, WorkerGuard(settings), (attempts.bp, docs.worker))
    _add_apps(app, apps)
    return app


def _application(parts: Parts, guard: Guard, blueprints: tuple[Blueprint, ...]) -> Flask:
    app = _Api("longshore.api", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = parts.settings.max_body_bytes
    app.url_map.converters |= {"id": IdConverter, "name": NameConverter, "uid": UidConverter, "number": NumberConverter}
    app.extensions["longshore"] = parts
    problems.register(app)
    guard.install(app)
    app.before_request(_options_of_the_service)
    for blueprint in (service.bp, *blueprints):
        app.register_blueprint(blueprint)
    tracing.install(app)
    metrics.install(app, parts.store, parts.budget, guard.measures)
    app.wsgi_app = behind(Compressed(app.wsgi_app), parts.settings)  # type: ignore[method-assign, assignment]  # as Flask's own documentation does
    return app


def _add_apps(app: Flask, apps: Apps) -> None:
    owners = {rule.rule: "Longshore itself" for rule in app.url_map.iter_rules()}
    for module, blueprint in apps.blueprints:
        where = f"application {module!r}"
        if blueprint.import_name != module:
            where = f"{where} (blueprint {blueprint.name!r} of {blueprint.import_name})"
        # Rights go by endpoint: one of ours that is not registered here, such as the page without `docs`, is no name to take.
        if blueprint.name in RESERVED_NAMES:
            raise AppError(f"{where} has a blueprint named {blueprint.name!r}, which is reserved")
        try:
            app.register_blueprint(blueprint)
        except Exception as error:  # whatever Flask has against it
            raise AppError(f"the routes of {where} cannot be served: {error}") from error
        for rule in list(app.url_map.iter_rules()):
            if rule.endpoint.startswith(f"{blueprint.name}."):
                _refuse_reserved(where, rule.rule, owners)
        own = [rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith(f"{blueprint.name}.")]
        owners |= dict.fromkeys(own, where)


def _refuse_reserved(where: str, rule: str, owners: Mapping[str, str]) -> None:
    if rule in owners:
        raise AppError(f"{where} wants the route {rule}, which is reserved: it is served by {owners[rule]}")
    reserved = any(rule == path or rule.startswith((f"{path}/", f"{path}:")) for path in RESERVED)
    if reserved or rule.startswith("/<"):
        raise AppError(f"{where} wants the route {rule}, which is reserved for Longshore itself")
