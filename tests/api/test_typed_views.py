"""Views of applications whose type hints are their contract, and what the OpenAPI document says of them."""

from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
from flask import Blueprint, Response
from flask.testing import FlaskClient
from openapi_spec_validator import validate
from pydantic import BaseModel, ConfigDict, Field, RootModel

from longshore import typed
from longshore.api.app import create_app
from longshore.apps import Apps
from longshore.errors import AppError
from longshore.settings import Settings

HOST = {"Host": "localhost"}


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    size: int = Field(ge=0)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    colour: Colour = Colour.RED
    inner: Inner
    text: str = Field(alias="theText", default="")


class Query(BaseModel):
    limit: int = Field(default=10, le=20)
    """How many."""
    tags: list[str] = []
    colour: Colour | None = None


class Several(RootModel[list[Inner]]):
    """A list at the top."""


class Answer(BaseModel):
    """What comes back."""

    inner: Inner
    tags: list[str] = []


def blueprint() -> Blueprint:
    bp = Blueprint("own", __name__)

    @bp.post("/own/<int:number>/<uuid:id>")
    @typed(status=201)
    def both(number: int, id: object, body: Body, query: Query) -> Answer:
        """Do both.

        And more words.
        """
        return Answer(
            inner=Inner(size=body.inner.size + number), tags=[*query.tags, str(query.colour), body.text, str(id)]
        )

    @bp.post("/own/list")
    @typed
    def many(body: Several) -> list[Inner]:
        return body.root

    @bp.get("/own/wrong")
    @typed
    def wrong() -> Answer:
        return {"inner": 3}  # type: ignore[return-value]  # on purpose

    @bp.get("/own/plain")
    @typed
    def plain() -> Answer:
        return Response("as it is", 203)  # type: ignore[return-value]  # a view may

    @bp.route("/own/untyped/<name>", methods=["GET", "DELETE"])
    def untyped(name: str) -> str:
        """Say the name."""
        return name

    return bp


def client(*blueprints: tuple[str, Blueprint]) -> FlaskClient:
    store: Any = type("Store", (), {"backend": "engine"})()
    found = blueprints or ((__name__, blueprint()),)
    return create_app(store, Settings(), Apps({}, {}, tuple(found))).test_client()


UUID = "00000000-0000-4000-a000-000000000000"


def test_hints_are_the_contract_of_a_view() -> None:
    ask = client()
    body = {"inner": {"size": 1}, "theText": "t"}
    found = ask.post(f"/own/2/{UUID}?tags=a&tags=b&colour=blue", json=body, headers=HOST)
    assert (201, {"inner": {"size": 3}, "tags": ["a", "b", "Colour.BLUE", "t", UUID]}) == (
        found.status_code,
        found.json,
    )
    assert [{"size": 4}] == ask.post("/own/list", json=[{"size": 4}], headers=HOST).json
    assert (203, b"as it is") == ((plain := ask.get("/own/plain", headers=HOST)).status_code, plain.data)


@pytest.mark.parametrize(
    ("query", "sent", "status", "named"),
    [
        ("", {"inner": {"size": -1}}, 422, "/inner/size"),
        ("", {}, 422, "/inner"),
        ("", {"inner": {"size": 1}, "text": "by its inside name"}, 422, "/text"),
        ("", {"inner": {"size": 1}, "colour": "green"}, 422, "/colour"),
        ("", [], 422, ""),
        ("?limit=21", {"inner": {"size": 1}}, 422, "limit"),
        ("?limit=x", {"inner": {"size": 1}}, 422, "limit"),
        ("?limit=1&limit=2", {"inner": {"size": 1}}, 422, "limit"),
        ("?other=1", {"inner": {"size": 1}}, 422, "other"),
    ],
)
def test_what_does_not_fit_is_a_problem_that_names_it(query: str, sent: object, status: int, named: str) -> None:
    found = client().post(f"/own/2/{UUID}{query}", json=sent, headers=HOST)

    assert (status, "application/problem+json") == (found.status_code, found.content_type)
    assert found.json is not None
    assert named in [error.get("pointer", error.get("parameter")) for error in found.json["errors"]]


@pytest.mark.parametrize(
    ("data", "kind", "status"), [(b"{", "application/json", 400), (b"x", "text/plain", 415), (b"[" * 900 + b"]" * 900, "application/json", 422)]
)  # fmt: skip
def test_what_is_no_json_is_refused_as_elsewhere(data: bytes, kind: str, status: int) -> None:
    assert status == client().post("/own/list", data=data, content_type=kind, headers=HOST).status_code


def test_an_answer_that_does_not_fit_is_a_fault_of_the_view() -> None:
    assert 500 == client().get("/own/wrong", headers=HOST).status_code


def test_the_document_has_every_route_of_applications_when_it_is_asked_for() -> None:
    ask = client()
    plain, whole = (ask.get(f"/openapi.json{query}", headers=HOST).json for query in ("", "?applications=true"))
    assert plain is not None
    assert whole is not None
    assert not [path for path in plain["paths"] if path.startswith("/own")]

    validate(whole)
    both = whole["paths"]["/own/{number}/{id}"]["post"]
    assert ("Do both.", "And more words.") == (both["summary"], both["description"])
    named = {found["name"]: (found["in"], found["required"]) for found in both["parameters"]}
    path, query = ("path", True), ("query", False)
    assert {"number": path, "id": path, "limit": query, "tags": query, "colour": query} == named
    schema = both["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert {"colour", "inner", "theText"} == set(whole["components"]["schemas"][schema]["properties"])
    assert {"201", "400", "401", "403", "413", "415", "421", "422", "503"} == set(both["responses"])
    assert (
        "array"
        == whole["paths"]["/own/list"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]["type"]
    )
    untyped = whole["paths"]["/own/untyped/{name}"]
    assert {"get", "delete"} == set(untyped)
    assert "Say the name." == untyped["get"]["summary"]
    ids = [one["operationId"] for operations in whole["paths"].values() for one in operations.values()]
    assert len(ids) == len(set(ids))


def no_model(body: dict[str, int]) -> Answer: ...
def a_tuple() -> tuple[Answer, int]: ...
def no_json() -> Callable[[object], object]: ...
def no_type() -> "NotHere": ...  # type: ignore[name-defined]  # noqa: F821 - on purpose
async def later() -> Answer: ...


@pytest.mark.parametrize(
    ("view", "says"),
    [(no_model, "body has to be a pydantic model"), (a_tuple, "give the type of the answer alone"), (no_type, "a type cannot be told"),
     (later, "is async")],
)  # fmt: skip
def test_hints_that_are_no_contract_are_refused(view: Callable[..., Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        typed(view)
    with pytest.raises(ValueError, match="the status of an answer"):
        typed(status=204)(a_tuple)


def test_a_reserved_route_is_refused_with_both_modules() -> None:
    mine, other = Blueprint("mine", "shop.views"), Blueprint("other", "stock")
    mine.add_url_rule("/stock", "view", lambda: "")
    other.add_url_rule("/stock", "view", lambda: "")
    with pytest.raises(
        AppError,
        match=r"application 'shop' \(blueprint 'mine' of shop.views\) wants the route /stock.*by application 'stock'",
    ):
        client(("stock", other), ("shop", mine))
    probe = Blueprint("probe", "shop.views")
    probe.add_url_rule("/livez", "view", lambda: "")
    with pytest.raises(AppError, match="wants the route /livez, which is reserved: it is served by Longshore itself"):
        client(("shop", probe))
