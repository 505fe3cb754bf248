"""The real prometheus-operator beside an API server, and a real Prometheus of the configuration that it makes there.

There is no Prometheus pod: the operator is asked for one with 0 replicas, and the Secret and ConfigMap that its pod would mount
are turned into files.
"""

import base64
import gzip
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from helm_chart import promtool, tool
from kube.control_plane import ControlPlane
from kube.daemon import Daemon
from service import free_port

NAME = "main"
READY_SECONDS = 60.0
# What the pod's own container puts in.
PLACES = {"$(SHARD)": "0", "$(POD_NAME)": "prometheus-main-0"}
Json = dict[str, Any]


class Prometheus:
    """The program alone, of a configuration that somebody writes to ``config``."""

    def __init__(
        self, folder: Path, host: str = "127.0.0.1", daemon: Callable[[str, list[str]], Daemon] | None = None
    ) -> None:
        """``daemon`` makes a program, of a name and its arguments."""
        make = daemon or (lambda name, argv: Daemon(name, argv, folder / f"{name}.log"))
        self.address = f"http://{host}:{free_port()}"
        self.config = folder / "prometheus.yaml"
        self.program = make("prometheus", [
            str(tool("prometheus") / "prometheus"), f"--config.file={self.config}",
            f"--storage.tsdb.path={folder}/prometheus-data", f"--web.listen-address={self.address.removeprefix('http://')}",
        ])  # fmt: skip

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.program.start()
        until(self._ready, "Prometheus", self.program)

    def query(self, expression: str) -> list[Json]:
        """What an instant query finds: ``{metric, value: [time, text]}``."""
        found: list[Json] = self.get("query?" + urllib.parse.urlencode({"query": expression}))["result"]
        return found

    def get(self, path: str) -> Any:
        """The data of an answer of /api/v1."""
        with urllib.request.urlopen(f"{self.address}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Monitoring:
    """Both programs; ``start`` the first, ``configure``, start the second, ``stop``."""

    def __init__(
        self, plane: ControlPlane, folder: Path, watched: Sequence[str],
        daemon: Callable[[str, list[str]], Daemon] | None = None,
    ) -> None:  # fmt: skip
        """``watched``: namespaces with monitors and rules. ``daemon`` makes a program, of a name and its arguments."""
        self.plane, self.folder, self.watched = plane, folder, list(watched)
        make = daemon or (lambda name, argv: Daemon(name, argv, folder / f"{name}.log"))
        host = getattr(plane, "address", "127.0.0.1")
        self.prometheus = Prometheus(folder, host, make)
        self.operator = make("prometheus-operator", [
            "env", f"KUBECONFIG={plane.admin}", str(tool("prometheus-operator") / "operator"),
            f"--web.listen-address={host}:{free_port()}",
        ])  # fmt: skip
        self.namespace = ""

    def start(self) -> None:
        """Make the kinds known, start the operator, and ask it for a Prometheus."""
        self.plane.install_crds(tool("prometheus-operator") / "crds")
        self.operator.start()
        self.namespace = self.plane.make_namespace()
        where = {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": self.watched}]}  # fmt: skip
        kinds = ("serviceMonitor", "podMonitor", "rule")
        selectors: Json = {f"{kind}Selector": {} for kind in kinds} | {
            f"{kind}NamespaceSelector": where for kind in kinds
        }
        self.plane.must("POST", f"/apis/monitoring.coreos.com/v1/namespaces/{self.namespace}/prometheuses", {
            "apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": {"name": NAME},
            "spec": {"replicas": 0, "serviceDiscoveryRole": "EndpointSlice", "evaluationInterval": "1s", **selectors},
        })  # fmt: skip

    def configure(self, jobs: int) -> Json:
        """Write what the operator has made, when there are so many jobs and rules in it; the configuration."""
        found: Json = until(lambda: self._complete(jobs), f"a configuration with {jobs} jobs and rules", self.operator)
        for job in found["scrape_configs"]:
            for discovery in job["kubernetes_sd_configs"]:
                discovery["kubeconfig_file"] = str(self.plane.admin)
        for name, text in self.rules().items():
            (self.folder / name).write_text(text)
        found["rule_files"] = [str(self.folder / name) for name in self.rules()]
        self.prometheus.config.write_text(yaml.safe_dump(found))
        done = promtool("check", "config", self.prometheus.config)
        assert done.returncode == 0, done.stdout + done.stderr
        return found

    def rules(self) -> dict[str, str]:
        """Files of rules, by name."""
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/prometheus-{NAME}-rulefiles-0"
        status, answer = self.plane.request("GET", path)
        return answer.get("data") or {} if status == 200 else {}

    def stop(self) -> None:
        """End both, by pid."""
        self.prometheus.program.kill()
        self.operator.kill()

    def _complete(self, jobs: int) -> Json | None:
        path = f"/api/v1/namespaces/{self.namespace}/secrets/prometheus-{NAME}"
        status, secret = self.plane.request("GET", path)
        if status != 200 or "prometheus.yaml.gz" not in (secret.get("data") or {}):
            return None
        text = gzip.decompress(base64.b64decode(secret["data"]["prometheus.yaml.gz"])).decode()
        for place, value in PLACES.items():
            text = text.replace(place, value)
        found: Json = yaml.safe_load(text)
        return found if len(found.get("scrape_configs") or ()) == jobs and self.rules() else None


def until(look: Callable[[], Any], what: str, program: Daemon) -> Any:
    """Wait for something that a program does."""
    limit = time.monotonic() + READY_SECONDS
    while not (found := look()):
        program.check()
        assert time.monotonic() < limit, f"no {what}: {program.last_lines()}"
        time.sleep(0.1)
    return found
