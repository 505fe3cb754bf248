"""Where settings come from, and what is said about wrong ones."""

from pathlib import Path

import pytest

from longshore import settings
from longshore.errors import SettingsError


def refused(environment: dict[str, str], file: Path | None = None) -> str:
    with pytest.raises(SettingsError) as found:
        settings.load(environment=environment, file=file)
    return str(found.value)


def test_arguments_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('port = 1\nslots = 2\nlog_level = "error"\n')
    found = settings.load({"port": 3, "host": None}, {"LONGSHORE_PORT": "2", "LONGSHORE_SLOTS": "5"}, file)

    assert (3, 5, "error", "127.0.0.1") == (
        found.settings.port, found.settings.slots, found.settings.log_level, found.settings.host,
    )  # fmt: skip
    assert ("argument", "LONGSHORE_SLOTS", f"file {file}", "default") == tuple(
        found.sources[name] for name in ("port", "slots", "log_level", "host")
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_with_a_byte_order_mark_is_refused_by_that_name(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes("port = 1\n".encode(encoding))

    assert "byte order mark" in refused({}, file)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"LONGSHORE_PORT": "eighty"}, "port (from LONGSHORE_PORT)"),
        ({"LONGSHORE_PORT": "70000"}, "port (from LONGSHORE_PORT)"),
        ({"LONGSHORE_SLOT": "1"}, "did you mean LONGSHORE_SLOTS?"),
        ({"LONGSHORE_SYNCHRONOUS": "off"}, "full, normal"),
        ({"LONGSHORE_MAX_BODY_BYTES": "10 apples"}, "64MiB"),
        ({"LONGSHORE_HOST": "0.0.0.0"}, "longshore token new"),
        ({"LONGSHORE_WAIT_THREADS": "16"}, "wait_threads"),
        ({"LONGSHORE_COMMANDS": "perhaps"}, "commands"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(environment: dict[str, str], says: str) -> None:
    assert says in refused(environment)


def test_a_file_is_checked_as_strictly(tmp_path: Path) -> None:
    file = tmp_path / "longshore.toml"
    for text, says in (
        ("prot = 1", "did you mean port?"), ("port = ", "no TOML"), ("[queues.mail]\nconcurency = 1", "concurency"),
        ("[queues.mail]\nconcurrency = 0", "concurrency"),
        ("[schedules.x]\ncron = '61 * * * *'\njob_template.spec.handler = 'h'", "x.cron: minute: 61 is outside 0-59"),
        ("[schedules.x]\ncron = '@daily'\njob_template.spec.handler = 'h'\ntime_zone = 'Nowhere'", "x.timeZone: 'Nowhere'"),
        ("[schedules.x]\ncron = '@daily'", "x.jobTemplate: is missing"),
        ("[schedules.X]\ncron = '@daily'\njob_template.spec.handler = 'h'", "'X' is no name of a schedule"),
        ("[schedules]\nx = 1", "x: should be an object"),
    ):  # fmt: skip
        file.write_text(text)
        assert says in refused({}, file)
    assert "cannot read" in refused({}, tmp_path / "nowhere.toml")


def test_queues_come_from_tables_and_default_is_always_there(tmp_path: Path) -> None:
    file = tmp_path / "longshore.toml"
    file.write_text(
        '[queues.mail]\nconcurrency = 2\nrate_limit = { jobs = 5, per_seconds = 2.0 }\nfairness_weights = { "a_b" = 2.0 }\n'
    )
    policies = settings.load(environment={}, file=file).settings.queue_policies()

    assert {"default", "mail"} == set(policies)
    assert (2, 5, {"a_b": 2.0}) == (
        policies["mail"].concurrency, policies["mail"].rate_limit.jobs, policies["mail"].fairness_weights,
    )  # fmt: skip


def test_settings_survive_the_way_to_a_child(tmp_path: Path) -> None:
    file = tmp_path / "longshore.toml"
    file.write_text("[queues.mail]\nconcurrency = 2\n[schedules.x]\ncron = '@daily'\njob_template.spec.handler = 'h'\n")
    found = settings.load({"apps": "a, b", "data_dir": str(tmp_path)}, {}, file).settings

    assert found == settings.Settings.load_dump(found.dump())
    assert ("a", "b") == found.apps


def test_every_setting_says_what_it_means() -> None:
    for name, field in settings.Settings.model_fields.items():
        assert field.description, name
