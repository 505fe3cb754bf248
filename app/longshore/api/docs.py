"""The OpenAPI document and the page that shows it; everything comes from this service, nothing from a CDN."""

from pathlib import Path

from flask import Blueprint, Response, send_from_directory

from longshore.api.reply import JSON
from longshore.errors import NotFound

bp = Blueprint("docs", __name__)
ui = Blueprint("ui", __name__)
worker = Blueprint("worker_docs", __name__)
FILES = Path(__file__).parent / "ui"
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "style.css")


@bp.get("/openapi.json")
def document() -> Response:
    """The description of this API, OpenAPI 3.1."""
    from longshore.api import openapi  # as below: it is rarely asked for, and a worker is to start quickly

    return Response(openapi.text(), content_type=JSON, headers={"Cache-Control": "max-age=300"})


@worker.get("/openapi.json", endpoint="document")
def worker_document() -> Response:
    """The description of a worker's API, OpenAPI 3.1."""
    from longshore.api import openapi_worker

    return Response(openapi_worker.text(), content_type=JSON, headers={"Cache-Control": "max-age=300"})


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
