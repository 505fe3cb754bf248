"""The API server, the controllers and the scheduler of a cluster that has a real node."""

from collections.abc import Sequence
from pathlib import Path

from e2e.ground import Ground
from kube.control_plane import ControlPlane
from kube.daemon import Daemon

NODE = "node"


class NodePlane(ControlPlane):
    """A control plane inside the node's network namespace, reached from this machine at the node's address."""

    def __init__(self, tools: Path, ground: Ground, *, outlives: bool) -> None:
        """``outlives``: its programs go on when this process ends."""
        self.ground, self.address, self._outlives = ground, ground.address, outlives
        super().__init__(tools, ground.folder, controllers=True)
        self._authority.server("kubelet", [ground.address, "127.0.0.1"])

    def pki(self, name: str) -> str:
        """Path of a certificate or a key."""
        return self._pki(name)

    def daemon(self, name: str, argv: list[str]) -> Daemon:
        """A program inside the network namespace."""
        return Daemon(name, [*self.ground.enter, *argv], self.folder / f"{name}.log", outlives=self._outlives)

    def _daemon(self, name: str, flags: Sequence[str]) -> Daemon:
        return self.daemon(name, [str(self.tools / name), *flags])

    def _apiserver_flags(self) -> list[str]:
        self._authority.client("apiserver-kubelet-client", "apiserver", ["system:masters"])
        return [
            *super()._apiserver_flags(),
            "--endpoint-reconciler-type=lease",  # of two equal flags the last one counts
            f"--kubelet-client-certificate={self._pki('apiserver-kubelet-client.crt')}",
            f"--kubelet-client-key={self._pki('apiserver-kubelet-client.key')}",
            f"--kubelet-certificate-authority={self._authority.certificate}",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def _controller_manager_flags(self) -> list[str]:
        flags = [flag for flag in super()._controller_manager_flags() if not flag.startswith("--controllers=")]
        # A node that is gone is noticed after 16 s; 50 s would be usual.
        return [*flags, "--node-monitor-period=2s", "--node-monitor-grace-period=16s"]
