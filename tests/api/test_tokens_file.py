"""A tokens file that changes under a running service: whatever is wrong with it, it never admits more than it says."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import eventually
from longshore.api.tokens import SharedSecret, Token, TokenFile, digest
from longshore.errors import SettingsError, Unavailable
from service import Service

LINE = f"admin boss {digest('boss')}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(LINE)
    path.chmod(0o600)
    return path


@pytest.fixture
def guarded(start_service: Callable[..., Service], file: Path) -> Iterator[Service]:
    return start_service(tokens_file=file)


def statuses(service: Service, *tokens: str) -> list[int]:
    return [
        service.request("GET", "/v1/status", headers={"Authorization": f"Bearer {token}"}).status for token in tokens
    ]


def test_a_file_that_is_gone_or_no_text_admits_nobody_and_says_so(guarded: Service, file: Path) -> None:
    assert [200] == statuses(guarded, "boss")

    file.unlink()
    gone = guarded.request("GET", "/v1/status", headers={"Authorization": "Bearer boss"})
    assert (503, "/problems/unavailable", "5") == (gone.status, gone.json()["type"], gone.headers["Retry-After"])
    assert [503] == statuses(guarded, "boss")
    assert 200 == guarded.request("GET", "/livez").status

    file.write_bytes(LINE.encode() + b"read caf\xe9 " + digest("cafe").encode() + b"\n")
    assert [503, 503] == statuses(guarded, "boss", "cafe")

    file.unlink()
    file.mkdir()
    assert [503] == statuses(guarded, "boss")
    file.rmdir()

    file.write_text(LINE)
    assert [200, 401] == statuses(guarded, "boss", "cafe")
    eventually(lambda: guarded.log.read_text().count("no token is valid until it can") == 1, what="one line about it")


def test_a_malformed_line_is_skipped_logged_and_counted(guarded: Service, file: Path) -> None:
    file.write_text(f"admin new {digest('new')}\nadmin half\nking boss {digest('boss')}\n")

    assert [200, 401] == statuses(guarded, "new", "boss"), "the line of boss was taken out"
    eventually(lambda: "skipped 2 malformed line(s), first at 2, 3" in guarded.log.read_text(), what="a line about it")
    metrics = guarded.request("GET", "/metrics", headers={"Authorization": "Bearer new"}).body.decode()
    assert "longshore_tokens_malformed_lines 2.0" in metrics


def test_a_file_that_cannot_be_read_stops_a_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read the tokens file"):
        TokenFile(tmp_path / "nowhere")


def test_a_replaced_file_of_the_same_size_and_time_counts(tmp_path: Path) -> None:
    import os

    path, other = tmp_path / "tokens", tmp_path / "other"
    path.write_text(f"admin aaaa {digest('aaaa')}\n")
    other.write_text(f"admin bbbb {digest('bbbb')}\n")
    os.utime(path, ns=(1, 1))
    os.utime(other, ns=(1, 1))
    tokens = TokenFile(path)
    other.replace(path)

    assert (None, Token("admin", "bbbb", digest("bbbb"))) == (tokens.find("aaaa"), tokens.find("bbbb"))


def test_an_unreadable_file_costs_a_question_not_the_service(file: Path) -> None:
    tokens = TokenFile(file)
    file.unlink()
    for _ in range(2):
        with pytest.raises(Unavailable):
            tokens.find("boss")
    file.write_text(LINE)

    assert Token("admin", "boss", digest("boss")) == tokens.find("boss")


@pytest.mark.parametrize(
    ("mode", "said"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o622, True), (0o644, True)]
)
def test_a_file_that_is_open_to_others_is_warned_about(
    file: Path, caplog: pytest.LogCaptureFixture, mode: int, said: bool
) -> None:
    file.chmod(mode)
    for read in (TokenFile, SharedSecret):
        caplog.clear()
        read(file)
        assert said == (f"is open to others (mode {mode:04o})" in caplog.text)


def test_a_service_with_an_open_tokens_file_says_so_and_serves(guarded: Service, file: Path) -> None:
    guarded.stop()
    file.chmod(0o644)
    guarded.start()

    assert "is open to others (mode 0644)" in guarded.log.read_text()
    assert [200] == statuses(guarded, "boss")
