"""Which namespaces another operator has: a namespace has one operator.

An operator says that a namespace is its own by a marker in that namespace: a Lease with the label `longshore.dev/owner`
whose holder is the operator's setting `owner`. The chart makes the markers, so they stand while an operator is down. Of
several in a namespace the oldest counts. A marker speaks for its own namespace alone, so who may write there can take
nothing else away. A Lease needs the least rights: reading Leases of all namespaces tells nobody a secret.

Of a namespace that is another's nothing is listed, nothing kept, nothing counted and nothing written. A namespace without
a marker belongs to the operator that watches all.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from longshore_operator.contain import named, one_object
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.job import Json
from longshore_operator.kube.client import KubeClient, path_of
from longshore_operator.kube.lease import API

Edge = Callable[[str | None, Json], None]

LABEL: Final = "longshore.dev/owner"
"""Of a marker; its value is the scope of the owner."""
CLUSTER: Final = "cluster"
MAX_OWNER: Final = 300
WATCH_SECONDS: Final = 300
PAUSE_SECONDS: Final = 1.0  # between two lists, however often somebody writes to a marker
REFUSED_SECONDS: Final = 60.0  # until a right that is missing is looked for again


def owners(leases: Iterable[Json]) -> dict[str, str]:
    """The owner of each namespace that has a marker: the oldest one's holder, of equally old ones the first by name."""
    found: dict[str, tuple[tuple[str, str], str]] = {}
    for lease in leases:
        with one_object("lease", *named(lease)):
            meta = lease["metadata"]
            holder = str((lease.get("spec") or {}).get("holderIdentity") or "")[:MAX_OWNER]
            order = (str(meta.get("creationTimestamp", "")), str(meta["name"]))
            if holder and order < found.get(meta["namespace"], (("~", ""), ""))[0]:
                found[meta["namespace"]] = order, holder
    return {namespace: holder for namespace, (_, holder) in found.items()}


class Part(Protocol):
    """What knows things of namespaces: jobs, queues, schedules, workers, pools."""

    def leave(self, namespace: str) -> None:
        """Forget all of a namespace, and write nothing about it."""
        ...


class Ownership:
    """Whose the namespaces are, as far as is known."""

    def __init__(
        self, client: KubeClient, namespaces: list[str], owner: str, log: Callable[..., None],
        back: Callable[[str], None],
    ) -> None:  # fmt: skip
        """``namespaces``: those to look into; ``[""]`` means all. ``back`` is told of one that is ours again."""
        self._client, self._namespaces, self._owner = client, namespaces, owner
        self._log, self._back = log, back
        self.parts: Sequence[Part] = ()
        """What has to forget a namespace that turns out to be another's, in this order."""
        self._others: dict[str, str] = {}
        self._version = ""
        self._rivals: set[str] = set()

    def ours(self, namespace: str) -> bool:
        """Whether no other operator has the namespace, as far as is known."""
        return namespace not in self._others

    def of_ours(self, edge: Edge) -> Edge:
        """The edge, deaf for namespaces that another operator has."""

        def handle(kind: str | None, resource: Json) -> None:
            if self.ours(resource["metadata"].get("namespace", "")):
                edge(kind, resource)

        return handle

    async def start(self) -> None:
        """Know the markers, before anything else is read; a missing right is logged, and nobody is another's then."""
        while True:
            try:
                await self._read()
                return
            except KubeUnavailable as error:
                self._log("markers_unreachable", level="warning", detail=str(error))
                await asyncio.sleep(PAUSE_SECONDS)
            except KubeError as error:
                self._refused(error)
                return

    async def run(self) -> None:
        """For ever: follow the markers."""
        watched = path_of("leases", api=API) if self._namespaces == [""] else ""
        while True:
            pause = PAUSE_SECONDS
            try:
                if watched and self._version:
                    await self._client.changed(watched, self._version, LABEL, WATCH_SECONDS)
                else:  # of single namespaces nobody needs to know at once, and a watch of each would be dear
                    await asyncio.sleep(WATCH_SECONDS)
                await asyncio.sleep(PAUSE_SECONDS)
                await self._read()
            except KubeUnavailable as error:
                pause = max(PAUSE_SECONDS, error.retry_after)
            except KubeError as error:
                if error.status != 410:  # else the version was too old; the list that follows has a new one
                    self._refused(error)
                    pause = REFUSED_SECONDS
                self._version = ""
            await asyncio.sleep(pause)

    async def _read(self) -> None:
        leases: list[Json] = []
        for namespace in self._namespaces:
            async for page in self._client.pages(path_of("leases", namespace, api=API), label_selector=LABEL):
                leases += page["items"]
                self._version = str(page["metadata"].get("resourceVersion", ""))
        self._name_rivals(leases)
        found = {namespace: holder for namespace, holder in owners(leases).items() if holder != self._owner}
        before, self._others = self._others, found
        for namespace in before.keys() - found.keys():
            self._log("namespace_ours_again", namespace=namespace, owner=before[namespace])
            self._back(namespace)
        for namespace, holder in found.items():
            if namespace in before:
                continue
            alone = self._namespaces == [""]  # one that has all is told of exceptions; else it was to run just these
            hint = "nothing of it is run here" if alone else "two releases name it; take it out of one of them"
            level = "info" if alone else "error"
            self._log("namespace_of_another", level=level, namespace=namespace, owner=holder, hint=hint)
            for part in self.parts:
                part.leave(namespace)

    def _name_rivals(self, leases: Iterable[Json]) -> None:
        """Two operators that watch all namespaces run all jobs twice; which of them is too many nobody here can know."""
        if self._namespaces != [""]:
            return
        for lease in leases:
            holder = str((lease.get("spec") or {}).get("holderIdentity") or "")[:MAX_OWNER]
            rival = (lease["metadata"].get("labels") or {}).get(LABEL) == CLUSTER and holder != self._owner
            if rival and holder not in self._rivals and len(self._rivals) < 100:
                self._rivals.add(holder)
                hint = "give one of them scope namespaced"
                self._log("another_operator_of_all", level="error", owner=holder, hint=hint)

    def _refused(self, error: KubeError) -> None:
        hint = "the role lacks list and watch of leases, so namespaces that another operator has are not known"
        self._log("markers_refused", level="warning", detail=error.message, hint=hint)
