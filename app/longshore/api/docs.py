"""The OpenAPI document and the page that shows it; everything comes from this service, nothing from a CDN."""

from pathlib import Path

import orjson
from flask import Blueprint, Response, request, send_from_directory

from longshore.api import parse
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
    parse.known_parameters(namespaced=False)


@bp.get("/openapi.json")
def document() -> Response:
    """The description of this API, OpenAPI 3.1."""
    from longshore.api import openapi  # as below: it is rarely asked for, and a worker is to start quickly

    return _document(openapi.text())


@worker.get("/openapi.json", endpoint="document")
def worker_document() -> Response:
    """The description of a worker's API, OpenAPI 3.1."""
    from longshore.api import openapi_worker

    return _document(openapi_worker.text())


def _document(text: bytes) -> Response:
    if request.script_root:  # behind a proxy's prefix, which is where its reader finds the service
        whole = orjson.loads(text) | {"servers": [{"url": request.script_root}]}
        text = orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return Response(text, content_type=JSON, headers={"Cache-Control": "max-age=300"})


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
