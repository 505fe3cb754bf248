"""What YAML files say that kubectl reads otherwise than their authors meant: warnings, before the job is submitted.

kubectl speaks YAML 1.1, where a plain `y`, `on` or `no` is a boolean, as a key too; and client-side `kubectl apply` loses
every key whose value is null. A file that is tried with `longshore submit -f` is often applied with kubectl later.
"""

from collections.abc import Iterator

import yaml

BOOLEANS = frozenset({"y", "yes", "on", "true", "n", "no", "off", "false"})
SURE = frozenset({"true", "false"})
"""Booleans that everybody means as such, where they are values."""
NULLS = frozenset({"", "~", "null"})
MOST = 10  # warnings of one file


def warnings(text: str) -> list[str]:
    """One sentence for each trap, at most ten; [] for a text that is no YAML, which its parser says better."""
    try:
        nodes = [node for node in yaml.compose_all(text, yaml.SafeLoader) if node is not None]
    except (yaml.YAMLError, RecursionError):
        return []
    found = [f"line {line}: {what}" for node in nodes for line, what in _traps(node)]
    rest = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    return found[:MOST] + rest


def _traps(document: yaml.Node) -> Iterator[tuple[int, str]]:
    """Line and sentence. The walk keeps its own stack, and looks at a node that has aliases once."""
    seen: set[int] = set()
    waiting: list[tuple[yaml.Node, bool]] = [(document, False)]
    while waiting:
        node, in_args = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(child, in_args) for child in reversed(node.value)]
            yield from (trap for child in node.value for trap in _value(child))
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                yield from _key(key)
                yield from _value(value)
                if in_args and _plain(value) in NULLS:
                    name = getattr(key, "value", "")
                    yield _line(value), f"client-side `kubectl apply` loses {name}, which is null; use --server-side"
            waiting += [(value, in_args or _plain(key) in ("args", "items")) for key, value in reversed(node.value)]


def _key(node: yaml.Node) -> Iterator[tuple[int, str]]:
    if (word := _plain(node)) is not None and word.lower() in BOOLEANS:
        truth = str(word.lower() in ("y", "yes", "on", "true")).lower()
        yield _line(node), f'kubectl reads the key {word} as "{truth}" (YAML 1.1); write "{word}" with quotes'


def _value(node: yaml.Node) -> Iterator[tuple[int, str]]:
    if (word := _plain(node)) is not None and word.lower() in BOOLEANS - SURE:
        yield _line(node), f'kubectl reads {word} as a boolean (YAML 1.1); write "{word}" with quotes, or true or false'


def _plain(node: yaml.Node) -> str | None:
    """The text of a scalar without quotes and without a tag of its own; None for everything else."""
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    return str(node.value) if plain else None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
