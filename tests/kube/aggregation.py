"""A cluster API that hands some groups on to servers beside it, and a HorizontalPodAutoscaler controller that is in a hurry."""

import base64
from pathlib import Path

from kube.certificates import Authority
from kube.control_plane import ControlPlane

NAMESPACE = "kube-system"
CALLER = "front-proxy"  # as whom the API server speaks to such servers


class AggregatingPlane(ControlPlane):
    """A control plane with controllers and the aggregation layer."""

    def __init__(self, tools: Path, folder: Path) -> None:
        # Another authority than the users': who has its certificates may say for whom it speaks.
        self._front = Authority(folder.resolve() / "front-proxy")
        self._caller = self._front.client(CALLER, CALLER, [])
        super().__init__(tools, folder, controllers=True)

    @property
    def callers(self) -> Path:
        """The authority by which a server beside it knows the API server."""
        return self._front.certificate

    def certificate(self, service: str) -> Path:
        """Of a server that the API server finds by the Service of that name; path of the .crt file, the key lies beside it."""
        return self._authority.server(service, ["127.0.0.1"], [f"{service}.{NAMESPACE}.svc"])

    def hand_on(self, group: str, version: str, service: str, port: int) -> None:
        """Pass requests for a group on to that port of this machine, and wait until somebody answers there."""
        self.must("POST", f"/api/v1/namespaces/{NAMESPACE}/services", {
            "metadata": {"name": service}, "spec": {"type": "ExternalName", "externalName": "localhost"},
        })  # fmt: skip
        self.must("POST", "/apis/apiregistration.k8s.io/v1/apiservices", {
            "metadata": {"name": f"{version}.{group}"},
            "spec": {"group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
                     "service": {"namespace": NAMESPACE, "name": service, "port": port},
                     "caBundle": base64.b64encode(self._authority.certificate.read_bytes()).decode()},
        })  # fmt: skip
        self.kubectl("wait", "--for=condition=Available", f"apiservice/{version}.{group}", "--timeout=60s", check=True)

    def _apiserver_flags(self) -> list[str]:
        return [
            *super()._apiserver_flags(),
            f"--requestheader-client-ca-file={self.callers}", f"--requestheader-allowed-names={CALLER}",
            "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={self._caller}", f"--proxy-client-key-file={self._caller.with_suffix('.key')}",
        ]  # fmt: skip

    def _controller_manager_flags(self) -> list[str]:
        return [
            *super()._controller_manager_flags(),
            # Usual are 15 s and 5 minutes.
            "--horizontal-pod-autoscaler-sync-period=1s", "--horizontal-pod-autoscaler-downscale-stabilization=3s",
        ]  # fmt: skip
