"""Settings of applications: where they come from, and what is said about wrong ones."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, Secret, SecretStr, create_model

from longshore import application_settings, settings, settings_file
from longshore.application_settings import DECLARED, app_settings, unclaimed
from longshore.errors import AppSettingsError, SettingsError

Place = Callable[..., None]


@dataclasses.dataclass
class Point:
    """A place on a map."""

    x: int
    y: int


class Mail(BaseModel):
    """A table within the table."""

    host: str = "localhost"
    port: int = 25


class Shop(BaseModel):
    """One field of each kind."""

    carrier: Literal["post", "bike"] = "post"
    parcels: int = Field(default=10, ge=1)
    rate: float | None = None
    open: bool = True
    countries: list[str] = []
    numbers: tuple[int, ...] | None = None
    mail: Mail = Mail()
    store: Point = Point(0, 0)
    names: str | list[str] = "none"
    key: SecretStr = SecretStr("")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Sets the environment and writes the settings file; both are as before when the test has ended."""
    before, declared = dict(os.environ), dict(DECLARED)
    DECLARED.clear()

    def write(toml: str = "", **environment: str) -> None:
        path = tmp_path / "longshore.toml"
        path.write_text(toml)
        os.environ.update(environment, LONGSHORE_CONFIG=str(path))

    yield write
    os.environ.clear()
    os.environ.update(before)
    DECLARED.clear()
    DECLARED.update(declared)


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(place: Place) -> None:
    place('[app.shop]\ncarrier = "bike"\nparcels = 3\n', LONGSHORE_APP_SHOP_PARCELS="4")
    found = app_settings("shop", Shop)

    assert ("bike", 4, True) == (found.carrier, found.parcels, found.open)
    sources = DECLARED["shop"].sources
    assert "LONGSHORE_APP_SHOP_PARCELS" == sources["parcels"]
    assert sources["carrier"].endswith("longshore.toml:2")
    assert "default" == sources["open"]
    assert "" == unclaimed()


def test_variables_that_the_application_chooses_count_after_its_own(place: Place) -> None:
    place(SHOP_PARCELS="5", PYMICRO="https://s", LONGSHORE_APP_SHOP_RATE="1.5", SHOP_RATE="9", SHOP_KEY="no")
    found = app_settings("shop", Shop, env_prefix="SHOP_", env_names={"key": "PYMICRO"})

    assert (5, 1.5, "https://s") == (found.parcels, found.rate, found.key.get_secret_value())


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("countries", "fr, nl", ["fr", "nl"]),
        ("countries", '["a,b"]', ["a,b"]),
        ("countries", "", []),
        ("numbers", "1,2", (1, 2)),
        ("open", "false", False),
        ("mail", '{"host": "mx", "port": 26}', Mail(host="mx", port=26)),
        ("store", '{"x": 1, "y": 2}', Point(1, 2)),
        ("names", "a,b", "a,b"),
        ("names", '["a"]', ["a"]),
    ],
)
def test_text_of_the_environment_is_read_as_the_field_wants_it(
    place: Place, field: str, text: str, value: object
) -> None:
    place(**{f"LONGSHORE_APP_SHOP_{field.upper()}": text})

    assert value == getattr(app_settings("shop", Shop), field)


