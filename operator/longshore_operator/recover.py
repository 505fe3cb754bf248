"""Is a worker still there, and whose is an attempt that it names? Pure decisions over what is said."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from longshore_operator.pool_namespaces import PoolNamespaces

POOL = "longshore.dev/pool"
QUEUES = "longshore.dev/queues"  # annotation of a pod: the queues it serves, with commas; all without it
NAMESPACES = "longshore.dev/serves-namespaces"  # annotation: more namespaces, with commas, or *
DRAIN = "longshore.dev/drain"  # annotation: "true" for a pod that is to take nothing more; people write it
PORT_NAME = "http"
PENDING, UNSCHEDULABLE = "Pending", "Unschedulable"  # stages of a pod that has no node

BY_HAND = "by-hand:"
STARTS = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons of a waiting container that every start has; each other one (ImagePullBackOff, CrashLoopBackOff,
CreateContainerConfigError, …) says that the start has failed."""
MAX_TROUBLE = 300  # characters; the kubelet's message can hold the output of a hook

SILENT_SECONDS = 5.0  # a feed's answer that is so late (a poll may wait 10 s by itself), though its pod looks well
SILENT_UNREADY_SECONDS = 2.0  # the same for a pod that is not ready either
# Refused connections, in a second: no process listens any more, and the kubelet, which looks once a second,
# has had time to say why.
REFUSALS = 4
OUT_OF_MEMORY = "OOMKilled"


@dataclass(frozen=True, slots=True)
class Pod:
    """What matters of a Pod of a pool."""

    uid: str
    name: str
    namespace: str
    pool: str
    address: str
    """``host:port`` of its attempts API; empty while it has no IP."""
    ready: bool
    ending: bool
    """Whether it is being deleted: it takes nothing new, what runs may finish."""
    ended: str
    """Why it runs no more; empty while it does."""
    last_end: str
    """How its container ended the last time: ``OOMKilled``, ``Error``, …"""
    last_end_at: float
    """When that was, seconds since the epoch by the kubelet's clock, cut to whole seconds; 0 if never."""
    queues: frozenset[str]
    """Queues that it serves; empty means all."""
    namespaces: frozenset[str]
    """Namespaces whose jobs it runs; ``*`` means all."""
    stage: str = ""
    """How far it has come, while it is not ready: ``Unschedulable``, ``Pending``, ``ContainerCreating``, ``ImagePullBackOff``, ``Starting``, …"""

    starting: bool = False
    """Whether it has not been ready yet since its container started."""

    running: bool = True
    """Whether its worker's container runs, as the kubelet said last."""

    trouble: str = ""
    """Why it does not become ready, in the cluster's own words; empty while nothing is known to be wrong.

    ``Unschedulable: 0/3 nodes are available``, ``ImagePullBackOff: Back-off pulling image …``, ``CrashLoopBackOff: …``
    """

    drained: bool = False
    """Whether somebody asked by its annotation that it takes nothing more; what runs there may finish."""

    @property
    def open(self) -> bool:
        """Whether its worker's word decides if it takes jobs. It says that it can before the kubelet's next probe finds out;
        one that is not ready any more takes nothing, whatever it says.
        """
        return self.ready or self.starting

    def serves(self, namespace: str, queue: str) -> bool:
        """Whether it may run jobs of that queue."""
        return (not self.queues or queue in self.queues) and self.trusted(namespace)

    def trusted(self, namespace: str) -> bool:
        """Whether it may run jobs of that namespace, and be believed what it says of them."""
        return not self.namespaces.isdisjoint({namespace, "*"})


def pod(resource: dict[str, Any], trust: PoolNamespaces) -> Pod:
    """From the API server's object; what its annotation asks for counts as far as the settings allow."""
    meta, status = resource["metadata"], resource.get("status") or {}
    annotations = meta.get("annotations") or {}
    containers = status.get("containerStatuses") or ()
    name, address = _door(resource, status.get("podIP", ""))
    states = [c.get(state) or {} for c in containers if c["name"] == name for state in ("state", "lastState")]
    started = next((state["running"].get("startedAt", "") for state in states if state.get("running")), "")
    ready = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), {"status": ""})
    end: dict[str, str] = next((state["terminated"] for state in states if state.get("terminated")), {})
    phase = status.get("phase", "")
    return Pod(
        uid=meta["uid"], name=meta["name"], namespace=meta["namespace"],
        pool=(meta.get("labels") or {}).get(POOL, ""), address=address,
        ready=ready["status"] == "True",
        ending="deletionTimestamp" in meta,
        ended=(status.get("reason") or phase) if phase in ("Failed", "Succeeded") else "",
        last_end=end.get("reason", ""), last_end_at=_epoch(end.get("finishedAt")),
        queues=_names(annotations.get(QUEUES, "")),
        namespaces=trust.narrow(meta["namespace"], _names(annotations.get(NAMESPACES, ""))), stage=_stage(resource, status),
        # Times in one format, in whole seconds, by the kubelet's clock.
        starting=ready["status"] == "False" and ready.get("lastTransitionTime", "") <= started,
        running=any((c.get("state") or {}).get("running") for c in containers if name in ("", c["name"])),
        trouble=_trouble(resource, status, name)[:MAX_TROUBLE], drained=annotations.get(DRAIN) == "true",
    )  # fmt: skip


