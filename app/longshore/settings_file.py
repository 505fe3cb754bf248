"""The settings file, as it is read by the service and by the settings of its applications."""

import codecs
import os
from collections.abc import Mapping
from pathlib import Path

from longshore.errors import SettingsError

VARIABLE = "LONGSHORE_CONFIG"
DEFAULT_FILE = Path("longshore.toml")
_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def named_by(environment: Mapping[str, str]) -> Path | None:
    """The file that the environment names, else the one of the current folder if there is one."""
    if named := environment.get(VARIABLE):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def hand_on(path: Path | None) -> None:
    """Let the processes that this one starts find the file that it was told to read."""
    if path is not None:
        os.environ[VARIABLE] = str(path.absolute())


def read(path: Path) -> tuple[str, dict[str, object]]:
    """Text and tables of the file; raises SettingsError that says why it is no TOML."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from error
    if mark := next((name for mark, name in _MARKS if data.startswith(mark)), ""):
        raise SettingsError(
            f"the settings file {path} begins with a byte order mark of {mark}, "
            "which TOML does not have: save it as UTF-8 without one"
        )
    try:
        text = data.decode()
        return text, _parse(text)
    except ValueError as error:  # both of TOML and of UTF-8
        raise SettingsError(f"the settings file {path} is no TOML: {error}") from error


def line_of(text: str, keys: tuple[str, ...]) -> int:
    """Number of the line at which the key begins, from 1; ``keys`` is its way from the top.

    The parser tells no lines. So the file is parsed line by line, until the key is there: this is
    right for every way to write it, and slow, which a refusal may be.
    """
    lines, begins = text.splitlines(keepends=True), 1
    for count in range(1, len(lines) + 1):
        try:
            found: object = _parse("".join(lines[:count]))
        except ValueError:
            continue  # within a value of several lines, which is found at its end
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None:
            return begins
        begins = count + 1
    return 1


def _parse(text: str) -> dict[str, object]:
    import tomllib  # for those who have a file alone

    return tomllib.loads(text)
