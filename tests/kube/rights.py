"""What accounts may do on a real API server: asked for every verb of every resource that it has, in their own names."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from kube.control_plane import ControlPlane
from longshore_operator.kube import config as kube_config

SELF = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
AT_ONCE = 32
# Verbs that no path stands for, so that discovery does not list them.
MORE_VERBS = {
    "roles": ("bind", "escalate"), "clusterroles": ("bind", "escalate"), "serviceaccounts": ("impersonate",),
    "certificatesigningrequests": ("approve", "sign"),
}  # fmt: skip
UNSERVED = (("", "users", "impersonate"), ("", "groups", "impersonate"))  # resources that only rights know


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """A verb on a resource (``jobs/status`` is a subresource) in a namespace, or everywhere with ""."""

    namespace: str
    group: str
    resource: str
    verb: str


def of_rules(rules: Iterable[dict[str, Any]], namespaces: Sequence[str]) -> Iterator[Right]:
    """What rules of a role give there, without those for single names."""
    for rule in rules:
        if "resourceNames" in rule:
            continue
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield from (Right(namespace, group, resource, verb) for namespace in namespaces)


def everything(plane: ControlPlane, namespaces: Sequence[str]) -> list[Right]:
    """Every verb of every resource of discovery, in each of the namespaces and everywhere."""
    found = [Right("", *one) for one in UNSERVED]
    for group, version in _versions(plane):
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        for one in plane.must("GET", path)["resources"]:
            wheres = ["", *namespaces] if one["namespaced"] else [""]
            for verb in {*one["verbs"], *MORE_VERBS.get(one["name"], ())}:
                # A subresource may be of another group than its resource (scale); rights go by the resource's.
                found += [Right(where, group, one["name"], verb) for where in wheres]
    return sorted(set(found))


def _versions(plane: ControlPlane) -> Iterator[tuple[str, str]]:
    yield "", "v1"
    for group in plane.must("GET", "/apis")["groups"]:
        yield from ((group["name"], one["version"]) for one in group["versions"])


def allowed(
    plane: ControlPlane, account: tuple[str, str], rights: Sequence[Right], names: Sequence[str] = ("",)
) -> set[Right]:
    """Those of the rights that the account (its namespace and name) has on objects of the names, by its own question."""
    return asyncio.run(_allowed(plane.admin, account, rights, names))


async def _allowed(
    kubeconfig: Path, account: tuple[str, str], rights: Sequence[Right], names: Sequence[str]
) -> set[Right]:
    config = kube_config.load(str(kubeconfig))
    headers = {"Impersonate-User": "system:serviceaccount:{}:{}".format(*account)}
    connector = aiohttp.TCPConnector(limit=AT_ONCE, ssl=config.ssl_context())
    questions = iter([(right, name) for right in rights for name in names])
    found: set[Right] = set()

    async def ask(session: aiohttp.ClientSession) -> None:
        for right, name in questions:
            resource, _, subresource = right.resource.partition("/")
            about = {"namespace": right.namespace, "group": right.group, "resource": resource,
                     "subresource": subresource, "verb": right.verb, "name": name}  # fmt: skip
            async with session.post(config.server + SELF, json={"spec": {"resourceAttributes": about}}) as answer:
                said = await answer.json()
                assert answer.status == 201, said
                if said["status"]["allowed"]:
                    found.add(right)

    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await asyncio.gather(*(ask(session) for _ in range(AT_ONCE)))
    return found
