"""Callers of a cluster: their tokens are the cluster's, and so are their rights, on `jobs.longshore.dev`.

The right is asked for at the door, by the request's route; the roles of the laptop (``needs``) have nothing left to say.
"""

from flask import g, request

from longshore.api import parse
from longshore.api.guard import OPEN, SAFE, Guard, given_token
from longshore.api.tokens import ANYBODY, Token
from longshore.errors import Forbidden, Unauthenticated
from longshore.settings import Settings
from longshore.store.port import Reviewer

LONGEST_TOKEN = 16 * 1024
# Probes, and metrics, which say nothing of anybody's jobs: scrapers seldom have a token.
_OPEN = OPEN | {"/metrics"}

# What a route does, in the words of a role. What is not here reads, or changes when its method is none of the safe ones.
RIGHTS = {
    "jobs.submit": ("create", "jobs"), "jobs.submit_batch": ("create", "jobs"), "jobs.delete": ("delete", "jobs"),
    "jobs.cancel": ("patch", "jobs"), "jobs.suspend": ("patch", "jobs"), "jobs.resume": ("patch", "jobs"),
    "jobs.redrive": ("patch", "jobs"), "jobs.find": ("list", "jobs"), "jobs.count": ("list", "jobs"),
    "streams.all_events": ("list", "jobs"), "queues.queues": ("list", "queues"), "queues.queue": ("get", "queues"),
    "queues.change_queue": ("patch", "queues"), "queues.pause": ("patch", "queues"),
    "queues.resume": ("patch", "queues"),
}  # fmt: skip
READ, CHANGE = ("get", "jobs"), ("patch", "jobs")
# Nobody's jobs: whoever the cluster knows may see them.
PUBLIC = frozenset({"service.index", "service.v1", "docs.document", "ui.page", "ui.asset", None})


class ClusterGuard(Guard):
    """Asks the cluster who comes and what he may."""

    def __init__(self, settings: Settings, reviewer: Reviewer, namespace: str) -> None:
        super().__init__(settings)
        self._reviewer, self._namespace = reviewer, namespace

    def _caller(self) -> Token:
        if request.path in _OPEN:
            return ANYBODY
        token = given_token()
        known = token.isascii() and 0 < len(token) <= LONGEST_TOKEN
        subject = self._reviewer.who(token) if known else None
        if subject is None:
            raise Unauthenticated
        g.subject = subject
        return Token("admin", subject.name, "")

    def _admit(self) -> None:
        if request.path in _OPEN or request.endpoint in PUBLIC:
            return
        namespace = parse.namespace() or self._namespace
        verb, resource = RIGHTS.get(str(request.endpoint), READ if request.method in SAFE else CHANGE)
        if not self._reviewer.may(g.subject, verb, resource, namespace):
            raise Forbidden(f"{g.caller.name} may not {verb} {resource}.longshore.dev in the namespace {namespace}")
