"""An application with a route and a health check of its own, beside the jobs."""

from flask import Blueprint

from longshore import handler, health_check

blueprint = Blueprint("hello", __name__)


@blueprint.get("/hello")
def hello() -> dict[str, str]:
    """Say hello."""
    return {"message": "Hello from Longshore"}


@handler
def greet(name: str = "world") -> str:
    """Return a greeting."""
    return f"Hello, {name}"


@health_check
def arithmetic() -> None:
    """Fail when the world has changed."""
    if 1 + 1 != 2:
        raise RuntimeError("arithmetic is broken")
