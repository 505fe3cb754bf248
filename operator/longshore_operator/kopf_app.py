"""The only kopf room: edges come in, are put on the desk, nothing is decided here and nothing is written.

Only ``on.event`` handlers, which return nothing: any other kind makes kopf write to every object.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import kopf

from longshore_operator.contain import named, one_object
from longshore_operator.job import Json
from longshore_operator.kube.client import GROUP, VERSION, outside
from longshore_operator.kube.config import KubeConfig
from longshore_operator.recover import POOL

Edge = Callable[[str | None, Json], None]

BEGINNING = 8  # requests that begin at a time
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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Session(kopf.AiohttpSession):
    """Two are equal when they have the same token: by that kopf knows credentials that were refused before."""

    token: str | None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Session) and other.token == self.token

    def __hash__(self) -> int:
        return hash(self.token)


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
        self._beginning = asyncio.Semaphore(BEGINNING)

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
        # The time in which requests wait to begin counts too.
        settings.networking.request_timeout = 20 + 0.1 * len(self._edges) * len(self._namespaces)
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

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        config = self._config
        # kopf asks when the API server took its token no longer, and gives up on one that it has tried before.
        config.refresh()
        token = config.bearer()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=config.ssl_context()), middlewares=(self._begin,),
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )  # fmt: skip
        return _Session(server=config.server, default_namespace=config.namespace, aiohttp_session=session, token=token)

    async def _begin(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Let few requests begin at a time: up to the answer's head, so a watch that has begun counts no more.

        Five watches for each namespace, which all shake hands and list at once, keep two cores so busy that none of them is done
        in time, and all of them try again.
        """
        async with self._beginning:
            return await handler(request)
