"""A real Kubernetes API for tests: etcd, kube-apiserver and, when asked, kube-controller-manager on loopback.

No root, no network, no image. There is no node and no scheduler; ``kubelet.py`` plays the nodes' part.
"""

import http.client
import json
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kube.certificates import Authority, write_key_pair, write_kubeconfig
from kube.daemon import Daemon, StartError
from service import free_port

READY_SECONDS = 60.0  # 3 s on an idle machine; tests may share two cores with a compiler
CRDS = Path(__file__).parents[2] / "manifests/crds"
ISSUER = "https://kubernetes.default.svc.cluster.local"
SERVICE_ADDRESSES, SERVICE_ADDRESS = "10.96.0.0/16", "10.96.0.1"  # the second is that of the API server
ADMIN_GROUP = "system:masters"
MERGE_PATCH = "application/merge-patch+json"
PATIENCE_SECONDS = 60.0  # an API server that was killed is back within 10 s


def patiently(ask: Callable[[], Any]) -> Any:
    """Ask until it is answered, as every client does that outlives its API server; after PATIENCE_SECONDS the last refusal."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except (OSError, http.client.HTTPException, AssertionError):
            if time.monotonic() > limit:
                raise
            time.sleep(0.2)


class ControlPlane:
    """Starts, kills, restarts and ends the programs that it started; by pid, nothing else."""

    address = "127.0.0.1"  # where it listens; e2e/plane.py has another

    def __init__(self, tools: Path, folder: Path, *, controllers: bool = False, unsafe_no_fsync: bool = True) -> None:
        """``tools`` has the programs (``scripts/kube-tools`` prints it); ``folder`` takes data, certificates and logs.

        ``controllers``: start kube-controller-manager too, for garbage collection, namespace deletion, Deployments
        and default ServiceAccounts. ``unsafe_no_fsync``: etcd survives kill −9 but not a power cut, and is faster.
        """
        self.tools, self.folder, self.controllers = tools, folder.resolve(), controllers
        self.folder.mkdir(parents=True, exist_ok=True)
        self._authority = Authority(self.folder / "pki")
        self._authority.server("apiserver", [self.address, SERVICE_ADDRESS])
        write_key_pair(self._authority.folder, "service-account")
        self._etcd_port, peer_port, self._port = free_port(), free_port(), free_port()
        self._kubeconfigs: dict[tuple[str, tuple[str, ...]], Path] = {}
        self.admin = self.kubeconfig("admin", [ADMIN_GROUP])
        self._context = ssl.create_default_context(cafile=str(self._authority.certificate))
        self._context.load_cert_chain(self._pki("admin-0.crt"), self._pki("admin-0.key"))
        self.etcd = self._daemon("etcd", self._etcd_flags(peer_port, unsafe_no_fsync))
        self.apiserver = self._daemon("kube-apiserver", self._apiserver_flags())
        self.controller_manager = self._daemon("kube-controller-manager", self._controller_manager_flags())

    @property
    def url(self) -> str:
        """Address of the API server."""
        return f"https://{self.address}:{self._port}"

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """Of its administrator."""
        return self._context

    def start(self) -> None:
        """Start everything and wait until it answers. StartError, with a log's end, when it does not."""
        try:
            # The API server waits for etcd by itself; started together they are ready half a second earlier.
            self.etcd.start()
            self.start_apiserver()
            if self.controllers:
                self.controller_manager.start()
                self._wait(
                    self.controller_manager, lambda: self._there("/api/v1/namespaces/default/serviceaccounts/default")
                )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything and remove etcd's data; certificates and logs stay in the folder. May be called twice."""
        for daemon in reversed(self._daemons()):
            daemon.kill()  # nothing is kept, so nothing has to end in order
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    def start_apiserver(self) -> None:
        """Start it, on the same port as before, and wait until it is ready."""
        self.apiserver.start()
        self._wait(self.apiserver, self._answers)

    def kill_apiserver(self) -> None:
        """SIGKILL."""
        self.apiserver.kill()

    def start_etcd(self) -> None:
        """Start it with the same data and wait until the API server reads from it again, if that one runs."""
        self.etcd.start()
        if self.apiserver.running:
            self._wait(self.etcd, self._answers)

    def kill_etcd(self) -> None:
        """SIGKILL."""
        self.etcd.kill()

    def check(self) -> None:
        """StartError when a program has ended by itself, or was killed."""
        for daemon in self._daemons():
            daemon.check()

    def pids(self) -> list[int]:
        """Of the programs that run now."""
        return [daemon.pid for daemon in self._daemons() if daemon.running]

    def kubeconfig(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a client certificate of this user in these groups."""
        key = (user, tuple(groups))
        if key not in self._kubeconfigs:
            name = f"{re.sub('[^a-z0-9]+', '-', user.lower())}-{len(self._kubeconfigs)}"
            certificate = self._authority.client(name, user, groups)
            self._kubeconfigs[key] = self._write_kubeconfig(name, certificate=certificate)
        return self._kubeconfigs[key]

    def make_namespace(self) -> str:
        """Make a namespace of a new name; with controllers, wait until pods may be made in it."""
        name = str(self.must("POST", "/api/v1/namespaces", {"metadata": {"generateName": "test-"}})["metadata"]["name"])
        if self.controllers:
            path = f"/api/v1/namespaces/{name}/serviceaccounts/default"
            self._wait(self.controller_manager, lambda: self._there(path))
        return name

    def token(self, namespace: str, service_account: str, *, seconds: int = 3600) -> str:
        """A real token of a ServiceAccount, by TokenRequest; the ServiceAccount must be there."""
        path = f"/api/v1/namespaces/{quote(namespace)}/serviceaccounts/{quote(service_account)}/token"
        answer = self.must("POST", path, {"spec": {"expirationSeconds": seconds}})
        return str(answer["status"]["token"])

    def service_account_kubeconfig(self, namespace: str, service_account: str) -> Path:
        """A kubeconfig with a token of a ServiceAccount, valid for an hour."""
        name = f"{namespace}.{service_account}"
        return self._write_kubeconfig(name, token=self.token(namespace, service_account))

    def kubectl(
        self,
        *args: str,
        input: str | None = None,
        kubeconfig: Path | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as admin, or as whom the kubeconfig names; output is captured as text.

        With ``check``, an exit status other than 0 is an AssertionError with what kubectl said.
        """
        flags = [f"--kubeconfig={kubeconfig or self.admin}", f"--cache-dir={self.folder}/kubectl-cache"]
        done = subprocess.run(
            [str(self.tools / "kubectl"), *flags, *args], input=input, capture_output=True, text=True, timeout=90,
            stdin=subprocess.DEVNULL if input is None else None,
        )  # fmt: skip
        if check:
            assert 0 == done.returncode, f"kubectl {' '.join(args)}: {done.stdout}{done.stderr}"
        return done

    def install_crds(self, folder: Path = CRDS) -> None:
        """Apply the CRDs of a folder, ours unless told otherwise, and wait until objects of theirs can be made.

        AssertionError when they are refused.
        """
        self.kubectl("apply", "--server-side", f"--filename={folder}", check=True)
        self.kubectl("wait", "--for=condition=Established", f"--filename={folder}", "--timeout=30s", check=True)

    def request(
        self, method: str, path: str, body: object = None, *, content_type: str | None = None, token: str | None = None
    ) -> tuple[int, Any]:
        """One request as admin, or with a token: status and JSON. OSError when nobody answers.

        The body of a PATCH is a merge patch unless the content type says otherwise.
        """
        status, data = self._exchange(method, path, body, content_type, token)
        return status, json.loads(data)

    def must(self, method: str, path: str, body: object = None, *, content_type: str | None = None) -> Any:
        """As ``request``, and again while it says 429, as every client does: its storage may still be starting.

        AssertionError unless it succeeds. Returns the JSON alone.
        """
        limit = time.monotonic() + READY_SECONDS
        status, answer = self.request(method, path, body, content_type=content_type)
        while status == 429 and time.monotonic() < limit:
            time.sleep(0.2)
            status, answer = self.request(method, path, body, content_type=content_type)
        assert status < 300, f"{method} {path}: {status} {answer.get('message', answer)}"
        return answer

    def metrics(self) -> str:
        """What the API server counts about itself, in the text format of Prometheus."""
        status, data = self._exchange("GET", "/metrics", None, None, None)
        assert 200 == status, f"GET /metrics: {status}"
        return data.decode()

    def _exchange(
        self, method: str, path: str, body: object, content_type: str | None, token: str | None
    ) -> tuple[int, bytes]:
        headers = {"Accept": "application/json"} if path != "/metrics" else {}
        if body is not None:
            headers["Content-Type"] = content_type or (MERGE_PATCH if method == "PATCH" else "application/json")
        context = self._context
        if token is not None:
            # Without the admin's certificate: it would win over the token.
            context = ssl.create_default_context(cafile=str(self._authority.certificate))
            headers["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPSConnection(self.address, self._port, context=context, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _there(self, path: str) -> bool:
        """Whether a GET succeeds now."""
        try:
            status, _ = self._exchange("GET", path, None, None, None)
        except (OSError, http.client.HTTPException):
            return False
        return status == 200

    def _answers(self) -> bool:
        """Whether the API server is ready and reads from etcd: readyz alone remembers its last look at etcd.

        The namespace is made by a controller of the API server's own, a little after readyz says yes.
        """
        return self._there("/readyz") and self._there("/api/v1/namespaces/default")

    def _wait(self, daemon: Daemon, ready: Callable[[], bool]) -> None:
        """Until it is ready; StartError when it or etcd ends meanwhile, or after READY_SECONDS."""
        limit = time.monotonic() + READY_SECONDS
        while not ready():
            self.etcd.check()
            daemon.check()
            if time.monotonic() > limit:
                raise StartError(f"{daemon.name} was not ready in {READY_SECONDS:g} s; {daemon.last_lines()}")
            time.sleep(0.05)

    def _daemons(self) -> list[Daemon]:
        """In the order in which they need each other."""
        return [self.etcd, self.apiserver, *([self.controller_manager] if self.controllers else [])]

    def _daemon(self, name: str, flags: Sequence[str]) -> Daemon:
        return Daemon(name, [str(self.tools / name), *flags], self.folder / f"{name}.log")

    def _pki(self, name: str) -> str:
        return str(self._authority.folder / name)

    def _write_kubeconfig(self, name: str, *, certificate: Path | None = None, token: str | None = None) -> Path:
        path = self.folder / f"{name}.kubeconfig"
        return write_kubeconfig(path, self.url, self._authority.certificate, certificate=certificate, token=token)

    def _etcd_flags(self, peer_port: int, unsafe_no_fsync: bool) -> list[str]:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{peer_port}"
        return [
            "--name=test", f"--data-dir={self.folder}/etcd", f"--unsafe-no-fsync={str(unsafe_no_fsync).lower()}",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=test={peer}", "--log-level=warn",
        ]  # fmt: skip

    def _apiserver_flags(self) -> list[str]:
        flags = [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--bind-address={self.address}", f"--advertise-address={self.address}", f"--secure-port={self._port}",
            # Endpoints may not be loopback addresses, so it must not announce its own.
            "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={SERVICE_ADDRESSES}", "--allow-privileged=true",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={self._authority.certificate}",
            f"--tls-cert-file={self._pki('apiserver.crt')}", f"--tls-private-key-file={self._pki('apiserver.key')}",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={self._pki('service-account.pub')}",
            f"--service-account-signing-key-file={self._pki('service-account.key')}",
            "--shutdown-delay-duration=0s",
        ]  # fmt: skip
        if not self.controllers:
            # Nobody would make the ServiceAccount `default`, without which every pod would be refused.
            flags.append("--disable-admission-plugins=ServiceAccount")
        return flags

    def _controller_manager_flags(self) -> list[str]:
        kubeconfig = self.kubeconfig("system:kube-controller-manager")
        return [
            f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}", "--bind-address=127.0.0.1", "--secure-port=0",
            "--leader-elect=false", "--use-service-account-credentials=true",
            f"--root-ca-file={self._authority.certificate}",
            f"--service-account-private-key-file={self._pki('service-account.key')}",
            f"--cluster-signing-cert-file={self._authority.certificate}",
            f"--cluster-signing-key-file={self._pki('ca.key')}",
            # It makes a ServiceAccount and a token for each controller; its usual 20 requests/s cost 3 s of the start.
            "--kube-api-qps=500", "--kube-api-burst=1000",
            # The test kubelet sends no heartbeats; this controller would call its nodes dead after 50 s.
            "--controllers=*,-node-lifecycle-controller",
        ]  # fmt: skip
