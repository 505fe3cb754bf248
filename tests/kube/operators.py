"""Real operators and workers for tests: processes on loopback, pods on a real API server."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kube.control_plane import ControlPlane
from kube.kubelet import Kubelet, Pod
from longshore_operator import rbac
from service import unchecked
from worker_service import TOKEN, Worker

Json = dict[str, Any]


class Operator:
    """``python -m longshore_operator`` with a kubeconfig."""

    def __init__(self, folder: Path, kubeconfig: Path, namespace: str, **settings: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tokens = folder / "worker-tokens"
        tokens.write_text(TOKEN + "\n")
        self.log = folder / "operator.log"
        self.tls = unchecked() if "tls_dir" in settings else None
        given = {
            "namespaces": namespace,
            "lease_namespace": namespace,
            "pool_namespaces": namespace,
            "worker_token_file": tokens,
            "port": 0,
            **settings,
        }
        self._environment = os.environ | {"KUBECONFIG": str(kubeconfig)} | {
            f"LONGSHORE_OPERATOR_{name.upper()}": str(value) for name, value in given.items()}  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; ``wait_for`` says when it leads."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "longshore_operator"], env=self._environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def lines(self, action: str) -> list[Json]:
        """What it has logged under that name."""
        found = []
        for line in self.log.read_text().splitlines():
            try:
                said = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(said, dict) and said.get("action") == action:
                found.append(said)
        return found

    def wait_for(self, action: str, times: int = 1, seconds: float = 60.0) -> None:
        """Until it has logged that so often."""
        limit = time.monotonic() + seconds
        while len(self.lines(action)) < times:
            assert time.monotonic() < limit, f"no {action}:\n{self.log.read_text()[-4000:]}"
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            time.sleep(0.05)

    def ask(self, path: str, token: str = "word") -> tuple[int, Json]:
        """What it answers on its own port."""
        port, scheme = self.lines("listening")[-1]["port"], "http" if self.tls is None else "https"
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{scheme}://127.0.0.1:{port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.tls) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def cpu_seconds(self) -> float:
        """What it has used since its start, user and system."""
        return sum(map(int, self._stat()[11:13])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Its resident memory."""
        return int(self._stat()[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _stat(self) -> list[str]:
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def terminate(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=30)


class Rig:
    """One namespace with operators, workers and their pods."""

    def __init__(self, plane: ControlPlane, kubelet: Kubelet, namespace: str, folder: Path) -> None:
        self.plane, self.kubelet, self.namespace, self.folder = plane, kubelet, namespace, folder
        self.kubeconfig = self._account()
        self.operators: list[Operator] = []
        self.workers: dict[str, Worker] = {}

    def _account(self) -> Path:
        """A service account with exactly the rights of longshore_operator.rbac."""
        name, group = "longshore-operator", "/apis/rbac.authorization.k8s.io/v1"
        self.plane.must("POST", f"/api/v1/namespaces/{self.namespace}/serviceaccounts", {"metadata": {"name": name}})
        subject = {"kind": "ServiceAccount", "name": name, "namespace": self.namespace}
        within = f"{group}/namespaces/{self.namespace}"
        self.plane.must("POST", f"{within}/roles", rbac.role("Role", name, rbac.RULES + rbac.OWN_RULES))
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
        self.plane.must("POST", f"{within}/rolebindings", binding)
        return self.plane.service_account_kubeconfig(self.namespace, name)

    # -- processes -------------------------------------------------------------------------------------------

    def operator(self, **settings: object) -> Operator:
        """Start an operator of this namespace."""
        number = len(self.operators)
        given = {"identity": f"operator-{number}", **settings}
        operator = Operator(self.folder / f"operator-{number}", self.kubeconfig, self.namespace, **given)
        self.operators.append(operator)
        operator.start()
        return operator

    def leader(self, **settings: object) -> Operator:
        """Start an operator and wait until it leads."""
        operator = self.operator(**settings)
        operator.wait_for("took_over")
        return operator

    def worker(self, name: str = "worker-0", *, pod: bool = True, ready: bool = True, **settings: object) -> Worker:
        """Start a worker and, unless told otherwise, its pod, which is ready."""
        address = self.kubelet.next_address()
        worker = self.workers[name] = Worker(self.folder / name, {"host": address, "slots": 2, **settings})
        worker.start(ready=ready)
        if pod:
            self.pod(name, ready=ready)
        return worker

    def pod(self, name: str, *, ready: bool = True) -> Pod:
        """The pod of a worker that runs."""
        worker = self.workers[name]
        return self.kubelet.add_pod(self.namespace, name, "default", worker.port, ip=worker.host, ready=ready)

    def close(self) -> None:
        """End every process, by pid."""
        for operator in self.operators:
            operator.kill()
        for worker in self.workers.values():
            worker.end()

    # -- jobs ------------------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Of this namespace's jobs."""
        return f"/apis/longshore.dev/v1alpha1/namespaces/{self.namespace}/jobs"

    def submit(self, name: str, handler: str = "echo", **spec: object) -> Json:
        """Create a Job."""
        body = {
            "apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": name},
            "spec": spec if "command" in spec else {"handler": handler, **spec},
        }  # fmt: skip
        found: Json = self.plane.must("POST", self.path, body)
        return found

    def job(self, name: str) -> Json:
        """As the API server has it."""
        found: Json = self.plane.must("GET", f"{self.path}/{name}")
        return found

    def status(self, name: str) -> Json:
        """Its status."""
        found: Json = self.job(name)["status"]
        return found

    def patch(self, name: str, **spec: object) -> None:
        """Change what may be changed of its specification."""
        self.plane.must("PATCH", f"{self.path}/{name}", {"spec": spec})

    def until(self, true: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
        """Look again and again, until something is so."""
        limit = time.monotonic() + seconds
        while not (found := true()):
            logs = "\n".join(operator.log.read_text()[-1500:] for operator in self.operators)
            assert time.monotonic() < limit, f"{what} did not come in time\n{logs}"
            time.sleep(0.02)
        return found

    def end_of(self, name: str, seconds: float = 60.0) -> Json:
        """Wait for the end of a job; its status."""
        ends = ("Succeeded", "Failed", "Cancelled")
        found: Json = self.until(
            lambda: status if (status := self.status(name))["phase"] in ends else None, f"the end of {name}", seconds
        )
        return found

    def phase(self, name: str, phase: str, seconds: float = 60.0) -> Json:
        """Wait for a phase; the status then."""
        found: Json = self.until(
            lambda: status if (status := self.status(name))["phase"] == phase else None, f"{name} {phase}", seconds
        )
        return found


def writes_of(plane: ControlPlane, act: Callable[[int], object]) -> Iterator[int]:
    """How many status writes of jobs an act costs, up to three times: ``1 in writes_of(…)``.

    Where the machine was slow it may rightly be one more. ``act`` gets the number of the time, from 0, and ends when its
    last write is there to be read.
    """
    for number in range(3):
        before = status_patches(plane)
        act(number)
        counted = status_patches(plane)
        while counted < (again := status_patches(plane)):  # a request is counted a moment after its answer
            counted = again
        yield counted - before


def status_patches(plane: ControlPlane, resource: str = "jobs") -> int:
    """How many status writes of that resource the API server has ever been asked for, by its own count."""
    return requests_of(plane, f'resource="{resource}"', 'subresource="status"', 'verb="PATCH"')


def requests_of(plane: ControlPlane, *labels: str) -> int:
    """How many requests of our group with these labels the API server has ever been asked for, by its own count."""
    pattern = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
    wanted = ('group="longshore.dev"', *labels)
    found = pattern.findall(plane.metrics())
    return int(sum(float(count) for given, count in found if all(label in given for label in wanted)))


def alive(pid: int) -> bool:
    """Whether the process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
