"""A body in YAML, as for ``kubectl apply``."""

from typing import Any

import orjson
import yaml

from longshore.api.problems import NotJson


def parse(data: bytes) -> tuple[bytes, Any]:
    """The body as JSON bytes and as data; raises NotJson."""
    try:
        documents = [document for document in yaml.load_all(data, _Loader) if document is not None]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(f"the body is not YAML: {str(error).splitlines()[0]}") from None
    if len(documents) != 1:
        raise NotJson(f"the body has {len(documents)} YAML documents; send one, or a batch")
    try:
        return orjson.dumps(documents[0]), documents[0]
    except TypeError as error:
        raise NotJson(f"the body has something that JSON does not know: {error}") from None


class _Loader(yaml.SafeLoader):
    """YAML as JSON sees it: times stay text, and aliases, which can blow a small file up, are refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not taken")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, regexp) for tag, regexp in rules if tag != "tag:yaml.org,2002:timestamp"]
    for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
