"""What the API server refuses, in the words of the api."""

from typing import Any

import pytest

from kube.control_plane import ControlPlane
from longshore.errors import InvalidRequest, NotFound, StoreUnavailable
from longshore.store.kubernetes.client import KubeClient, Target, longshore
from longshore.store.kubernetes.documents import Order
from longshore.store.kubernetes.measures import Measures
from longshore.store.kubernetes.refusals import AlreadyExists, Changed
from longshore.store.port import NewJob


@pytest.fixture
def client(cluster: ControlPlane) -> KubeClient:
    return KubeClient(cluster.admin, Measures())


def make(client: KubeClient, namespace: str, spec: bytes = b'{"handler":"echo"}', **more: Any) -> dict[str, Any]:
    one = Order(NewJob("a", True, spec, **more), "a", keyed=False, fingerprint="f")
    return client.post(longshore("jobs", namespace), one.resource(), fieldValidation="Strict")


@pytest.mark.parametrize(
    ("spec", "pointer", "says"),
    [
        (b'{"handler":"echo","command":["true"]}', "/spec", "exactly one of handler and command"),
        (b'{"handler":"echo","queue":"Mail"}', "/spec/queue", "should match"),
        (b'{"handler":"echo","retry":{"factor":0}}', "/spec/retry/factor", "greater than or equal to 1"),
        (b'{"handler":"echo","after":["a","B"]}', "/spec/after/1", "should match"),
        (b'{"handler":"echo","priority":"high"}', "/spec/priority", "must be of type integer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fields_are_named_by_pointers(client: KubeClient, namespace: str, spec: bytes, pointer: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as found:
        make(client, namespace, spec)

    named = {error["pointer"]: error["detail"] for error in found.value.errors}
    assert says in named[pointer], named
    assert not named[pointer].startswith("Invalid value")


def test_what_may_not_change_is_named(client: KubeClient, namespace: str) -> None:
    make(client, namespace)
    with pytest.raises(InvalidRequest) as found:
        client.patch(longshore("jobs", namespace).named("a"), {"spec": {"handler": "other"}})

    assert [{"pointer": "/spec/handler", "detail": "handler cannot be changed after creation"}] == found.value.errors


def test_conflicts_are_told_apart(client: KubeClient, namespace: str) -> None:
    made = make(client, namespace)
    jobs = longshore("jobs", namespace)
    with pytest.raises(AlreadyExists):
        make(client, namespace)
    client.patch(jobs.named("a"), {"spec": {"suspend": True}})
    with pytest.raises(Changed):
        client.patch(jobs.named("a"), {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]},
                                       "spec": {"suspend": False}})  # fmt: skip
    with pytest.raises(Changed):
        client.delete(jobs.named("a"), uid="11111111-1111-1111-1111-111111111111")
    client.delete(jobs.named("a"), uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        client.get(jobs.named("a"))


def test_what_is_not_installed_is_no_missing_job(client: KubeClient, namespace: str) -> None:
    unknown = Target("ships.longshore.dev", f"/apis/longshore.dev/v1alpha1/namespaces/{namespace}/ships", namespace)
    with pytest.raises(StoreUnavailable, match=r"does not know ships\.longshore\.dev"):
        client.get(unknown.named("a"))
    with pytest.raises(InvalidRequest, match="no namespace nowhere"):
        make(client, "nowhere")


def test_what_is_too_large_is_the_requests_fault(client: KubeClient, namespace: str) -> None:
    with pytest.raises(InvalidRequest, match="too large|Too long|must have at most"):
        make(client, namespace, b'{"handler":"echo","args":{"x":"' + b"x" * 1_700_000 + b'"}}')
