"""The only kopf room: edges come in, are put on the desk, nothing is decided here and nothing is written.

Only ``on.event`` handlers, which return nothing: any other kind makes kopf write to every object.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import kopf

from longshore_operator.contain import named, one_object
from longshore_operator.job import Json
from longshore_operator.kube.client import GROUP, VERSION, outside
from longshore_operator.kube.config import KubeConfig
from longshore_operator.recover import POOL

Edge = Callable[[str | None, Json], None]

JOBS, QUEUES, SCHEDULES, PODS, DEPLOYMENTS = "jobs", "queues", "schedules", "pods", "deployments"


class _NoDiff(kopf.DiffBaseStorage):
    """kopf keeps the last state of each object to find differences; nobody asks for them here."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """kopf keeps the progress of its handlers in the objects; ours have none."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: Any, **_: Any) -> Any:
        return essence


class Watches:
    """Every watch of the operator. ``edge(kind)`` is called for each event, in the loop, and only takes note."""

    def __init__(self, config: KubeConfig, namespaces: Sequence[str], edges: Mapping[str, Edge], selector: str,
                 excluded: Sequence[str] = ()) -> None:  # fmt: skip
        """``selector`` of jobs; nothing is seen of ``excluded`` namespaces."""
        self._excluded = excluded
        self._config, self._namespaces, self._edges, self._selector = config, namespaces, edges, selector
        self.heard_at: dict[str, float] = {}
        """Monotonic time of the last event of each kind."""
        self.missed_at: dict[str, float] = {}
        """Monotonic time at which a list showed what no event had, for kinds of which nothing has come since."""

    async def run(self, ready: asyncio.Event) -> None:
        """Until a watch breaks beyond repair; ``ready`` is set when all of them have begun."""
        logging.getLogger("kopf").setLevel(logging.ERROR)
        registry = kopf.OperatorRegistry()
        kopf.on.startup(registry=registry)(self._configure)
        kopf.on.login(registry=registry)(self._login)
        for kind, edge in self._edges.items():
            self._watch(registry, kind, edge)
        await kopf.operator(
            registry=registry, standalone=True, ready_flag=ready,
            **({"namespaces": list(self._namespaces)} if self._namespaces else {"clusterwide": True}),
        )  # fmt: skip

    def missed(self, kind: str) -> None:
        """A list had news of that kind; an event that is merely on its way clears this in a moment."""
        self.missed_at.setdefault(kind, time.monotonic())

    def _watch(self, registry: kopf.OperatorRegistry, kind: str, edge: Edge) -> None:
        async def handle(event: Any, **_: Any) -> None:
            self.heard_at[kind] = time.monotonic()
            self.missed_at.pop(kind, None)
            resource = dict(event["object"])
            with one_object(kind, *named(resource)):
                edge(event["type"], resource)

        if kind == PODS:
            kopf.on.event("", "v1", PODS, registry=registry, id=kind)(handle)
        elif kind == DEPLOYMENTS:
            kopf.on.event("apps", "v1", DEPLOYMENTS, registry=registry, id=kind)(handle)
        else:
            kopf.on.event(GROUP, VERSION, kind, registry=registry, id=kind)(handle)

    def _configure(self, settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.scanning.disabled = True
        settings.peering.standalone = True
        settings.posting.enabled = False
        settings.posting.level = logging.CRITICAL
        settings.queueing.idle_timeout = 0.5
        settings.networking.error_backoffs = (0.1, 0.3, 1, 2, 2, 5, 5)
        settings.networking.connect_timeout = 5
        settings.networking.request_timeout = 20
        settings.watching.connect_timeout = 5
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 330
        settings.watching.reconnect_backoff = 0.2
        settings.watching.chunk_size = 500
        settings.watching.field_selectors[GROUP, VERSION, JOBS] = outside(self._excluded, self._selector)
        if self._excluded:
            others = [
                (GROUP, VERSION, QUEUES),
                (GROUP, VERSION, SCHEDULES),
                ("", "v1", PODS),
                ("apps", "v1", DEPLOYMENTS),
            ]
            for kind in others:
                settings.watching.field_selectors[kind] = outside(self._excluded)
        settings.watching.label_selectors["", "v1", PODS] = POOL
        settings.watching.label_selectors["apps", "v1", DEPLOYMENTS] = POOL
        settings.persistence.diffbase_storage = _NoDiff()
        settings.persistence.progress_storage = _NoProgress()

    def _login(self, **_: Any) -> kopf.ConnectionInfo:
        config = self._config
        # kopf asks when the API server took its token no longer, and gives up on one that it has tried before.
        config.refresh()
        return kopf.ConnectionInfo(
            server=config.server, ca_path=config.ca_path, insecure=config.insecure or None, token=config.bearer(),
            ca_data=config.ca_data.encode() if config.ca_data else None,
            certificate_path=config.certificate[0] if config.certificate else None,
            private_key_path=config.certificate[1] if config.certificate else None,
            default_namespace=config.namespace,
        )  # fmt: skip
