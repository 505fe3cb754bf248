"""Queues of a namespace: their policies are resources; a queue without one has the defaults."""

import time
from collections.abc import Mapping, Sequence

import orjson
from pydantic import ValidationError

from longshore.errors import InvalidRequest, NotFound, PreconditionFailed, QuotaExceeded
from longshore.job.preconditions import NONE, Precondition, policy_tag
from longshore.job.queues import QUEUE_KIND, QueueSpec
from longshore.job.spec import API_VERSION
from longshore.job.wording import sentence
from longshore.store.kubernetes.client import Json, KubeClient, longshore
from longshore.store.kubernetes.documents import queue_doc
from longshore.store.kubernetes.refusals import AlreadyExists, Changed
from longshore.store.port import NewJob

DEFAULT = "default"
FRESH_SECONDS = 5.0  # a policy is read again after so long; the depths in it are written as often
FULL_RETRY_SECONDS = 5
REMEMBERED = 1000  # policies
TRIES = 5  # of a change to a queue whose depth is written at the same time


class Queues:
    """Reads, changes, and asks whether there is room."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client, self._target = client, longshore("queues", namespace)
        self._read: dict[str, tuple[float, Json]] = {}

    def all(self) -> list[dict[str, object]]:
        """All that have a resource, and `default`."""
        found = {queue["metadata"]["name"]: queue for queue in self._client.get(self._target, list_=True)["items"]}
        return [queue_doc(name, queue) for name, queue in sorted(({DEFAULT: {}} | found).items())]

    def one(self, name: str) -> dict[str, object]:
        """One of them; raises NotFound."""
        found = self._resource(name)
        if not found and name != DEFAULT:
            raise NotFound(f"there is no queue {name}")
        return queue_doc(name, found)

    def _resource(self, name: str) -> Json:
        try:
            return self._client.get(self._target.named(name))
        except NotFound:
            return {}

    def known(self, name: str) -> Json:
        """The resource, perhaps a few seconds old; empty when there is none."""
        now = time.monotonic()
        at, found = self._read.get(name, (0.0, {}))
        if not at or now - at > FRESH_SECONDS:
            found = self._resource(name)
            if len(self._read) >= REMEMBERED:
                self._read.clear()  # names come from whoever submits
            self._read[name] = (now, found)
        return found

    def change(self, name: str, changes: Mapping[str, object], only: Precondition = NONE) -> dict[str, object]:
        """Lay fields over the policy, null takes one away; makes the resource when there is none.

        Raises PreconditionFailed when the policy is not as ``only`` wants it.
        """
        given = {field: value for field, value in changes.items() if value is not None}
        try:
            # A null is a field that the policy does not have; whether there is such a field is asked with any value.
            QueueSpec.model_validate_json(orjson.dumps(given), by_alias=True, by_name=False)
        except ValidationError as error:
            raise InvalidRequest("the policy of the queue is wrong", errors=[
                {"pointer": "/" + "/".join(map(str, found["loc"])), "detail": sentence(found["type"], found["msg"])} for found in error.errors()
            ]) from None  # fmt: skip
        self._read.pop(name, None)
        if only == NONE:
            return queue_doc(name, self._lay(name, changes, given))
        for _ in range(TRIES):
            found = self._resource(name)
            only.check(policy_tag(queue_doc(name, found)), f"queue {name}")
            try:
                return queue_doc(name, self._lay_over(found, name, changes, given))
            except (AlreadyExists, Changed):
                continue  # perhaps the operator has only written the queue's depth: look again
        raise PreconditionFailed(f"queue {name} keeps changing; read it again")

    def _lay_over(self, found: Json, name: str, changes: Mapping[str, object], given: Mapping[str, object]) -> Json:
        """The same over exactly the resource that was found; raises AlreadyExists, Changed."""
        if not found:
            return self._client.post(self._target, _new(name, given), fieldValidation="Strict")
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        patch = {"metadata": version, "spec": changes}
        return self._client.patch(self._target.named(name), patch, fieldValidation="Strict")

    def _lay(self, name: str, changes: Mapping[str, object], given: Mapping[str, object]) -> Json:
        try:
            return self._client.patch(self._target.named(name), {"spec": changes}, fieldValidation="Strict")
        except NotFound:
            pass  # it has the defaults so far
        try:
            return self._client.post(self._target, _new(name, given), fieldValidation="Strict")
        except AlreadyExists:
            return self._client.patch(self._target.named(name), {"spec": changes}, fieldValidation="Strict")

    def check_room(self, jobs: Sequence[NewJob]) -> None:
        """Raises QuotaExceeded when a queue is full, as far as its status, a few seconds old, tells."""
        wanted: dict[str, int] = {}
        for job in jobs:
            name = str(orjson.loads(job.spec).get("queue") or DEFAULT)
            wanted[name] = wanted.get(name, 0) + 1
        for name, count in wanted.items():
            queue = self.known(name)
            limit = (queue.get("spec") or {}).get("maxPending")
            depth = (queue.get("status") or {}).get("depth", 0)
            if limit is not None and depth + count > limit:
                text = f"queue {name} holds {depth} of {limit} waiting jobs"
                raise QuotaExceeded(text, retry_after=FULL_RETRY_SECONDS)


def _new(name: str, spec: Mapping[str, object]) -> Json:
    return {"apiVersion": API_VERSION, "kind": QUEUE_KIND, "metadata": {"name": name}, "spec": spec}
