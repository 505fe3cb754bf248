"""Every account of the chart may do what is listed here and nothing else: asked for every verb of every resource there is."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from helm_chart import Object, kind, render
from kube.api_service import API_RIGHTS
from kube.control_plane import ControlPlane
from kube.rights import Right, allowed, everything, of_rules
from longshore_operator import rbac
from longshore_operator.kube.client import GROUP

CRDS = Path(__file__).parents[2] / "manifests/crds"
OWN_RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
# Kubernetes lets everybody with a name ask what he may and who he is.
EVERYBODY = {
    Right("", "authorization.k8s.io", "selfsubjectaccessreviews", "create"),
    Right("", "authorization.k8s.io", "selfsubjectrulesreviews", "create"),
    Right("", "authentication.k8s.io", "selfsubjectreviews", "create"),
}
# The api asks who a caller is, and whether he may.
DELEGATOR = {
    Right("", "authentication.k8s.io", "tokenreviews", "create"),
    Right("", "authorization.k8s.io", "subjectaccessreviews", "create"),
}
*API, _lease = API_RIGHTS
TEST = [{"apiGroups": [GROUP], "resources": ["jobs"], "verbs": ["create", "get"]}]


def plain(rules: tuple[rbac.Rule, ...]) -> list[dict[str, Any]]:
    return [{"apiGroups": [one.group], "resources": one.resources, "verbs": one.verbs} for one in rules]


OPERATOR, OPERATOR_OWN = plain(rbac.RULES), plain(rbac.OWN_RULES)


@dataclass(frozen=True)
class Release:
    """The accounts of a release in ``own``; ``watched`` is another namespace, with which a namespaced one has to do."""

    plane: ControlPlane
    mode: str
    own: str
    watched: str
    stranger: str
    objects: list[Object]

    @property
    def namespaces(self) -> list[str]:
        return [self.own, self.watched, self.stranger]

    def expected(self) -> dict[str, set[Right]]:
        """By account."""
        own = [self.own]
        jobs = {"default": ["", *self.namespaces], "all namespaces": ["", *self.namespaces],
                "namespaced": [self.own, self.watched]}[self.mode]  # fmt: skip
        answered = ["", *self.namespaces] if self.mode == "all namespaces" else own
        delegator = set() if self.mode == "namespaced" else DELEGATOR  # it would be a right in the whole cluster
        return {
            "ls-operator": {*of_rules(OPERATOR, jobs), *of_rules(OPERATOR_OWN, own)},
            "ls-api": {*of_rules(API, answered)} | delegator,
            "ls-pool-default": set(), "ls-worker-token": set(), "ls-test": {*of_rules(TEST, own)},
        }  # fmt: skip


VALUES: dict[str, dict[str, Any]] = {
    "default": {}, "all namespaces": {"api": {"allNamespaces": True}}, "namespaced": {"scope": "namespaced"},
}  # fmt: skip


@pytest.fixture(scope="module", params=VALUES, ids=lambda mode: mode.replace(" ", "-"))
def release(request: pytest.FixtureRequest, control_plane: ControlPlane) -> Iterator[Release]:
    """Accounts and roles as they are rendered, without pods."""
    control_plane.install_crds(CRDS)
    own, watched, stranger = (control_plane.make_namespace() for _ in range(3))
    values = dict(VALUES[request.param])
    if request.param == "namespaced":
        values |= {"watchNamespaces": [own, watched]}
    objects = [one for one in render(values, namespace=own) if one["kind"] in OWN_RIGHTS]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    control_plane.kubectl("apply", "--filename=-", input=listed, check=True)
    yield Release(control_plane, request.param, own, watched, stranger, objects)
    control_plane.kubectl("delete", "--filename=-", "--wait=false", input=listed, check=True)
    for namespace in (own, watched, stranger):
        control_plane.request("DELETE", f"/api/v1/namespaces/{namespace}")


def test_every_account_may_do_what_is_listed_and_nothing_else(release: Release) -> None:
    expected = release.expected()
    assert set(expected) == set(kind(release.objects, "ServiceAccount"))
    asked = everything(release.plane, release.namespaces)
    assert EVERYBODY <= set(asked)
    assert len(asked) > 1000

    for account, rights in expected.items():
        assert rights <= set(asked), f"{account}: a right on what is not there"
        found = allowed(release.plane, (release.own, account), asked)
        assert sorted(rights | EVERYBODY) == sorted(found), f"{account}: {sorted(found ^ (rights | EVERYBODY))}"


@pytest.mark.parametrize(
    ("account", "group", "resource", "name", "verbs"),
    [("ls-worker-token", "", "secrets", "ls-worker-token", {"get", "patch"}),
     ("ls-api", "coordination.k8s.io", "leases", "ls-operator", {"get"})],
    ids=["the token", "the lease"],
)  # fmt: skip
def test_a_right_on_one_object_is_on_no_other(
    release: Release, account: str, group: str, resource: str, name: str, verbs: set[str]
) -> None:
    asked = [
        one for one in everything(release.plane, release.namespaces) if (one.group, one.resource) == (group, resource)
    ]
    expected = {Right(release.own, group, resource, verb) for verb in verbs}

    assert expected == allowed(release.plane, (release.own, account), asked, names=[name])
    others = [other for other in ("", "other", "ls-operator", "ls-worker-token", "default") if other != name]
    assert set() == allowed(release.plane, (release.own, account), asked, names=others)


def test_no_other_right_names_single_objects(release: Release) -> None:
    named = {
        one["metadata"]["name"] for one in release.objects for rule in one.get("rules", ()) if "resourceNames" in rule
    }

    assert {"ls-worker-token", "ls-api-lease"} == named
