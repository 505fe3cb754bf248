"""``/v1/queues``: policies and depths, and how to change them; ``/v1/pools``: who works on them."""

from flask import Blueprint, Response

from longshore.api import parse
from longshore.api.context import store
from longshore.api.guard import needs
from longshore.api.jobs import idempotency_key
from longshore.api.reply import reply

bp = Blueprint("queues", __name__)


@bp.get("/v1/queues")
def queues() -> Response:
    """All queues with policy and depth."""
    return reply({"items": store().queues()})


@bp.get("/v1/queues/<name:name>")
def queue(name: str) -> Response:
    """One queue."""
    return reply(store().queue(name))


@bp.get("/v1/pools/<name:name>")
def pool(name: str) -> Response:
    """A pool of workers, and why it has as many as it has."""
    return reply(store().pool(name))


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
