"""Who is sent what by the operator: the table of docs/security.md, walked through with real accounts."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.control_plane import ControlPlane
from kube.liar import Liar
from kube.marks import start_worker
from kube.operators import Operator, Rig
from longshore_operator.pool_tokens import derive
from worker_service import TOKEN

Json = dict[str, Any]
PAGE = Path(__file__).parents[2] / "docs/security.md"
ROOT = "the-root-secret-of-this-test-" + "x" * 20
NAMESPACES = ("ls", "team-a", "jobs-a", "elsewhere")


def table() -> list[list[str]]:
    """Rows of the page's table of who is sent what, without its head."""
    text = PAGE.read_text().partition("| a pod in |")[2]
    rows = [line.strip("| ").split("|") for line in text.partition("\n\n")[0].splitlines()[2:]]
    return [[re.sub("[`*]", "", cell).strip() for cell in row] for row in rows]


def words(cell: str) -> set[str]:
    return set() if cell == "none" else {word.strip() for word in cell.split(",")}


@dataclass
class World:
    """The four namespaces of the table by the names that they really have, and an operator of `ls`."""

    rig: Rig
    real: dict[str, str]
    operator: Operator
    liars: dict[str, Liar]

    def name(self, real: str) -> str:
        return next(name for name, given in self.real.items() if given == real)


def editor(plane: ControlPlane, namespace: str) -> Path:
    """An account that has the cluster's own role `edit` in one namespace and nothing else."""
    plane.must("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "guest"}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    subject = {"kind": "ServiceAccount", "name": "guest", "namespace": namespace}
    plane.must("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", {
        "metadata": {"name": "guest"}, "roleRef": role, "subjects": [subject]})  # fmt: skip
    return plane.service_account_kubeconfig(namespace, "guest")


def make_pod(world: World, name: str, liar: Liar) -> None:
    """As the editor of that namespace, with every label and annotation that could be believed."""
    namespace = world.real[name]
    labels = {
        "longshore.dev/pool": "default", "app.kubernetes.io/name": "longshore", "app.kubernetes.io/part-of": "longshore",
        "app.kubernetes.io/component": "api",
    }  # fmt: skip
    pod = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": f"liar-{name}", "labels": labels, "annotations": {"longshore.dev/serves-namespaces": "*"}},
        "spec": {"automountServiceAccountToken": False, "containers": [
            {"name": "w", "image": "x", "ports": [{"name": "http", "containerPort": liar.port}]}]},
    }  # fmt: skip
    plane = world.rig.plane
    plane.kubectl("apply", f"--namespace={namespace}", "--filename=-", input=yaml.safe_dump(pod),
                  kubeconfig=editor(plane, namespace), check=True)  # fmt: skip
    world.rig.kubelet.run(namespace, f"liar-{name}", liar.host)


def submit(world: World, name: str, job: str) -> Json:
    path = f"/apis/longshore.dev/v1alpha1/namespaces/{world.real[name]}/jobs"
    body = {
        "apiVersion": "longshore.dev/v1alpha1",
        "kind": "Job",
        "metadata": {"name": job},
        "spec": {"handler": "only-liars"},
    }
    found: Json = world.rig.plane.must("POST", path, body)
    return found


@pytest.fixture
def world(rig: Rig, tmp_path: Path) -> Iterator[World]:
    """Pods of strangers in all namespaces but the operator's own, where an honest worker runs."""
    real = {"ls": rig.namespace} | {name: rig.plane.make_namespace() for name in NAMESPACES[1:]}
    rig.kubeconfig = rig.plane.kubeconfig("operator-of-a-test", ["system:masters"])
    (tmp_path / "root").write_text(ROOT)
    with ExitStack() as stack:
        liars = {name: stack.enter_context(Liar(rig.kubelet.next_address()).serving()) for name in NAMESPACES[1:]}
        operator = rig.operator(
            leader_election=False, namespaces=",".join(real.values()), root_secret_file=tmp_path / "root",
            pool_namespaces=f"{real['ls']}, {real['team-a']}={real['jobs-a']}",
        )  # fmt: skip
        world = World(rig, real, operator, liars)
        for liar in liars.values():
            liar.say(handlers=["only-liars"], slots={"total": 50, "free": 50})
        for name, liar in liars.items():
            make_pod(world, name, liar)
        operator.wait_for("took_over")
        yield world
        for name in NAMESPACES[1:]:
            rig.plane.request("DELETE", f"/api/v1/namespaces/{real[name]}")


def test_the_table_of_the_security_page_is_what_the_operator_does(world: World) -> None:
    start_worker(world.rig, "worker-0")
    jobs = {submit(world, name, f"job-{name}")["metadata"]["uid"]: name for name in NAMESPACES}
    trusted = world.liars["team-a"]
    world.rig.until(lambda: {"team-a", "jobs-a"} <= {jobs[one["uid"]] for one in trusted.offers}, "offers")
    world.operator.wait_for("pod_not_followed", times=2)
    for liar in world.liars.values():  # lies about everybody's jobs, as ended and as running
        ends = []
        for uid in jobs:
            liar.ends(uid, 1)
            ends += liar.feed["entries"]
        liar.say(entries=ends)
        liar.say(running=[{"uid": uid, "number": 1} for uid in jobs])
    world.rig.submit("honest")
    assert "Succeeded" == world.rig.end_of("honest")["phase"]
    before = trusted.polls
    world.rig.until(lambda: trusted.polls > before + 3, "polls")
    tokens = {
        TOKEN: "ls",
        **{derive(ROOT, world.real[name], 1): name for name in NAMESPACES if name != "ls"},
    }

    def ended() -> set[str]:
        kind = "/apis/longshore.dev/v1alpha1/namespaces"
        found = {name: f"{kind}/{world.real[name]}/jobs/job-{name}" for name in NAMESPACES}
        return {
            name for name, path in found.items()
            if world.rig.plane.must("GET", path)["status"]["phase"] == "Succeeded"
        }  # fmt: skip

    rows = table()
    assert {"ls", "team-a", "jobs-a", "elsewhere"} == {row[0] for row in rows}
    for namespace, sent, runs, believed in rows:
        if namespace == "ls":
            continue  # the honest worker; a pod there may mount every Secret of the operator
        liar = world.liars[namespace]
        assert words(sent) == {tokens[token] for _, token in liar.heard}, namespace
        assert words(runs) == {jobs[one["uid"]] for one in liar.offers}, namespace
        if namespace == "team-a":
            told = words(believed)
            world.rig.until(lambda: told == ended(), "the ends that are believed")  # noqa: B023
    assert {world.real["team-a"]} == {namespace for namespace, _ in trusted.heard}


def test_the_token_of_one_namespace_opens_no_worker_of_another(world: World) -> None:
    worker = start_worker(world.rig, "worker-0")
    for namespace in ("team-a", "jobs-a", "elsewhere"):
        stolen = derive(ROOT, world.real[namespace], 1)
        answer = worker.ask("POST", "/v1/attempts", {"version": 1, "attempts": [worker.attempt()]}, token=stolen)
        assert 401 == answer.status
