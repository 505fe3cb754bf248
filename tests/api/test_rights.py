"""Where the rights of a cluster are asked for: every route of the url map, by the namespace that a request names."""

import re
from typing import Any

import pytest
from flask import Blueprint, Flask

from longshore.api.app import create_app
from longshore.api.auth import ClusterGuard
from longshore.apps import Apps
from longshore.errors import InvalidRequest, NotFound
from longshore.settings import Settings
from longshore.store.port import Subject
from rights_table import KNOWN_ONLY, NO_TOKEN, TABLE

OWN = "release"


class Books:
    """Who may do what where; notes what it was asked."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.asked: list[tuple[str, str, str]] = []

    def who(self, token: str) -> Subject | None:
        """One account."""
        return Subject("someone", "uid", ()) if token == "good" else None

    def may(self, subject: Subject, verb: str, resource: str, namespace: str) -> bool:
        """Everything in one namespace."""
        self.asked.append((verb, resource, namespace))
        return namespace == self._namespace


class Jobs:
    """A store of which only its namespaces matter: everything asked of it counts, and is not there."""

    backend = "kubernetes"
    strict_handlers = False

    def __init__(self, every: bool, namespace: str = OWN) -> None:
        self._every, self.namespace = every, namespace

    def in_namespace(self, namespace: str) -> "Jobs":
        """As in a cluster."""
        if namespace in ("", self.namespace):
            return self
        if not self._every:
            raise InvalidRequest("namespace: not served")
        return Jobs(self._every, namespace)

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: object, **__: object) -> None:
            raise NotFound(f"{name} was reached")

        return refuse


def application(rights_in: str, *, every: bool) -> tuple[Flask, Books]:
    refunds = Blueprint("refunds", __name__)
    refunds.add_url_rule("/refunds", "give", lambda: "given", methods=["GET", "POST"])
    settings, books = Settings(auth="kubernetes"), Books(rights_in)
    apps = Apps(handlers={}, blueprints=(("refunds", refunds),), health_checks={})
    store: Any = Jobs(every)
    return create_app(store, settings, apps, ClusterGuard(settings, books, OWN)), books


def address(route: str) -> str:
    return re.sub(r"<[^>]+>", "a-name", route)


def ask(app: Flask, method: str, path: str, token: str = "good") -> Any:
    headers = {"Authorization": f"Bearer {token}", "Host": "localhost"}
    with app.test_client().open(path, method=method, headers=headers) as answer:
        return answer


def test_the_table_has_every_rule_of_the_url_map() -> None:
    app, _ = application(OWN, every=False)
    rules = {
        (re.sub(r"<\w+:", "<", rule.rule), method)
        for rule in app.url_map.iter_rules() for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }  # fmt: skip
    listed = {(route, method) for route, method, *_ in TABLE}

    assert rules == listed | {(route, "GET") for route in KNOWN_ONLY | NO_TOKEN}


@pytest.mark.parametrize(("route", "method", "verb", "resource", "named"), TABLE)
def test_each_right_is_asked_for_in_its_namespace(
    route: str, method: str, verb: str, resource: str, named: bool
) -> None:
    path = address(route)
    ours = route != "/refunds"

    app, books = application(OWN, every=False)
    assert 403 != ask(app, method, path).status_code
    assert [(verb, resource, OWN)] == books.asked

    app, books = application("attacker", every=False)
    refused = ask(app, method, f"{path}?namespace=attacker")
    assert ((422, []) if ours else (403, [(verb, resource, OWN)])) == (refused.status_code, books.asked), "not served"

    app, books = application("attacker", every=True)
    answer = ask(app, method, f"{path}?namespace=attacker")
    assert [(verb, resource, "attacker" if named else OWN)] == books.asked
    assert named == (answer.status_code != 403)


@pytest.mark.parametrize("route", sorted(KNOWN_ONLY))
def test_what_shows_no_jobs_is_for_whoever_is_known(route: str) -> None:
    app, books = application("nowhere", every=False)

    assert (401, []) == (ask(app, "GET", address(route), token="bad").status_code, books.asked)
    assert (ask(app, "GET", address(route)).status_code in (200, 302, 404), books.asked) == (True, [])


@pytest.mark.parametrize("route", sorted(NO_TOKEN))
def test_probes_and_scrapes_need_no_token(route: str) -> None:
    app, _ = application(OWN, every=False)

    assert 401 != ask(app, "GET", address(route), token="").status_code


def test_the_checks_of_applications_need_a_token() -> None:
    app, books = application(OWN, every=False)
    statuses = [
        ask(app, "GET", path, token="").status_code for path in ("/readyz?verbose", "/readyz?verbose=1", "/healthz")
    ]

    assert ([401] * 3, []) == (statuses, books.asked)
    assert 403 != ask(app, "GET", "/readyz?verbose").status_code
    assert [("get", "jobs", OWN)] == books.asked
