"""``make cluster-api``: a real API server by hand, with the project's CRDs, until Ctrl-C."""

import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kube.control_plane import ControlPlane

ROOT = Path(__file__).parents[2]


def say(text: str) -> None:
    """To standard error, so that standard output is what a shell can read."""
    print(f"cluster-api: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Returns the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    built = subprocess.run([ROOT / "scripts/kube-tools", *sys.argv[1:]], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        return built.returncode
    tools = Path(built.stdout.strip())
    with tempfile.TemporaryDirectory(prefix="longshore-cluster-") as folder:
        plane = ControlPlane(tools, Path(folder), controllers=(tools / "kube-controller-manager").exists())
        try:
            serve(plane)
        except KeyboardInterrupt:
            say("stopping")
        finally:
            plane.stop()
    return 0


def serve(plane: ControlPlane) -> None:
    """Start it, say how to reach it, stay until KeyboardInterrupt; StartError when a program ends by itself."""
    began = time.monotonic()
    say("starting etcd, kube-apiserver and kube-controller-manager")
    plane.start()
    say(f"{plane.url} is ready after {time.monotonic() - began:.1f} s; logs are in {plane.folder}")
    plane.install_crds()
    say("installed the CRDs of manifests/crds")
    say(f"kubectl is {plane.tools / 'kubectl'}; it has no nodes: pods stay Pending. Ctrl-C ends it. In another shell:")
    print(f"export KUBECONFIG={shlex.quote(str(plane.admin))}", flush=True)
    while True:
        time.sleep(1)
        plane.check()


if __name__ == "__main__":
    sys.exit(main())
