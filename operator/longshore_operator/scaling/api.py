"""What the operator asks of the API server for its pools: replicas, annotations, who else scales them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from longshore.job.numerals import whole
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.job import Json
from longshore_operator.kube.client import JSON_PATCH, MERGE_PATCH, KubeClient, path_of
from longshore_operator.scaling.pool import DESIRED, HANDLERS, REASON, STATE, handlers_text
from longshore_operator.scaling.state import State

APPS, AUTOSCALING = "/apis/apps/v1", "/apis/autoscaling/v2"
HPA_SECONDS: Final = 30.0  # autoscalers are listed so often


class PoolApi:
    """Failures are logged and tried again with the next look."""

    def __init__(self, client: KubeClient, log: Callable[..., None]) -> None:
        self._client, self._log = client, log
        self._autoscaled: dict[str, tuple[float, dict[str, str]]] = {}
        """By namespace: when its autoscalers were listed, and their names by Deployment."""

    async def resize(self, state: State, replicas: int) -> bool:
        """Ask for so many, unless somebody else has changed the number meanwhile; whether that was done."""
        found = state.pool
        if replicas == found.replicas:
            return False
        patch: list[Json] = [{"op": "test", "path": "/metadata/uid", "value": found.uid}]
        if found.replicas:  # zero is left out of the object
            patch.append({"op": "test", "path": "/spec/replicas", "value": found.replicas})
        patch.append({"op": "add", "path": "/spec/replicas", "value": replicas})
        path = path_of("deployments", found.namespace, found.deployment, "scale", api=APPS)
        try:
            answer = await self._client.request("PATCH", path, patch, kind="scale", content_type=JSON_PATCH)
        except (KubeError, KubeUnavailable) as error:
            self._log("resize_refused", level="warning", pool=found.name, namespace=found.namespace, detail=str(error))
            return False
        self._log("resized", pool=found.name, namespace=found.namespace, before=found.replicas, replicas=replicas,
                  reason=state.decision.message if state.decision else "")  # fmt: skip
        state.seen_version = max(state.seen_version, version(answer))
        state.pool = replace(found, replicas=replicas)
        return True

    async def tell(self, state: State, desired: str, word: str, message: str, *, limit: str = "") -> None:
        """The annotations, when the number, the word, the ``limit`` that the message is about, or the handlers change.

        The message alone is no reason: its figures change with every look. A missing right is no reason not to scale.
        """
        handlers = handlers_text(state.pool, state.handlers)
        if state.told_why is None and (not limit or message == state.pool.written[1]):
            state.told_why = limit
        if (state.told, state.told_why) == ((desired, word, handlers), limit):
            return
        path = path_of("deployments", state.pool.namespace, state.pool.deployment, api=APPS)
        body = {
            "metadata": {"annotations": {DESIRED: desired, REASON: message, STATE: word, HANDLERS: handlers or None}}
        }
        try:
            await self._client.request("PATCH", path, body, kind="pool", content_type=MERGE_PATCH)
        except KubeUnavailable:
            return  # with the next look
        except KubeError as error:
            self._log("pool_untold", level="warning", pool=state.pool.name, detail=str(error))
        state.told, state.told_why = (desired, word, handlers), limit

    async def autoscalers(self, namespace: str, now: float) -> dict[str, str]:
        """Names of HorizontalPodAutoscalers by Deployment; raises KubeUnavailable. ``now`` is monotonic."""
        listed_at, found = self._autoscaled.get(namespace, (float("-inf"), {}))
        if now - listed_at < HPA_SECONDS:
            return found
        path = path_of("horizontalpodautoscalers", namespace, api=AUTOSCALING)
        try:
            targets = [(one["spec"]["scaleTargetRef"], one["metadata"]["name"])
                       async for page in self._client.pages(path) for one in page["items"]]  # fmt: skip
        except KubeError as error:  # somebody took that right away, and scales all the same
            self._log("autoscalers_unknown", level="warning", namespace=namespace, detail=error.message)
            targets = []
        found = {target["name"]: name for target, name in targets if target["kind"] == "Deployment"}
        self._autoscaled[namespace] = (now, found)
        return found


def version(resource: Json) -> int:
    """resourceVersion as a number, which the API server's have been so far; 0 for another."""
    return whole(str(resource["metadata"].get("resourceVersion", "0"))) or 0
