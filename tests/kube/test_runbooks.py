"""Every kubectl command of every runbook, from its own text, on a real API server with a release in it."""

import re
import shlex
from collections.abc import Callable

import pytest

from helm_chart import ROOT, parse, render
from kube.api_service import conditions_of
from kube.control_plane import ControlPlane
from kube.test_chart import text

RUNBOOKS = sorted((ROOT / "docs/runbooks").glob("*.md"))
# A command, not its name alone: `kubectl apply`.
COMMAND = re.compile(r"`(kubectl \S+ [^`]*-[^`]+)`")
COMMANDS = [(page.stem, command) for page in RUNBOOKS for command in COMMAND.findall(page.read_text())]
# Of pods that only stand there: nobody has a log, and that is all that may go wrong.
NO_KUBELET = "does not have a host assigned"


def test_every_command_says_in_which_namespace() -> None:
    vague = [one for one in COMMANDS if not re.search(r" (-A|-n NAMESPACE)\b", one[1])]

    assert len(COMMANDS) >= 25
    assert [] == vague


def kind(name: str) -> dict[str, str]:
    return {"apiVersion": "longshore.dev/v1alpha1", "kind": name}


@pytest.fixture
def release(cluster: ControlPlane, namespace: str, eventually: Callable[..., object]) -> dict[str, str]:
    """What each word of a runbook stands for, in a namespace that has it."""
    objects = [one for one in render({"crds": {"install": False}}, namespace=namespace)
               if one["kind"] in ("ServiceAccount", "Deployment", "Lease", "Secret")]  # fmt: skip
    cluster.kubectl("apply", "--filename=-", input=text(objects), check=True)
    group = f"/apis/longshore.dev/v1alpha1/namespaces/{namespace}"
    spec = {"handler": "echo"}
    cluster.must("POST", f"{group}/jobs", {**kind("Job"), "metadata": {"name": "one"}, "spec": spec})
    failed = {"phase": "Failed", "reason": "HandlerError", "error": {"type": "E", "message": "m"},
              "conditions": conditions_of("Failed")}  # fmt: skip
    cluster.must("PATCH", f"{group}/jobs/one/status", {"status": failed})
    cluster.must("POST", f"{group}/queues", {**kind("Queue"), "metadata": {"name": "q"}, "spec": {}})
    pods = f"/api/v1/namespaces/{namespace}/pods"
    template = {"containers": [{"name": "worker", "image": "none"}]}
    cluster.must("POST", pods, {"metadata": {"name": "a-pod"}, "spec": template})
    return {"NAMESPACE": namespace, "JOB": "one", "QUEUE": "q", "POD": "a-pod", "DEPLOYMENT": "ls-pool-default",
            "OPERATOR": "ls-operator"}  # fmt: skip


def test_every_command_does_what_its_runbook_says(cluster: ControlPlane, release: dict[str, str]) -> None:
    wrong = []
    # What deletes comes last.
    for page, command in sorted(COMMANDS, key=lambda one: " delete " in one[1]):
        words = shlex.split(re.sub(r"\b[A-Z]{3,}\b", lambda word: release.get(word[0], word[0]), command))[1:]
        if words[0] == "delete":
            words += ["--dry-run=server"]
        if words[0] == "logs" and words[-2].startswith("deployment/"):
            words[-2] = "a-pod"  # nobody makes pods of Deployments here
        done = cluster.kubectl(*words)
        if done.returncode and NO_KUBELET not in done.stderr:
            wrong.append((page, command, done.stderr))

    assert [] == wrong
    assert parse(cluster.kubectl("get", "lsq", "-n", release["NAMESPACE"], "q", "-o", "yaml", check=True).stdout)[0][
        "spec"
    ]["paused"]
