"""A body in YAML, as for ``kubectl apply``.

YAML can cost far more than its bytes: aliases multiply, nesting ends the process, long numbers in base 60 take minutes. So
its events are looked at before anything is made of them. Both are done by libyaml, where PyYAML has it.
"""

import re
from typing import Any

import orjson
import yaml

from longshore.api.body_limits import TooLarge
from longshore.api.problems import NotJson

MAX_NODES = 50_000
"""Scalars, lists and mappings: a manifest of the largest array job."""
MAX_DEPTH = 100
MAX_NUMBER = 100
"""Characters of a number; a longer one means a mistake, and costs more than it should."""
_NUMBER = re.compile(r"[-+0-9._:]+")
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # which of the two is found out when it runs
    """YAML as JSON sees it: times stay text."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, regexp) for tag, regexp in rules if tag != "tag:yaml.org,2002:timestamp"]
    for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(data: bytes) -> tuple[bytes, Any]:
    """The body as JSON bytes and as data; raises NotJson, and TooLarge for more than ``MAX_NODES``."""
    try:
        _check_events(data)
        documents = [document for document in yaml.load_all(data, _Loader) if document is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise NotJson(f"the body is not YAML: {(str(error).splitlines() or [type(error).__name__])[0]}") from None
    if len(documents) != 1:
        raise NotJson(f"the body has {len(documents)} YAML documents; send one, or a batch")
    try:
        return orjson.dumps(documents[0]), documents[0]
    except TypeError as error:
        raise NotJson(f"the body has something that JSON does not know: {error}") from None


def _check_events(data: bytes) -> None:
    nodes = depth = 0
    for event in yaml.parse(data, _Loader):
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if nodes > MAX_NODES:
                raise TooLarge(f"the body has more than {MAX_NODES} values, which YAML may not have; send JSON")
            _check_node(event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise yaml.YAMLError(f"it is nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_node(event: yaml.NodeEvent) -> None:
    if isinstance(event, yaml.AliasEvent):
        raise yaml.YAMLError("aliases are not taken")
    if not isinstance(event, yaml.ScalarEvent) or event.style:
        return
    if len(event.value) > MAX_NUMBER and _NUMBER.fullmatch(event.value):
        raise yaml.YAMLError(f"a number has more than {MAX_NUMBER} characters; write a text in quotes")
