"""The chart with its defaults on a real node, in a namespace that enforces `restricted`."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from e2e.images import ROOT, WORKER
from e2e.release import Release
from helm_chart import CHART

EXAMPLES = ROOT / "manifests/examples"
PRE_STOP = 5.0  # seconds that the api answers on, until no Service leads to it any more
KUBELET_LATE = 3.0  # seconds: what a busy machine adds to the 1 to 2 s that the kubelet needs around our part
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
# Asks the API server, as a pod would find it, with and without the token on standard input.
ASK = """
import json, ssl, sys, urllib.error, urllib.request
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for token in ("", sys.stdin.read().strip()):
    request = urllib.request.Request("https://kubernetes.default.svc/apis/longshore.dev/v1alpha1/jobs")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        print(urllib.request.urlopen(request, context=context, timeout=10).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


def test_helm_test_succeeds(release: Release) -> None:
    done = release.helm("test", release.name)

    assert done.returncode == 0, done.stdout + done.stderr + release.story()
    assert done.stdout.count("Phase:          Succeeded") >= 3


def test_a_test_that_fails_shows_its_log_and_leaves_nothing(release: Release) -> None:
    """Hooks are none of a release's own objects, so nobody would ever have removed them."""
    changed = release.helm("upgrade", release.name, str(CHART), "--reuse-values", "--set=tests.handler=nobody")
    assert changed.returncode == 0, changed.stderr
    try:
        done = release.helm("test", release.name)
    finally:
        release.helm("rollback", release.name)

    assert done.returncode != 0
    assert "nobody" in done.stdout + done.stderr
    left = release.kubectl("get", "pods,configmaps,roles,serviceaccounts", "--output=name").split()
    assert not [name for name in left if f"/{release.name}-test" in name]


def test_the_first_job_of_the_readme_finishes(release: Release) -> None:
    release.kubectl("apply", f"--filename={EXAMPLES}/hello.yaml")
    release.kubectl("wait", "--for=condition=Finished", "lsj/hello", "--timeout=60s")

    status = release.job("hello")["status"]
    assert ("Succeeded", "Hello, Kubernetes") == (status["phase"], status["result"])


@pytest.mark.parametrize("example", ["retry", "array", "priority", "queue", "schedule", "webhook", "delayed"])
def test_an_example_is_taken_and_does_what_it_says(release: Release, example: str) -> None:
    release.kubectl("apply", f"--filename={EXAMPLES}/{example}.yaml")

    jobs = {"priority": ["priority-low", "priority-high"], "queue": [], "schedule": [], "delayed": []}
    for name in jobs.get(example, [example]):
        assert "Succeeded" == release.wait(name)["phase"]
    if example == "retry":
        assert (3, 2) == tuple(release.job("retry")["status"][key] for key in ("attempts", "retries"))
    if example == "array":
        assert 3 == release.job("array")["status"]["items"]["succeeded"]
    if example == "delayed":
        release.kubectl("patch", "lsj", "delayed", "--type=merge", '--patch={"spec":{"cancel":true}}')
        assert "Cancelled" == release.wait("delayed")["phase"]


class Api:
    """The api's Service, as kubectl forwards it."""

    def __init__(self, release: Release, url: str) -> None:
        self._release, self._url = release, url

    def call(self, method: str, path: str, account: str = "", body: object = None) -> tuple[int, Any]:
        """Status and JSON, with a token of the ServiceAccount if one is named."""
        request = urllib.request.Request(self._url + path, method=method)
        if account:
            request.add_header("Authorization", f"Bearer {self._release.plane.token(self._release.namespace, account)}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture(scope="module")
def api(release: Release) -> Iterator[Api]:
    """Reached from outside the cluster; with two accounts, of which `sender` may make jobs and `stranger` nothing."""
    for account in ("sender", "stranger"):
        release.kubectl("create", "serviceaccount", account)
    release.kubectl("create", "role", "send", "--verb=create,get,list", "--resource=jobs.longshore.dev")
    release.kubectl("create", "rolebinding", "send", "--role=send", f"--serviceaccount={release.namespace}:sender")
    with release.forward(f"service/{release.name}-api", 80) as url:
        yield Api(release, url)


def test_a_job_over_http_needs_a_token_with_the_rights(api: Api) -> None:
    job = {"handler": "echo", "args": {"x": 1}}

    assert 401 == api.call("POST", "/v1/jobs", body=job)[0]
    status, problem = api.call("POST", "/v1/jobs", "stranger", job)
    assert 403 == status, problem
    status, made = api.call("POST", "/v1/jobs", "sender", job)
    assert 202 == status, made
    status, done = api.call("GET", f"/v1/jobs/{made['id']}?wait=30", "sender")
    assert (200, "Succeeded", {"x": 1}) == (status, done["status"]["phase"], done["status"]["result"])
    assert 403 == api.call("DELETE", f"/v1/jobs/{made['id']}", "sender")[0]


def test_a_worker_has_no_way_to_the_api_server(release: Release) -> None:
    (pod,) = release.pods("worker")
    worker = pod["metadata"]["name"]
    look = "import os, sys; sys.exit(os.path.exists(sys.argv[1]))"
    release.kubectl("exec", worker, "--", "python", "-c", look, ACCOUNT)

    # Not even with the token that it could get of its account.
    token = release.plane.token(release.namespace, pod["spec"]["serviceAccountName"])
    said = release.kubectl("exec", "--stdin", worker, "--", "python", "-c", ASK, input=token)

    assert ["403", "403"] == said.split()


def test_what_runs_is_what_the_dockerfile_made(release: Release) -> None:
    for component in ("worker", "api"):
        for pod in release.pods(component):
            assert release.images.tag(WORKER) == pod["status"]["containerStatuses"][0]["image"]


@pytest.mark.parametrize(("component", "seconds"), [("worker", 5), ("operator", 5), ("api", 5 + PRE_STOP)])
def test_an_idle_pod_ends_at_once(
    release: Release, eventually: Callable[..., Any], component: str, seconds: float
) -> None:
    def ended_in() -> float:
        (pod,) = release.pods(component)
        name, began = pod["metadata"]["name"], time.monotonic()
        release.kubectl("delete", "pod", name, "--wait=false")
        eventually(lambda: not release.there("pods", name), seconds=30, what=f"{name} is gone")
        took = time.monotonic() - began
        release.kubectl("rollout", "status", f"deployment/{release.deployment(component)}", "--timeout=60s")
        return took

    # What the machine adds once it does not add each time.
    assert any(ended_in() < seconds + KUBELET_LATE for _ in range(3))


def test_an_idle_worker_needs_little_of_that(release: Release) -> None:
    release.submit("before", handler="echo")  # so that the operator holds connections
    release.wait("before")
    (pod,) = release.pods("worker")
    with ThreadPoolExecutor(1) as reader:
        log = reader.submit(release.kubectl, "logs", "--follow", "--tail=20", pod["metadata"]["name"])
        release.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
        lines = [json.loads(line) for line in log.result(timeout=60).splitlines() if line.startswith("{")]

    at = {line["action"]: datetime.fromisoformat(line["time"]) for line in lines}
    assert (at["stopped"] - at["stopping"]).total_seconds() < 2
    release.kubectl("rollout", "status", f"deployment/{release.deployment('worker')}", "--timeout=60s")


def test_uninstall_leaves_the_definitions_and_nothing_else(release: Release, eventually: Callable[..., Any]) -> None:
    kinds = release.plane.kubectl("api-resources", "--verbs=list,delete", "--output=name", check=True).stdout.split()
    everything = ",".join(kind for kind in kinds if not kind.startswith("events"))

    whose = f"--selector=app.kubernetes.io/instance={release.name}"

    def left() -> set[str]:
        look = ("get", everything, "--all-namespaces", whose, "--output=name", "--ignore-not-found")
        return set(release.plane.kubectl(*look, check=True).stdout.split())

    assert len(left()) > 20

    release.uninstall()

    eventually(lambda: not left(), seconds=60, what="everything else is gone")
    assert "Succeeded" == release.job("hello")["status"]["phase"]  # the definitions stay, and so do the jobs
    rest = release.kubectl("get", "secrets,configmaps,roles,rolebindings,leases", "--output=name").split()
    assert [name for name in rest if f"/{release.name}-" in name or "longshore" in name] == []
