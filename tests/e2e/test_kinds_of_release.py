"""Releases beside each other, in one namespace alone, and such as cannot work."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.release import Release

CALLERS = {"mode": "tokens", "existingSecret": "callers"}
NAMESPACED = {"scope": "namespaced", "crds": {"install": False}, "api": {"auth": CALLERS}}


@pytest.fixture
def other(release: Release) -> Iterator[Release]:
    """A second release, not installed yet, in a namespace that has a Secret of callers."""
    other = Release(release.node, release.images, "other", release.node.make_restricted_namespace())
    other.kubectl("create", "secret", "generic", "callers", "--from-literal=tokens=")
    yield other
    other.kubeconfig = other.plane.admin
    other.uninstall()


def test_a_release_of_one_namespace_runs_beside_one_of_the_cluster(release: Release, other: Release) -> None:
    other.install(NAMESPACED)

    for one in (release, other):
        one.submit("beside", handler="echo", args={"namespace": one.namespace})
    for one in (release, other):
        status = one.wait("beside")
        assert ("Succeeded", {"namespace": one.namespace}, 1) == (
            status["phase"], status["result"], status["attempts"],
        )  # fmt: skip
        assert [pod["metadata"]["name"] for pod in one.pods("worker")] == [status["history"][0]["worker"]]

    other.uninstall()
    release.submit("still", handler="echo")
    assert "Succeeded" == release.wait("still")["phase"]


def test_an_account_of_the_namespace_alone_can_install_it(other: Release) -> None:
    other.kubectl("create", "serviceaccount", "deployer")
    # Everything in its namespace, so that it has what it hands on, and nothing elsewhere.
    other.kubectl("create", "role", "deployer", "--verb=*", "--resource=*.*")
    whom = f"--serviceaccount={other.namespace}:deployer"
    other.kubectl("create", "rolebinding", "deployer", "--role=deployer", whom)
    other.kubeconfig = other.plane.service_account_kubeconfig(other.namespace, "deployer")

    other.install(NAMESPACED)

    other.submit("alone", handler="echo", args={"x": 1})
    assert "Succeeded" == other.wait("alone")["phase"]


@pytest.mark.parametrize("version", ["helm-3", "helm-4"])
def test_a_wrong_image_of_the_operator_is_named(other: Release, version: str) -> None:
    values = {**NAMESPACED, "operator": {"image": {"registry": "localhost", "repository": "nobody", "tag": "7"}}}
    other.version = version

    done = other.helm("install", other.name, "charts/longshore", "--wait", "--timeout=15s", values=values)

    assert done.returncode != 0
    assert "context deadline exceeded" in done.stderr, done.stderr
    if version == "helm-4":  # version 3 says no more than that
        assert f"{other.name}-operator" in done.stderr, done.stderr
    assert 'image "localhost/nobody:7"' in other.kubectl("get", "events")


def test_helm_4_installs_tests_upgrades_and_uninstalls(other: Release) -> None:
    other.version = "helm-4"

    other.install(NAMESPACED)
    done = other.helm("test", other.name)
    assert done.returncode == 0, done.stdout + done.stderr + other.story()
    other.upgrade({**NAMESPACED, "pools": {"default": {"slots": 2}}})
    other.submit("after", handler="echo")
    assert "Succeeded" == other.wait("after")["phase"]
    other.uninstall()

    assert not other.pods("worker")
    assert "Succeeded" == other.job("after")["status"]["phase"]


def test_a_missing_secret_is_named_by_the_notes_and_by_the_kubelet(
    other: Release, eventually: Callable[..., Any]
) -> None:
    other.kubectl("delete", "secret", "callers")
    done = other.helm("install", other.name, "charts/longshore", values=NAMESPACED)
    assert done.returncode == 0, done.stderr
    assert "until there is a Secret callers with the key tokens" in done.stdout
    (pod,) = other.pods("api")
    name = pod["metadata"]["name"]

    eventually(lambda: 'secret "callers" not found' in other.kubectl("get", "events"), seconds=60, what="an event")
    assert "ContainerCreating" in other.kubectl("get", "pod", name)
    assert 'secret "callers" not found' in other.kubectl("describe", "pod", name)

    other.kubectl("create", "secret", "generic", "callers", "--from-literal=tokens=")
    other.kubectl("rollout", "status", f"deployment/{other.deployment('api')}", "--timeout=85s")
