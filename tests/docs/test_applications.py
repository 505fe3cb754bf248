"""The examples of docs/applications.md, as the modules of one real service."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import Service

PAGE = Path(__file__).parent.parent.parent / "docs/applications.md"
FILES = re.compile(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with all modules of the page, and its settings file."""
    folder = tmp_path_factory.mktemp("examples")
    files = dict(FILES.findall(PAGE.read_text()))
    for name, text in files.items():
        (folder / name).write_text(text)
    modules = ",".join(name.removesuffix(".py") for name in files if name.endswith(".py"))
    service = Service(
        folder / "data",
        {"apps": modules, "path": folder, "config": folder / "longshore.toml", "app_shop_key": "k-123"},
    )
    service.start()
    yield service
    service.end()


def test_a_handler_has_the_settings_of_the_file(shop: Service) -> None:
    assert "bike to fr" == ship(shop, "fr")
    assert "not there" == ship(shop, "de")


def test_what_the_template_reads_is_in_its_slots(shop: Service) -> None:
    client = shop.client()
    job = client.submit({"handler": "price", "args": {"of": "book"}}, wait=20)
    assert 12 == client.result(job["id"])


def ship(shop: Service, country: str) -> object:
    """What the handler of the page returns."""
    client = shop.client()
    job = client.submit({"handler": "ship", "args": {"country": country}}, wait=20)
    return client.result(job["id"])


def test_a_view_submits_a_job_whose_handler_submits_another(shop: Service) -> None:
    id = shop.request("POST", "/orders/nl").json()["order"]

    assert {"done": "bike to nl"} == shop.request("GET", f"/orders/{id}").json()


def test_a_typed_view_checks_what_comes_in_and_is_documented(shop: Service) -> None:
    sent = shop.request("POST", "/parcels/fr?express=true", {"weight": 2.5})
    assert (201, {"country": "fr", "price": 5.0}) == (sent.status, sent.json())
    wrong = shop.request("POST", "/parcels/fr", {"weight": 0, "colour": "red"}).json()
    assert {"/weight", "/colour"} == {error["pointer"] for error in wrong["errors"]}

    document = shop.request("GET", "/openapi.json?applications=true").json()
    send = document["paths"]["/parcels/{country}"]["post"]
    assert "Send a parcel." == send["summary"]
    assert ["country", "express"] == [found["name"] for found in send["parameters"]]
    assert "/orders/{id}" in document["paths"]
