"""The Flask application, put together: ``create_app`` is the only place that knows all its parts."""

from flask import Flask
from werkzeug.routing import BaseConverter

from longshore.api import docs, jobs, metrics, problems, service, streams
from longshore.api.context import Parts
from longshore.api.guard import Guard
from longshore.api.waiting import Budget
from longshore.apps import Apps
from longshore.errors import AppError
from longshore.settings import Settings
from longshore.store.port import JobStore

RESERVED = ("/v1", "/livez", "/readyz", "/healthz", "/metrics", "/openapi.json", "/docs", "/problems")


class IdConverter(BaseConverter):
    """The name of a job: without this, ``a1:cancel`` would be one."""

    regex = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
    part_isolating = True


class NameConverter(BaseConverter):
    """The name of a queue."""

    regex = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


def create_app(store: JobStore, settings: Settings, apps: Apps, guard: Guard | None = None) -> Flask:
    """The application over a store; raises AppError when an application wants a route that is ours."""
    app = Flask("longshore.api", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.url_map.converters |= {"id": IdConverter, "name": NameConverter}
    budget = Budget(settings.wait_threads)
    app.extensions["longshore"] = Parts(store, settings, apps, budget)
    problems.register(app)
    (guard or Guard(settings)).install(app)
    for blueprint in (jobs.bp, streams.bp, service.bp):
        app.register_blueprint(blueprint)
    if settings.docs:
        app.register_blueprint(docs.ui)
    app.register_blueprint(docs.bp)
    metrics.install(app, store, budget)
    _add_apps(app, apps)
    return app


def _add_apps(app: Flask, apps: Apps) -> None:
    for module, blueprint in apps.blueprints:
        ours = {rule.rule for rule in app.url_map.iter_rules()}
        app.register_blueprint(blueprint)
        for rule in app.url_map.iter_rules():
            if not rule.endpoint.startswith(f"{blueprint.name}."):
                continue
            reserved = any(rule.rule == path or rule.rule.startswith(f"{path}/") or rule.rule.startswith(f"{path}:")
                           for path in RESERVED)  # fmt: skip
            if reserved or rule.rule in ours or rule.rule.startswith("/<"):
                raise AppError(f"application {module!r} wants the route {rule.rule}, which is reserved")
