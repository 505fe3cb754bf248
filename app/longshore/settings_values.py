"""How the values of settings are read: sizes with units, words in a list, paths, networks, tables of queues and of schedules."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from longshore.job.limits import QueuePolicy
from longshore.job.numerals import whole
from longshore.job.patterns import DNS_SUBDOMAIN, matches
from longshore.job.schedule import ScheduleSpec
from longshore.job.wording import sentence

_UNITS = {"": 1, "B": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30,
          "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}  # fmt: skip


MAX_SCHEDULE_NAME = 253
_LOOPBACK_NAMES = ("localhost", "ip6-localhost")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone; ``127.evil.example`` is a name that anybody can point anywhere."""
    host = host.strip("[]").lower()
    try:
        return host in _LOOPBACK_NAMES or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, whose address somebody else may choose
        return False


def _size(value: object) -> object:
    if not isinstance(value, str):
        return value
    digits = value.rstrip("kKMGiB ")
    unit = value[len(digits) :].strip()
    number = whole(digits.strip())
    if unit not in _UNITS or number is None:
        raise ValueError("write a number of bytes, such as 1048576 or 64MiB")
    return number * _UNITS[unit]


def _words(value: object) -> object:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def _path(value: object) -> object:
    return Path(os.path.expandvars(value)).expanduser() if isinstance(value, str) and value else value or None


_AS_WRITTEN = frozenset({"args", "env", "labels", "items", "fairness_weights"})  # their keys are data, not fields


def _camel_keys(value: object) -> object:
    """TOML keys in snake_case as the model's camelCase ones, at any depth."""
    if isinstance(value, list):
        return [_camel_keys(inner) for inner in value]
    if isinstance(value, dict):
        return {_camel(key): inner if key in _AS_WRITTEN else _camel_keys(inner) for key, inner in value.items()}
    return value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _queues(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {
        name: table if isinstance(table, QueuePolicy)
        else QueuePolicy.model_validate_json(orjson.dumps(_camel_keys(table)), by_alias=True, by_name=False)
        for name, table in value.items()
    }  # fmt: skip


def _schedules(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {_schedule_name(name): _schedule(name, table) for name, table in value.items()}


def _schedule_name(name: str) -> str:
    if len(name) > MAX_SCHEDULE_NAME or not matches(DNS_SUBDOMAIN, name):
        raise ValueError(f"{name[:100]!r} is no name of a schedule: write lower-case letters, digits, '-' and '.'")
    return name


def _schedule(name: str, table: object) -> ScheduleSpec:
    if isinstance(table, ScheduleSpec):
        return table
    try:
        raw = orjson.dumps(_camel_keys(table))  # times of TOML become text, as JSON has them
        return ScheduleSpec.model_validate_json(raw, by_alias=True, by_name=False)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, (name, *first["loc"])))
        raise ValueError(f"{where}: {sentence(first['type'], first['msg'])}") from None


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise ValueError(f"write addresses or networks, such as 10.0.0.0/8: {error}") from None
    return value


def _prefix(value: str) -> str:
    if value and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
        raise ValueError("write a path such as /longshore, without a slash at its end")
    return value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if value and (not host or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or int(port) > 65535):
        raise ValueError("write a host and a port, such as 127.0.0.1:5678")
    return value


Address = Annotated[str, AfterValidator(_address)]
Bytes = Annotated[int, BeforeValidator(_size), Field(ge=0)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
File = Annotated[Path | None, BeforeValidator(_path)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0, le=10 * 365 * 86_400, allow_inf_nan=False)]
Data = Annotated[Path, BeforeValidator(_path)]
Networks = Annotated[Words, AfterValidator(_networks)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Queues = Annotated[dict[str, QueuePolicy], BeforeValidator(_queues)]
Schedules = Annotated[dict[str, ScheduleSpec], BeforeValidator(_schedules)]
