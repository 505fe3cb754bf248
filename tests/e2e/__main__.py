"""``make cluster`` and ``make cluster-down``: a whole Kubernetes node by hand, which stays until it is told to go."""

import shlex
import subprocess
import sys
import time
from pathlib import Path

from e2e import images
from e2e.ground import BY_HAND, Ground, missing
from e2e.images import ROOT, Images
from e2e.node import Node

# Names that the chart uses when nobody says which images to take, as containerd completes them.
DEFAULT = "docker.io/library/{name}:{version}"


def say(text: str) -> None:
    """To standard error, so that standard output is what a shell can read."""
    print(f"cluster: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Returns the exit status."""
    if reason := missing():
        say(f"*** there can be no node here: {reason}")
        return 1
    ground = Ground(BY_HAND)
    if not ground.lock():
        say("*** another `make cluster` is starting or ending it")
        return 1
    if sys.argv[1:] == ["down"]:
        ground.clear()
        say("it is gone, with all that was in it")
        return 0
    if ground.pids():
        say("it is there already; `make cluster-down` takes it away")
    elif status := start(ground):
        return status
    say("kubectl and helm are ready once you have put these two lines into your shell:")
    print(f"export KUBECONFIG={shlex.quote(str(ground.folder / 'kubeconfig'))}")
    print(f'export PATH={shlex.quote(str(ground.folder / "bin"))}:"$PATH"', flush=True)
    say("then: helm install ls charts/longshore --wait")
    say("      kubectl apply -f manifests/examples/hello.yaml && kubectl wait --for=condition=Finished lsj/hello")
    say("      kubectl port-forward service/ls-api 8080:80")
    return 0


def start(ground: Ground) -> int:
    """Returns the exit status of what failed, or 0 when the node is ready."""
    began = time.monotonic()
    tools = _path([ROOT / "scripts/kube-tools", "--node"])
    helm = _path([ROOT / "scripts/chart-tools", "helm-3"])
    made = images.make()
    if tools is None or helm is None or made.returncode:
        return 1
    say(f"programs and images are there after {time.monotonic() - began:.0f} s; starting the node")
    began, found = time.monotonic(), images.read(made.stdout)
    node = Node(tools, ground, outlives=True)
    node.start(found.archives)
    name_as_the_chart_does(node, found)
    (ground.folder / "kubeconfig").symlink_to(node.plane.admin)
    commands = ground.folder / "bin"
    commands.mkdir()
    for name, program in (("kubectl", tools / "kubectl"), ("helm", helm)):
        (commands / name).symlink_to(program)
    say(f"the node is ready after {time.monotonic() - began:.0f} s; logs are in {ground.folder}")
    return 0


def name_as_the_chart_does(node: Node, found: Images) -> None:
    """So that the chart's own values find the images."""
    version = subprocess.run(
        ["sed", "-nE", 's/^appVersion: "?([^"]*)"?$/\\1/p', ROOT / "charts/longshore/Chart.yaml"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    for name in (images.WORKER, images.OPERATOR):
        node.ctr("images", "tag", "--force", found.tag(name), DEFAULT.format(name=name, version=version))


def _path(words: list[str | Path]) -> Path | None:
    """What a script prints; it says itself why it prints nothing."""
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
