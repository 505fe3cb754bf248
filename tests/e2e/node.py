"""One whole Kubernetes node: control plane, containerd, kubelet, kube-proxy and CoreDNS, all inside a ``Ground``."""

import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e import configuration
from e2e.archive import pause_archive
from e2e.ground import Ground
from e2e.plane import NODE, NodePlane
from kube.daemon import Daemon, StartError

READY_SECONDS = 90.0  # 6 s on an idle machine


class Node:
    """Starts and ends it. Give it a ground that this process has locked; what was there before is cleared away."""

    def __init__(self, tools: Path, ground: Ground, *, outlives: bool = False) -> None:
        """``tools`` is what ``scripts/kube-tools --node`` prints. ``outlives``: it goes on when this process ends."""
        self.ground = ground
        ground.make()
        self.plane = NodePlane(tools, ground, outlives=outlives)
        folder, daemon = ground.folder, self.plane.daemon
        write, authority = configuration.write, Path(self.plane.pki("ca.crt"))
        scheduler, kubelet, proxy, names = (
            self.plane.kubeconfig(user, groups)
            for user, groups in (
                ("system:kube-scheduler", ()), (f"system:node:{NODE}", ("system:nodes",)),
                ("system:kube-proxy", ()), ("admin", ("system:masters",)),
            )
        )  # fmt: skip
        write(folder / "resolv.conf", f"nameserver {ground.address}\n")
        write(folder / "cni/10-pods.conflist", configuration.network(ground))
        settings = write(folder / "kubelet.json", configuration.kubelet(ground, authority))
        rules = write(folder / "kube-proxy.json", configuration.proxy(ground, proxy, NODE))
        self.containerd = daemon("containerd", [
            "containerd", f"--config={write(folder / 'containerd.toml', configuration.containerd(ground))}",
        ])  # fmt: skip
        self.scheduler = daemon("kube-scheduler", [
            str(tools / "kube-scheduler"), f"--kubeconfig={scheduler}", f"--authentication-kubeconfig={scheduler}",
            f"--authorization-kubeconfig={scheduler}", "--bind-address=127.0.0.1", "--leader-elect=false",
        ])  # fmt: skip
        self.kubelet = daemon("kubelet", [
            str(tools / "kubelet"), f"--config={settings}", f"--kubeconfig={kubelet}", f"--hostname-override={NODE}",
            f"--node-ip={ground.address}", f"--root-dir={folder}/kubelet", f"--cert-dir={folder}/kubelet-pki",
        ])  # fmt: skip
        self.proxy = daemon("kube-proxy", [str(tools / "kube-proxy"), f"--config={rules}"])
        self.names = daemon("coredns", [
            str(tools / "coredns"), f"-conf={write(folder / 'Corefile', configuration.names(ground, names))}",
        ])  # fmt: skip

    def start(self, archives: Sequence[Path] = ()) -> None:
        """Start everything, import the images, and wait until pods can run; StartError with a log's end if they cannot."""
        try:
            self.containerd.start()
            with ThreadPoolExecutor(1) as importer:
                imported = importer.submit(self._import_all, archives)
                self.plane.start()
                for daemon in (self.scheduler, self.kubelet, self.proxy, self.names):
                    daemon.start()
                imported.result()
            self._wait(self.kubelet, self.is_ready)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it and remove all of it; only logs and the lock stay. May be called twice."""
        for daemon in reversed(self._daemons()):
            daemon.kill()
        self.plane.stop()
        self.ground.keep_logs()
        self.ground.clear()

    def import_image(self, archive: Path) -> None:
        """Make the image of a docker-archive available to pods; CalledProcessError when it is none."""
        self.ctr("images", "import", str(archive))

    def ctr(self, *args: str) -> str:
        """What containerd's own command prints; CalledProcessError when it fails."""
        where = [f"--address={self.ground.folder}/containerd.sock", "--namespace=k8s.io"]
        return subprocess.run(["ctr", *where, *args], check=True, capture_output=True, text=True, timeout=120).stdout

    def make_restricted_namespace(self) -> str:
        """A namespace of a new name that enforces the Pod Security Standard `restricted`."""
        name = self.plane.make_namespace()
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.plane.must("PATCH", f"/api/v1/namespaces/{name}", {"metadata": {"labels": labels}})
        return name

    def remove_crds(self) -> None:
        """Take the project's resources away, with everything that there is of them."""
        names = [f"{plural}.longshore.dev" for plural in ("jobs", "queues", "schedules")]
        self.plane.kubectl("delete", "crd", "--ignore-not-found", "--wait", *names, check=True)

    def is_ready(self) -> bool:
        """Whether the node can run pods, as the API server knows it."""
        status, node = self.plane.request("GET", f"/api/v1/nodes/{NODE}")
        if status != 200:
            return False
        conditions = {one["type"]: one["status"] for one in node["status"].get("conditions", ())}
        return conditions.get("Ready") == "True"

    def check(self) -> None:
        """StartError when one of its programs has ended by itself."""
        self.plane.check()
        for daemon in self._daemons():
            daemon.check()

    def _import_all(self, archives: Sequence[Path]) -> None:
        self._wait(self.containerd, (self.ground.folder / "containerd.sock").exists)
        pause = pause_archive(self.plane.tools / "pause", self.ground.folder / "pause.tar", configuration.PAUSE)
        for archive in (pause, *archives):
            self.import_image(archive)

    def _daemons(self) -> list[Daemon]:
        return [self.containerd, self.scheduler, self.kubelet, self.proxy, self.names]

    def _wait(self, daemon: Daemon, ready: Callable[[], bool]) -> None:
        limit = time.monotonic() + READY_SECONDS
        while not ready():
            daemon.check()
            if time.monotonic() > limit:
                raise StartError(f"{daemon.name} was not ready in {READY_SECONDS:g} s; {daemon.last_lines()}")
            time.sleep(0.05)
