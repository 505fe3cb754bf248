"""Two operators in one cluster: a namespace has one of them, and the other one touches nothing there."""

from collections.abc import Iterator

import pytest

from kube.operators import Operator, Rig
from longshore_operator.ownership import LABEL

LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"


@pytest.fixture
def elsewhere(rig: Rig) -> Iterator[str]:
    """The namespace of the operator of all."""
    name = f"{rig.namespace}-all"
    rig.plane.must("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    rig.plane.request("DELETE", f"/api/v1/namespaces/{name}")


def operator_of_all(rig: Rig, elsewhere: str, **settings: object) -> Operator:
    """An operator of all namespaces, which leads; its own workers are those of the rig's namespace."""
    tokens = rig.folder / "word"
    tokens.write_text("word\n")
    given = {"lease_namespace": rig.namespace, "lease_name": "all", "token_file": tokens, "owner": "all", **settings}
    pools = f"{elsewhere},{rig.namespace}"
    folder, everything = rig.folder / "everywhere", ""
    operator = Operator(folder, rig.plane.admin, everything, pool_namespaces=pools, **given)
    rig.operators.append(operator)
    operator.start()
    operator.wait_for("took_over")
    return operator


def mark(rig: Rig, name: str, owner: str) -> None:
    """Say whose the rig's namespace is."""
    meta = {"name": name, "labels": {LABEL: "namespaced"}}
    rig.plane.must("POST", LEASES.format(rig.namespace), {"metadata": meta, "spec": {"holderIdentity": owner}})


def knows(operator: Operator, namespace: str, job: str) -> bool:
    return operator.ask(f"/v1/explain/{namespace}/{job}")[0] == 200


def test_an_operator_leaves_namespaces_alone_that_it_excludes(rig: Rig, elsewhere: str) -> None:
    of_all = operator_of_all(rig, elsewhere, exclude_namespaces=rig.namespace)
    rig.worker()
    rig.submit("ours")
    body = {"apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": "waits"}, "spec": {"handler": "x"}}  # fmt: skip
    # It is made after ours, so a watch that showed it has shown that one too.
    rig.plane.must("POST", rig.path.replace(rig.namespace, elsewhere), body)
    rig.until(lambda: knows(of_all, elsewhere, "waits"), "a job that is not excluded")

    assert not knows(of_all, rig.namespace, "ours")
    assert [] == of_all.ask("/v1/workers")[1]["items"]
    rig.leader()
    assert "Succeeded" == rig.end_of("ours")["phase"]
    assert [] == of_all.lines("worker_unreachable")


def test_a_marked_namespace_goes_to_its_owner_and_comes_back_with_the_end_of_the_marker(
    rig: Rig, elsewhere: str
) -> None:
    of_all = operator_of_all(rig, elsewhere)
    rig.worker()
    rig.submit("first")
    assert "Succeeded" == rig.end_of("first")["phase"], "no marker: it is the operator's that has all"

    mark(rig, "owner", "single")
    of_all.wait_for("namespace_of_another")
    rig.submit("second")
    single = rig.leader(owner="single")
    status = rig.end_of("second")
    assert ("Succeeded", 1) == (status["phase"], status["attempts"])
    assert not knows(of_all, rig.namespace, "second")
    assert [] == of_all.ask("/v1/workers")[1]["items"], "its workers are not counted"
    assert [] == single.lines("namespace_of_another")
    assert 1 == len(of_all.lines("namespace_of_another")), "said once"

    single.terminate()
    rig.plane.must("DELETE", f"{LEASES.format(rig.namespace)}/owner")
    of_all.wait_for("namespace_ours_again")
    rig.submit("third")
    assert "Succeeded" == rig.end_of("third")["phase"]


def test_of_two_operators_of_one_namespace_the_later_one_runs_nothing(rig: Rig) -> None:
    mark(rig, "a-later", "one")
    late = rig.leader(owner="two", lease_name="two")
    refused = late.lines("namespace_of_another")
    assert [("error", rig.namespace, "one")] == [(one["level"], one["namespace"], one["owner"]) for one in refused]
    rig.worker()
    rig.submit("job")
    rig.leader(owner="one")
    assert "Succeeded" == rig.end_of("job")["phase"]
    assert [] == late.lines("worker_reachable") + late.lines("worker_unreachable")
