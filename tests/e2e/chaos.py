"""Waves of jobs to a pool that grows and shrinks, kills of all that carries it, and what was seen meanwhile."""

import itertools
import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from e2e.chaos_report import Kill, seconds
from e2e.release import API, Object, Release, send
from kube.control_plane import patiently

LENGTHS = [0.05, 0.2, 0.5, 0.05, 1.0, 0.2, 0.05, 5.0]  # the long ones hold a worker while its neighbours go
OFTEN = ["worker", "operator", "api", "shim"]
SELDOM = ["node", "kubelet", "apiserver", "kubelet", "apiserver"]  # one after each round of those; the first takes 20 s
CLIENTS = 4
CALM_SECONDS = 5.0  # so long an operator leads before it is killed again, or on a slow machine nothing was ever done
PATIENCE_SECONDS = 60.0


def turns() -> Iterator[str]:
    """What is killed next."""
    for seldom in itertools.cycle(SELDOM):
        yield from OFTEN
        yield seldom


class Chaos:
    """Of one release. ``wave``, ``look`` and ``kill`` are one thread's; jobs are created by ``CLIENTS`` others."""

    def __init__(self, release: Release, jobs: int, wave: int) -> None:
        self._release, self._jobs, self._wave = release, jobs, wave
        self._path = f"{API}/{release.namespace}/jobs"
        self._clients = ThreadPoolExecutor(CLIENTS, thread_name_prefix="client")
        self._sending: list[Future[None]] = []
        self._left = 0
        """Jobs that had not ended, when somebody looked last."""
        self._busy: set[str] = set()
        """Workers with long jobs, when somebody looked last."""
        self.sent = self.waves = 0
        self._dying: list[tuple[Kill, set[int]]] = []
        """Kills of shims, and the processes that containerd has yet to end for that."""
        self.kills: list[Kill] = []
        self.sizes: list[int] = [0]
        self.busy_removed = 0.0

    def wave(self) -> None:
        """Let the next jobs be created."""
        until = min(self._jobs, self.sent + self._wave)
        self._sending = [self._clients.submit(self._create, number) for number in range(self.sent, until)]
        self.sent, self.waves = until, self.waves + 1

    def _create(self, number: int) -> None:
        """One that is there already was created by a request whose answer got lost. No retry is allowed: it would be a failure."""
        job = {
            "apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": f"job-{number}"},
            "spec": {"handler": "sleep", "args": {"seconds": LENGTHS[number % len(LENGTHS)]},
                     "maxRetries": 0, "maxDisruptions": 100},
        }  # fmt: skip

        def create() -> None:
            status, answer = self._release.plane.request("POST", self._path, job)
            assert status in (201, 409), answer

        patiently(create)

    def waiting(self) -> int:
        """Jobs of the last wave that are not there yet, and all that have not ended. Raises what kept one from being created."""
        self._sending = [one for one in self._sending if not one.done() or one.result()]
        items = self.jobs("?fieldSelector=status.phase!=Succeeded")
        left = [job["status"] for job in items if job["status"].get("phase", "Pending") in ("Pending", "Running")]
        self._busy = {status["worker"] for status in left if "worker" in status}
        self._left = len(self._sending) + len(left)
        return self._left

    def jobs(self, query: str = "") -> list[Object]:
        """All of them, or those that are asked for."""
        found: list[Object] = patiently(lambda: self._release.plane.must("GET", self._path + query))["items"]
        return found

    def look(self) -> None:
        """Remember how many workers are asked for, whether the operator leads again, and what became of killed shims' pods."""
        for kill, pids in self._dying:
            if not any(Path(f"/proc/{pid}").exists() for pid in pids):
                kill.gone = time.time()
        self._dying = [one for one in self._dying if one[0].gone is None]
        name = self._release.deployment("worker")
        path = f"/apis/apps/v1/namespaces/{self._release.namespace}/deployments/{name}"
        size = int(patiently(lambda: self._release.plane.must("GET", path))["spec"]["replicas"])
        if size != self.sizes[-1]:
            self.sizes.append(size)
        away = [kill for kill in self.kills if kill.kind == "operator" and kill.back is None]
        if away and (since := self._leads_since()) > away[-1].at:
            for kill in away:
                kill.back = since

    def _leads_since(self) -> float:
        """When an operator last knew all that it has to know to go on, as its log on the node says; 0 before."""
        pattern = f"pod-logs/{self._release.namespace}_{self._release.name}-operator-*/operator/*.log"
        lines = [line for log in self._release.node.ground.folder.glob(pattern) for line in read(log).splitlines()]
        times = [json.loads(line[line.index("{") :])["at"] for line in lines if '"action":"took_over"' in line]
        return max((seconds(time) for time in times), default=0.0)

    def count(self) -> None:
        """Add what the operator has counted since it started; nothing when it is not there."""
        where = f"/api/v1/namespaces/{self._release.namespace}/services/{self._release.name}-operator:http-metrics/proxy/metrics"
        for line in self._release.kubectl("get", "--raw", where, check=False).splitlines():
            if line.startswith("longshore_operator_scale_in_busy_workers_total"):
                self.busy_removed += float(line.rpartition(" ")[2])

    def kill(self, kind: str) -> bool:
        """SIGKILL to whose turn it is, if there is one; False when it has not done anything since the last time."""
        match kind:
            case "apiserver":
                self._restart_apiserver()
            case "kubelet":
                self._release.node.kubelet.kill()
                self.kills.append(Kill(kind))
                self._release.node.kubelet.start()
            case "node":
                if self._left and not self._busy:
                    return False  # one of those that wait will be long enough to be cut off
                self._lose_node()
            case _:
                return self._kill_processes(kind)
        return True

    def _restart_apiserver(self) -> None:
        self._release.plane.kill_apiserver()
        self.kills.append(Kill("apiserver"))
        self._release.plane.start_apiserver()
        self.kills[-1].back = time.time()

    def _lose_node(self) -> None:
        """As if its cable was pulled: the kubelet reports no more, and a worker answers nobody. Both are back when that was seen.

        So that the worker ends what it ran after the same jobs were started elsewhere.
        """
        node, pod = self._release.node, self._victim("worker")
        pids = self._release.pids(pod) if pod else set()
        node.kubelet.kill()
        send(pids, signal.SIGSTOP)
        self.kills.append(Kill("node", pod["metadata"]["name"] if pod else ""))
        try:
            wait(lambda: not node.is_ready())
        finally:
            send(pids, signal.SIGCONT)
            node.kubelet.start()
        wait(node.is_ready)
        self.kills[-1].back = time.time()

    def _kill_processes(self, kind: str) -> bool:
        if kind == "operator":
            last = next((kill for kill in reversed(self.kills) if kill.kind == kind), None)
            if last and (last.back is None or time.time() < last.back + CALM_SECONDS):
                return False
            self.count()
        pod = self._victim("worker" if kind == "shim" else kind)
        if pod is None:
            return kind in ("worker", "shim")  # there is none while there is nothing to do
        pids = own = self._release.pids(pod)
        if kind == "shim":
            pids = {above for pid in own if is_shim(above := parent(pid))}
        at = time.time()
        if send(pids, signal.SIGKILL):
            self.kills.append(Kill(kind, pod["metadata"]["name"], at))
            self._dying += [(self.kills[-1], own)] * (kind == "shim")
        return True

    def _victim(self, component: str) -> Object | None:
        """A worker with jobs rather than one without; of the others one that is ready."""
        found: list[Object] = patiently(lambda: self._release.pods(component))
        if component == "worker":
            pods = [pod for pod in found if "containerID" in pod["status"].get("containerStatuses", [{}])[0]]
        else:
            pods = [pod for pod in found if is_ready(pod)]
        busy = [pod for pod in pods if pod["metadata"]["name"] in self._busy]
        return random.choice(busy or pods) if pods else None

    def shrinks(self) -> int:
        """How often fewer workers were asked for."""
        return sum(after < before for before, after in itertools.pairwise(self.sizes))


def read(log: Path) -> str:
    """Its text; nothing when it is gone."""
    try:
        return log.read_text(errors="replace")
    except OSError:
        return ""


def is_ready(pod: Object) -> bool:
    """As the kubelet says."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))


def wait(until: Callable[[], bool]) -> None:
    """Until it is so; AssertionError after PATIENCE_SECONDS."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while not until():
        assert time.monotonic() < limit, until
        time.sleep(0.1)


def parent(pid: int) -> int:
    """Of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def is_shim(pid: int) -> bool:
    """Whether it is what containerd starts beside each pod."""
    try:
        return "containerd-shim" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
