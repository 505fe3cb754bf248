"""Which namespaces' pods are workers, and whose jobs those may run.

A label or an annotation on a pod proves nothing: whoever may make pods writes both. So the operator's own setting
`pool_namespaces` names the namespaces, and what a pod's annotation asks for only narrows what the setting allows. A pod
of any other namespace is not followed: it is sent nothing and believed nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

EVERY = "*"
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class PoolNamespaces:
    """For each pool namespace the namespaces whose jobs its workers may run beside its own; ``*`` means all."""

    served: Mapping[str, frozenset[str]]

    def follows(self, namespace: str) -> bool:
        """Whether pods and Deployments of the namespace are workers and pools of this operator."""
        return namespace in self.served

    def narrow(self, namespace: str, asked: frozenset[str]) -> frozenset[str]:
        """Namespaces whose jobs a pod may run that asks for these; its own one always, nothing if it is not followed."""
        if namespace not in self.served:
            return frozenset()
        allowed, own = self.served[namespace], frozenset({namespace})
        if EVERY in asked:
            return allowed | own
        return own | (asked if EVERY in allowed else asked & allowed)


def parse(text: str) -> dict[str, frozenset[str]]:
    """From ``pool=served|served, pool, …``; raises ValueError that names the word.

    >>> parse("ls=*, team-a=jobs-a|jobs-b")["ls"]
    frozenset({'*'})
    """
    found: dict[str, frozenset[str]] = {}
    for entry in (part.strip() for part in text.split(",")):
        if not entry:
            continue
        namespace, _, rest = entry.partition("=")
        namespace = _checked(namespace)
        if namespace in found:
            raise ValueError(f"the namespace {namespace} stands there twice")
        words = [word.strip() for word in rest.split("|") if word.strip()]
        found[namespace] = frozenset(word if word == EVERY else _checked(word) for word in words)
    return found


def is_name(text: str) -> bool:
    """Whether it is a name that a namespace can have (a DNS label, RFC 1123)."""
    return _NAMESPACE.fullmatch(text) is not None


def _checked(name: str) -> str:
    name = name.strip()
    if not is_name(name):
        raise ValueError(f"{name[:80]!r} is no name of a namespace")
    return name
