"""Callers of a cluster: their tokens are the cluster's, and so are their rights, on `jobs.longshore.dev`.

The right is asked for at the door, by the request's route (``rights``); the roles of the laptop (``needs``) have nothing
left to say.
"""

from flask import g, request

from longshore.api import rights
from longshore.api.context import store
from longshore.api.guard import SAFE, Guard, given_token, is_open
from longshore.api.tokens import ANYBODY, Token
from longshore.errors import Forbidden, Unauthenticated
from longshore.settings import Settings
from longshore.store.port import Reviewer

LONGEST_TOKEN = 16 * 1024


class ClusterGuard(Guard):
    """Asks the cluster who comes and what he may."""

    def __init__(self, settings: Settings, reviewer: Reviewer, namespace: str) -> None:
        super().__init__(settings)
        self._reviewer, self._namespace = reviewer, namespace

    def _caller(self) -> Token:
        if is_open() or self._is_docs():
            return ANYBODY
        token = given_token()
        known = token.isascii() and 0 < len(token) <= LONGEST_TOKEN
        subject = self._reviewer.who(token) if known else None
        if subject is None:
            raise Unauthenticated
        g.subject = subject
        return Token("admin", subject.name, "")

    def _admit(self) -> None:
        endpoint = request.endpoint
        if endpoint is None or is_open() or self._is_docs():
            return
        if endpoint in rights.PUBLIC and not request.args.get("applications"):
            return
        right = rights.right_of(endpoint, changes=request.method not in SAFE)
        namespace = self._namespace
        if rights.is_ours(endpoint):
            # Before any review: what is not served is nobody's to see, whatever rights a caller has there.
            named = store().namespace
            namespace = named if right.where is rights.Where.NAMED else namespace
        if not self._reviewer.may(g.subject, right.verb, right.resource, namespace):
            raise Forbidden(
                f"{g.caller.name} may not {right.verb} {right.resource}.longshore.dev in the namespace {namespace}"
            )
