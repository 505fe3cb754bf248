"""Is a worker still there, and whose is an attempt that it names? Pure decisions over what is said."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

POOL = "longshore.dev/pool"
QUEUES = "longshore.dev/queues"  # annotation of a pod: the queues it serves, with commas; all without it
NAMESPACES = "longshore.dev/serves-namespaces"  # annotation: more namespaces, with commas, or *
PORT_NAME = "http"
PENDING, UNSCHEDULABLE = "Pending", "Unschedulable"  # stages of a pod that has no node

BY_HAND = "by-hand:"

SILENT_SECONDS = 5.0  # a feed's answer that is so late (a poll may wait 10 s by itself), though its pod looks well
SILENT_UNREADY_SECONDS = 2.0  # the same for a pod that is not ready either
REFUSALS = 3  # refused connections in a row, a fraction of a second apart: no process listens any more


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
    queues: frozenset[str]
    """Queues that it serves; empty means all."""
    namespaces: frozenset[str]
    """Namespaces whose jobs it runs; ``*`` means all."""
    stage: str = ""
    """How far it has come, while it is not ready: ``Unschedulable``, ``Pending``, ``ContainerCreating``, ``ImagePullBackOff``, ``Starting``, …"""

    def serves(self, namespace: str, queue: str) -> bool:
        """Whether it may run jobs of that queue."""
        return (not self.queues or queue in self.queues) and self.trusted(namespace)

    def trusted(self, namespace: str) -> bool:
        """Whether it may run jobs of that namespace, and be believed what it says of them."""
        return not self.namespaces.isdisjoint({namespace, "*"})


def pod(resource: dict[str, Any]) -> Pod:
    """From the API server's object."""
    meta, status = resource["metadata"], resource.get("status") or {}
    annotations = meta.get("annotations") or {}
    containers = status.get("containerStatuses") or ()
    lasts = [(c.get("lastState") or {}).get("terminated") for c in containers]
    phase = status.get("phase", "")
    return Pod(
        uid=meta["uid"], name=meta["name"], namespace=meta["namespace"],
        pool=(meta.get("labels") or {}).get(POOL, ""), address=_address(resource, status.get("podIP", "")),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()),
        ending="deletionTimestamp" in meta,
        ended=(status.get("reason") or phase) if phase in ("Failed", "Succeeded") else "",
        last_end=next((str(last.get("reason", "")) for last in lasts if last), ""),
        queues=_names(annotations.get(QUEUES, "")),
        namespaces=_names(annotations.get(NAMESPACES, "")) | {meta["namespace"]}, stage=_stage(resource, status),
    )  # fmt: skip


def by_hand(address: str) -> Pod:
    """A worker that somebody started outside the cluster: always there, as far as the API server can tell."""
    everything = frozenset({"*"})
    return Pod(f"{BY_HAND}{address}", address, "", "", address, ready=True, ending=False, ended="", last_end="",
               queues=frozenset(), namespaces=everything)  # fmt: skip


def _address(resource: dict[str, Any], ip: str) -> str:
    ports = [
        port["containerPort"]
        for container in resource["spec"].get("containers", ())
        for port in container.get("ports") or ()
        if port.get("name") == PORT_NAME
    ]
    host = f"[{ip}]" if ":" in ip else ip
    return f"{host}:{ports[0]}" if ip and ports else ""


def _stage(resource: dict[str, Any], status: dict[str, Any]) -> str:
    if not resource["spec"].get("nodeName"):
        reasons = {c.get("reason", "") for c in status.get("conditions") or () if c["type"] == "PodScheduled"}
        return UNSCHEDULABLE if UNSCHEDULABLE in reasons else PENDING
    waiting = [(c.get("state") or {}).get("waiting") for c in status.get("containerStatuses") or ()]
    return next((str(one.get("reason", "")) for one in waiting if one), "Starting")


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def lost(pod: Pod | None, *, silent_seconds: float, refusals: int) -> str:
    """Why everything that ran on the worker is lost; empty while there is hope.

    A pod that is gone or has ended is certain. A process that does not listen any more is as good as certain: the
    engine holds the port to its last moment. Silence is a guess: a late result is refused by its number. It counts
    from when the feed should have answered, because a worker that runs one long job has nothing to tell for long.
    """
    if pod is None:
        return "its pod is gone"
    if pod.ended:
        return f"its pod has ended: {pod.ended}"
    if refusals >= REFUSALS:
        return f"its process is gone{f' ({pod.last_end})' if pod.last_end else ''}"
    limit = SILENT_SECONDS if pod.ready else SILENT_UNREADY_SECONDS
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
