"""``/v1/queues``: policies and depths, and how to change them; ``/v1/pools``: who works on them."""

from flask import Blueprint, Response

from longshore.api import parse
from longshore.api.context import store
from longshore.api.guard import needs
from longshore.api.jobs import idempotency_key
from longshore.api.reply import queue as queue_reply
from longshore.api.reply import reply
from longshore.job.queue_changes import QueueChanges

bp = Blueprint("queues", __name__)


@bp.get("/v1/queues")
def queues() -> Response:
    """All queues with policy and depth."""
    parse.known_parameters()
    return reply({"items": store().queues()})


@bp.get("/v1/queues/<name:name>")
def queue(name: str) -> Response:
    """One queue."""
    parse.known_parameters()
    return queue_reply(store().queue(name))


@bp.get("/v1/pools/<name:name>")
def pool(name: str) -> Response:
    """A pool of workers, and why it has as many as it has."""
    parse.known_parameters()
    return reply(store().pool(name))


@bp.patch("/v1/queues/<name:name>")
@needs("admin")
def change_queue(name: str) -> Response:
    """Lay fields over the policy; null gives a field back to the configuration."""
    parse.known_parameters()
    raw, data = parse.body()
    changes = parse.an_object(data)
    parse.model(QueueChanges, raw)
    return _changed(name, changes)


def _changed(name: str, changes: dict[str, object]) -> Response:
    return queue_reply(store().set_queue(name, changes, only=parse.precondition().of_first_word()))


@bp.post("/v1/queues/<name:name>:pause")
@needs("admin")
def pause(name: str) -> Response:
    """Start no more jobs of the queue."""
    parse.known_parameters()
    idempotency_key({})
    return _changed(name, {"paused": True})


@bp.post("/v1/queues/<name:name>:resume")
@needs("admin")
def resume(name: str) -> Response:
    """Go on."""
    parse.known_parameters()
    idempotency_key({})
    return _changed(name, {"paused": False})
