"""Who may come in: the Host header, the origin of a web page, the bearer token, the security headers."""

import os
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from flask import Flask, g, request

from longshore.api.compression import VARY, varies
from longshore.api.parse import basic_password, flag
from longshore.api.tokens import ANYBODY, OPERATOR, ROLES, SharedSecret, Token, TokenFile
from longshore.errors import Forbidden, RequestError, Unauthenticated
from longshore.job.attempts import NAMESPACE_HEADER
from longshore.job.numerals import whole
from longshore.settings import Settings

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
REQUEST_ID = "longshore.request_id"
PROBES = frozenset({"service.livez", "service.readyz"})
_VERBOSE, _DOCUMENT = "service.readyz", "docs.document"
# What they say is the same for every service of this release: no handler, queue, job or name of this one is in it.
DOCS = frozenset({"ui.page", "ui.asset", "docs.document"})

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

P = ParamSpec("P")
R = TypeVar("R")


class WrongHost(RequestError):
    """The Host header names somebody else."""

    code = "wrong-host"
    status = 421


class Guard:
    """Runs before every view."""

    def __init__(self, settings: Settings) -> None:
        self._tokens = TokenFile(settings.tokens_file) if settings.tokens_file else None
        self._docs = settings.docs
        self._hosts = (
            _LOOPBACK | {settings.host, *settings.allowed_hosts}
            if settings.loopback or settings.allowed_hosts
            else None
        )

    def install(self, app: Flask) -> None:
        """Guard every request of the application, the apps' own routes included."""
        app.before_request(self.check)
        app.wsgi_app = Decorated(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's own documentation does

    def measures(self) -> list[tuple[str, str, float]]:
        """Gauges about the tokens, as name, help and value; none without a file of them."""
        if self._tokens is None:
            return []
        return [
            ("longshore_tokens_file_readable", "1 while the tokens file can be read; without it no token is valid.",
             float(self._tokens.readable)),
            ("longshore_tokens_malformed_lines", "Lines of the tokens file that are skipped.",
             float(len(self._tokens.malformed))),
        ]  # fmt: skip

    def check(self) -> None:
        """Refuse who has no business here."""
        g.request_id = request.environ[REQUEST_ID]
        self._check_host()
        self._check_origin()
        g.caller = self._caller()
        self._admit()

    def _admit(self) -> None:
        """Refuse a caller without the right to look; what needs more says so at its view."""
        if not (is_probe() or self._is_docs()) and not g.caller.allows("read"):
            raise Forbidden

    def _check_host(self) -> None:
        # A web page can make a name of its own point at 127.0.0.1 (DNS rebinding); it cannot forge this header.
        name, colon, port = request.host.rpartition(":")
        host = name if colon and whole(port) is not None else request.host
        if self._hosts is not None and host not in self._hosts:
            raise WrongHost(f"this service does not answer for {host[:100]!r}; the setting allowed_hosts can name it")

    @staticmethod
    def _check_origin() -> None:
        if request.method in SAFE:
            return
        site = request.headers.get("Sec-Fetch-Site", "none")
        origin = request.headers.get("Origin")
        foreign = origin is not None and _netloc(origin) != request.host
        if foreign or site not in ("none", "same-origin"):
            raise Forbidden("a web page of another origin may not do this")

    def _caller(self) -> Token:
        if self._tokens is None or is_probe() or self._is_docs():
            return ANYBODY
        token = given_token()
        found = self._tokens.find(token) if token else None
        if found is None:
            raise Unauthenticated
        return found

    def _is_docs(self) -> bool:
        """Whether the request is for the page on which a browser can enter a token, or for its document."""
        if not self._docs or request.endpoint not in DOCS:
            return False
        # What applications serve is this service's own, and not for everybody.
        return request.endpoint != _DOCUMENT or not (request.query_string and flag("applications"))


def is_probe() -> bool:
    """Whether the request is a probe, which needs no token. ``/readyz?verbose`` is none: it runs applications' checks."""
    endpoint = request.endpoint
    if endpoint not in PROBES:
        return False
    return endpoint != _VERBOSE or not (request.query_string and flag("verbose"))


def is_open() -> bool:
    """Whether the request needs no token where others do: a probe, or a scrape, which says nothing of anybody's jobs."""
    return request.endpoint == "metrics" or is_probe()


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # a bracket that is not closed
        return ""


def given_token() -> str:
    """What the caller shows: a bearer token, or one as the password of a Basic authorization."""
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip() if kind.lower() == "bearer" else basic_password(secret) if kind.lower() == "basic" else ""


class Misdirected(RequestError):
    """The request is meant for another service, or for a worker of another namespace."""

    code = "misdirected"
    status = 421


class WorkerGuard(Guard):
    """Lets nobody but the operator into a worker; metrics and probes are open, and say nothing of jobs."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._docs = False  # nobody's browser looks at a worker
        assert settings.worker_tokens_file is not None
        self._values = SharedSecret(settings.worker_tokens_file)
        self._api = settings.api_url or "the api of this cluster"
        self._namespace = settings.namespace

    def _caller(self) -> Token:
        if request.path == "/v1/jobs" or request.path.startswith(("/v1/jobs/", "/v1/jobs:")):
            # Whoever sends jobs has the wrong address, and no token for this one.
            raise Misdirected(f"a worker takes no jobs; send them to {self._api}")
        if is_open():
            return ANYBODY
        if not self._values.matches(given_token()):
            raise Unauthenticated
        meant_for = request.headers.get(NAMESPACE_HEADER, "")
        if self._namespace and meant_for and meant_for != self._namespace:
            raise Misdirected(
                f"this worker is one of the namespace {self._namespace}, which the request is not meant for"
            )
        return OPERATOR


def needs(role: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A view that needs more than reading."""
    assert role in ROLES

    def wrap(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if not g.caller.allows(role):
                raise Forbidden(f"this needs the role {role}; the token {g.caller.name} has {g.caller.role}")
            return view(*args, **kwargs)

        return guarded

    return wrap


class Decorated:
    """Gives every request its id and every answer the headers that all have.

    WSGI and not ``after_request``: werkzeug's headers cost ten times as much, on the way of every job.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        given: str = environ.get("HTTP_X_REQUEST_ID", "")
        fits = given.isascii() and given.isprintable() and 0 < len(given) <= 128
        id = environ[REQUEST_ID] = given if fits else os.urandom(8).hex()

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
            if status.startswith(_WITHOUT_CONTENT):
                headers = [header for header in headers if header[0] not in _OF_CONTENT]
            known = dict(headers)
            headers = [*headers, ("X-Content-Type-Options", "nosniff"), ("X-Request-Id", id)]
            if "Cache-Control" not in known:
                headers.append(("Cache-Control", "no-store"))
            if varies(status, known) and "Vary" not in known:
                headers.append(VARY)
            if known.get("Content-Type", "").startswith("text/html"):
                headers += [header for header in _OF_PAGES if header[0] not in known]
            return start_response(status, headers, exc_info)

        return self._app(environ, start)


_WITHOUT_CONTENT = ("204", "304")
_OF_CONTENT = frozenset({"Content-Type", "Content-Length"})  # Flask names a type for content that there is not
_OF_PAGES = [
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy",
     ("default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
     "base-uri 'none'; form-action 'self'; frame-ancestors 'none'")),
]  # fmt: skip