@pytest.mark.parametrize(
    ("toml", "environment", "says"),
    [
        ("", {"PARCELS": "ten"}, ["'shop', setting parcels (from LONGSHORE_APP_SHOP_PARCELS)", "whole number"]),
        ("", {"CARRIER": "ship"}, ["setting carrier (from LONGSHORE_APP_SHOP_CARRIER)", "'post' or 'bike'"]),
        ("", {"MAIL": "{"}, ["setting mail (from LONGSHORE_APP_SHOP_MAIL)"]),
        ("\n[app.shop]\n\nparcels = 0", {}, ["setting parcels (from ", "longshore.toml:4)", "greater than or equal"]),
        ("[app.shop]\ncountries = [\n'a',\n1\n]", {}, ["setting countries.1 (from ", "longshore.toml:2)"]),
        ("app = { shop = { parcel = 1 } }", {}, ["setting parcel (from ", ":1)", "no such setting; did you mean parcels?"]),
        ("[app.shop.mail]\nhost = 'a'\nprt = 1", {}, ["setting mail.prt (from ", "there is no such setting"]),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_with_its_application_key_and_place(
    place: Place, toml: str, environment: dict[str, str], says: list[str]
) -> None:
    place(toml, **{f"LONGSHORE_APP_SHOP_{name}": text for name, text in environment.items()})
    with pytest.raises(AppSettingsError) as refused:
        app_settings("shop", Shop)

    assert [] == [part for part in says if part not in refused.value.message]
    assert "ten" not in refused.value.message.replace("setting", "")


class Needy(BaseModel):
    """Nothing works without its field."""

    key: SecretStr


def test_a_setting_that_has_to_be_there_says_how_to_set_it(place: Place) -> None:
    place()
    with pytest.raises(AppSettingsError, match=r"as LONGSHORE_APP_NEEDY_KEY or key in \[app.needy\]"):
        app_settings("needy", Needy)


@pytest.mark.parametrize(
    ("toml", "environment", "says"),
    [
        ("[app.shp]\nparcels = 1", {}, "no application here has settings 'shp'; there are those of shop"),
        ("", {"LONGSHORE_APP_SHP_PARCELS": "1"}, "no application here has settings 'shp_parcels'"),
        ("", {"LONGSHORE_APP_SHOP_PARCEL": "1"}, "'shop' has no setting parcel; did you mean LONGSHORE_APP_SHOP_PARCELS?"),
    ],
)  # fmt: skip
def test_a_setting_that_nobody_asked_for_is_found(
    place: Place, toml: str, environment: dict[str, str], says: str
) -> None:
    place(toml, **environment)
    app_settings("shop", Shop)

    assert says in unclaimed()
    assert next(iter(environment), "longshore.toml:1") in unclaimed()


def test_two_applications_cannot_have_one_name_or_one_variable(place: Place) -> None:
    place()
    app_settings("shop", Shop)
    app_settings("shop", Shop)  # the module was imported again
    with pytest.raises(ValueError, match="settings 'shop' are defined in .* and again in"):
        app_settings("shop", Mail)
    DECLARED.clear()
    app_settings("shop_mail", create_model("Two", port=(int, 1)))
    with pytest.raises(ValueError, match="both read LONGSHORE_APP_SHOP_MAIL_PORT"):
        app_settings("shop", create_model("Three", mail_port=(int, 1)))


def test_names_that_mean_nothing_are_refused(place: Place) -> None:
    place()
    with pytest.raises(ValueError, match="no name for settings"):
        app_settings("Shop-1", Shop)
    with pytest.raises(ValueError, match="the model has no such field"):
        app_settings("shop", Shop, env_names={"price": "PRICE"})


def test_what_is_shown_has_no_secret(place: Place) -> None:
    class Secrets(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)

        key: SecretStr = SecretStr("hush-1")
        pin: Secret[int] = Secret(4711)
        url: AnyUrl = AnyUrl("postgres://me:hush-2@host/db")
        urls: dict[str, list[str]] = {"all": ["redis://:hush@3@host", "http://plain/x:1@2"]}
        thing: object = pytest

    place()
    app_settings("secrets", Secrets)
    shown = DECLARED["secrets"].shown()

    assert "hush" not in str(shown)
    assert "4711" not in str(shown)
    assert "postgres://me:**********@host/db" == shown["url"]
    assert "http://plain/x:1@2" in str(shown["urls"])


def test_the_table_of_applications_is_none_of_the_services_own_settings(tmp_path: Path) -> None:
    file = tmp_path / "longshore.toml"
    file.write_text("port = 1\n[app.shop]\nparcels = 1\n")

    assert 1 == settings.load(environment={"LONGSHORE_APP_SHOP_PARCELS": "2"}, file=file).settings.port
    for wrong in ("app = ['shop']", "[app]\nshop = 1"):
        file.write_text(wrong)
        with pytest.raises(SettingsError, match="did you mean apps"):
            settings.load(environment={}, file=file)


LINES = st.lists(
    st.sampled_from(["# a comment", "", "other = 1", "text = '''\nkey = 3\n'''", "list = [\n 1,\n]"]), unique=True
)


@given(before=LINES)
def test_the_line_of_a_key_is_where_it_begins(before: list[str]) -> None:
    head = "\n".join(["[first]", *before, "[app.shop]", ""])
    text = f"{head}key = [\n1,\n2]\nlast = 1\n"

    assert head.count("\n") + 1 == settings_file.line_of(text, ("app", "shop", "key"))
    assert head.count("\n") + 4 == settings_file.line_of(text, ("app", "shop", "last"))


def test_the_prefix_is_the_one_that_the_service_leaves_alone() -> None:
    assert settings.APPLICATION_PREFIX == application_settings.PREFIX