def by_hand(address: str) -> Pod:
    """A worker that somebody started outside the cluster: always there, as far as the API server can tell."""
    everything = frozenset({"*"})
    return Pod(f"{BY_HAND}{address}", address, "", "", address, ready=True, ending=False, ended="", last_end="",
               last_end_at=0.0, queues=frozenset(), namespaces=everything)  # fmt: skip


def _door(resource: dict[str, Any], ip: str) -> tuple[str, str]:
    """Name of the worker's container, and where its attempts API is."""
    doors = [
        (container["name"], port["containerPort"])
        for container in resource["spec"].get("containers", ())
        for port in container.get("ports") or ()
        if port.get("name") == PORT_NAME
    ]
    host = f"[{ip}]" if ":" in ip else ip
    name, port = doors[0] if doors else ("", 0)
    return name, f"{host}:{port}" if ip and port else ""


def _stage(resource: dict[str, Any], status: dict[str, Any]) -> str:
    if not resource["spec"].get("nodeName"):
        reasons = {c.get("reason", "") for c in status.get("conditions") or () if c["type"] == "PodScheduled"}
        return UNSCHEDULABLE if UNSCHEDULABLE in reasons else PENDING
    waiting = _waiting(status)
    failed = [reason for reason, _ in waiting if reason not in STARTS]
    return next(iter(failed), waiting[0][0] if waiting else "Starting")


def _waiting(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Reason and message of each container that waits, init containers first."""
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    waiting = [found for c in containers if (found := (c.get("state") or {}).get("waiting"))]
    return [(str(one.get("reason", "")), str(one.get("message", ""))) for one in waiting]


def _trouble(resource: dict[str, Any], status: dict[str, Any], name: str) -> str:
    """Of a pod that does not start; ``name`` is that of its worker's container."""
    if not resource["spec"].get("nodeName"):
        scheduled = [c for c in status.get("conditions") or () if c["type"] == "PodScheduled"]
        refused = [c.get("message", "") for c in scheduled if c.get("reason") == UNSCHEDULABLE]
        return _words(UNSCHEDULABLE, refused[0]) if refused else ""
    if failed := [(reason, message) for reason, message in _waiting(status) if reason not in STARTS]:
        return _words(*failed[0])
    # Between two waits of a crash loop the container runs for a moment: it is in trouble until it is ready.
    for container in status.get("containerStatuses") or ():
        end = (container.get("lastState") or {}).get("terminated")
        if container["name"] == name and end and not container.get("ready"):
            count = container.get("restartCount", 0)
            return _words(end.get("reason") or "Error", f"its container ended with exit code {end.get('exitCode')} "
                          f"and was started {count} more time{'' if count == 1 else 's'}")  # fmt: skip
    return ""


def _words(reason: str, message: str) -> str:
    return f"{reason}: {' '.join(message.split())}" if message.strip() else reason


def _epoch(told: str | None) -> float:
    return datetime.fromisoformat(told).timestamp() if told else 0.0


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def container_end(pod: Pod | None, heard_at: float) -> str:
    """How the container has ended since its worker was heard, such as ``OOMKilled``; empty if not, as far as is known.

    A container starts for longer than the second that the kubelet's times are cut by.
    """
    return pod.last_end if pod is not None and pod.last_end_at + 1 > heard_at else ""


def lost(pod: Pod | None, *, silent_seconds: float, refusals: int, heard_at: float = 0.0) -> str:
    """Why everything that ran on the worker is lost; empty while there is hope.

    A pod that is gone or has ended is certain. A process that does not listen any more is as good as certain: the engine
    holds the port to its last moment. ``refusals``: how often that was seen since it was heard last; once is enough when
    the kubelet says that its container has ended. Silence is a guess: a late result is refused by its number. It counts
    from when the feed should have answered, because a worker that runs one long job has nothing to tell for long.
    """
    if pod is None:
        return "its pod is gone"
    if pod.ended:
        return f"its pod has ended: {pod.ended}"
    if refusals >= (1 if container_end(pod, heard_at) else REFUSALS):
        return "its process is gone"
    limit = SILENT_SECONDS if pod.open else SILENT_UNREADY_SECONDS
    if silent_seconds > limit:
        return f"its worker's answer is {silent_seconds:.0f} seconds late"
    return ""


class Claim(StrEnum):
    """What an attempt is that a worker names."""

    OURS = "ours"  # the one that lives: go on with it
    NEW = "new"  # started by a leader before us who did not write it down: adopt it
    TWIN = "twin"  # the same number lives elsewhere, by two that both led: whichever ends first is the record
    STALE = "stale"  # given up, or of another job's pool: it counts for nothing


def claim(number: int, worker: str, *, held: tuple[int, str] | None, latest: int) -> Claim:
    """``worker`` is the uid of its pod; ``held`` number and worker of the attempt that lives; ``latest`` the highest
    number that the job (or item) is known to have used. An attempt without a worker was running when its status was
    written, and no worker has named it yet: a later number says that it was given up.
    """
    if held is not None and held[0] == number:
        return Claim.OURS if held[1] in ("", worker) else Claim.TWIN
    return Claim.NEW if number > latest and (held is None or not held[1]) else Claim.STALE
