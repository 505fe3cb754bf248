"""The configuration files of a node's programs. What is unusual says why."""

import json
from pathlib import Path
from typing import Any

from e2e.ground import Ground

PAUSE = "localhost/pause:0.1"


def containerd(ground: Ground) -> str:
    """TOML."""
    folder = ground.folder
    return f"""
version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Root without CAP_SYS_RESOURCE may not lower a score; without this every pod fails there.
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
"""


def network(ground: Ground) -> dict[str, Any]:
    """Of the pods: a bridge. It knows no NetworkPolicy."""
    addresses = {
        "type": "host-local", "ranges": [[{"subnet": ground.pods}]], "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": f"{ground.folder}/cni-addresses",
    }  # fmt: skip
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
              "ipam": addresses}  # fmt: skip
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}


def kubelet(ground: Ground, authority: Path) -> dict[str, Any]:
    """KubeletConfiguration."""
    folder = ground.folder
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": ground.address, "port": 10250,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": str(authority)}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{folder}/pki/kubelet.crt", "tlsPrivateKeyFile": f"{folder}/pki/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{folder}/containerd.sock",
        "podLogsDir": f"{folder}/pod-logs",  # a kubelet removes what others have in the usual one
        "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{ground.namespace}",
        "failCgroupV1": False, "failSwapOn": False,
        "clusterDNS": [ground.address], "clusterDomain": "cluster.local", "resolvConf": f"{folder}/resolv.conf",
        # The images were imported and cannot be fetched again, so none is ever removed, however full the disk is.
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
                         "imagefs.available": "0%"},
        "enforceNodeAllocatable": ["pods"],
        # Tests kill containers over and over; the usual pause between restarts grows to five minutes.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},
        # As often as tests want to see that a node is gone or back.
        "nodeStatusUpdateFrequency": "4s", "nodeLeaseDurationSeconds": 12, "syncFrequency": "10s",
    }  # fmt: skip


def proxy(ground: Ground, kubeconfig: Path, name: str) -> dict[str, Any]:
    """KubeProxyConfiguration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "iptables",
        "clientConnection": {"kubeconfig": str(kubeconfig)}, "clusterCIDR": ground.pods, "hostnameOverride": name,
        # Zeros leave the machine's own limits alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "metricsBindAddress": "127.0.0.1:10249", "healthzBindAddress": "127.0.0.1:10256",
        "iptables": {"minSyncPeriod": "100ms"},
    }  # fmt: skip


def names(ground: Ground, kubeconfig: Path) -> str:
    """Corefile: names of Services, and for all others the answer that there is no such name."""
    return f"""cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {{
    bind {ground.address}
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
    }}
}}
.:53 {{
    bind {ground.address}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def write(path: Path, content: dict[str, Any] | str) -> Path:
    """A text, or an object as JSON, which is YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return path
