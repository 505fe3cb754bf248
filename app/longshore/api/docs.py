"""The OpenAPI document and the page that shows it; everything comes from this service, nothing from a CDN."""

from pathlib import Path

import orjson
from flask import Blueprint, Response, current_app, request, send_from_directory

from longshore.api import parse
from longshore.api.context import parts
from longshore.api.reply import JSON
from longshore.errors import NotFound

bp = Blueprint("docs", __name__)
ui = Blueprint("ui", __name__)
worker = Blueprint("worker_docs", __name__)
FILES = Path(__file__).parent / "ui"
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "style.css")


@bp.before_request
@ui.before_request
@worker.before_request
def _no_parameters() -> None:
    document = str(request.endpoint).endswith(".document")
    parse.known_parameters(*(("applications",) if document else ()), namespaced=False)


@bp.get("/openapi.json")
def document() -> Response:
    """The description of this API, OpenAPI 3.1; with ``applications``, for whoever may look, of their routes too."""
    from longshore.api import openapi  # as below: it is rarely asked for, and a worker is to start quickly

    return _document(openapi.text())


@worker.get("/openapi.json", endpoint="document")
def worker_document() -> Response:
    """The description of a worker's API, OpenAPI 3.1."""
    from longshore.api import openapi_worker

    return _document(openapi_worker.text())


def _document(text: bytes) -> Response:
    if parse.flag("applications"):
        text = _with_applications(text)
    if request.script_root:  # behind a proxy's prefix, which is where its reader finds the service
        whole = orjson.loads(text) | {"servers": [{"url": request.script_root}]}
        text = orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return Response(text, content_type=JSON, headers={"Cache-Control": "max-age=300"})


def _with_applications(text: bytes) -> bytes:
    known: dict[str, bytes] = current_app.extensions.setdefault("longshore.openapi", {})
    if "whole" not in known:
        from longshore.api.openapi_applications import with_applications

        known["whole"] = with_applications(text, current_app, parts().apps)
    return known["whole"]


@ui.get("/docs")
def page() -> Response:
    """The API in a browser."""
    return send_from_directory(FILES, "index.html")


@ui.get("/docs/<file>")
def asset(file: str) -> Response:
    """A file of the page."""
    if file not in ASSETS:
        raise NotFound(f"there is no file {file[:100]!r} here")
    response = send_from_directory(FILES, file)
    response.headers["Cache-Control"] = "max-age=3600"
    return response
