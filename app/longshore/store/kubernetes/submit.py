"""New jobs into etcd: one at once, a batch all or none as far as an API server without transactions goes.

A batch is created on trial first (server dry-run): names, quotas, rules and admission are asked without a job being there
for the operator to start. Then it is created; should that still fail, what was made is deleted again. Between the first
create and the last, or when this process is killed there, a part of the batch is there.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from longshore.errors import Conflict, InvalidRequest, KeyReused, NotFound, StoreUnavailable
from longshore.job.dependencies import in_order
from longshore.job.spec import MUTABLE_FIELDS, parse_spec
from longshore.store.kubernetes.client import KubeClient, Target
from longshore.store.kubernetes.documents import FINGERPRINT, Order, Resource, job_doc, order
from longshore.store.kubernetes.queues import Queues
from longshore.store.kubernetes.refusals import AlreadyExists
from longshore.store.port import Key, NewJob, Submitted

ABREAST = 8  # creates of a batch at a time: more only wait in the API server
T = TypeVar("T")
_log = logging.getLogger("longshore.submit")
_pool = ThreadPoolExecutor(ABREAST, thread_name_prefix="batch")


class Submitter:
    """Creates the jobs of one namespace."""

    def __init__(self, client: KubeClient, jobs: Target, queues: Queues) -> None:
        self._client, self._jobs, self._queues = client, jobs, queues

    def submit(self, jobs: Sequence[NewJob], key: Key | None) -> list[Submitted]:
        """As ``JobStore.submit``, without the wait."""
        self._queues.check_room(jobs)
        if len(jobs) == 1:
            one = order(jobs[0], key)
            if jobs[0].batch:
                self._check_after([one])
            return [self._create(one)]
        orders = [order(new, key, place) for place, new in enumerate(jobs)]
        if len({one.name for one in orders}) < len(orders):
            raise InvalidRequest(
                "two jobs of the batch have the same name", errors=[{"pointer": "/jobs", "detail": "names must differ"}]
            )
        self._check_after(orders)
        return self._create_all(orders)

    def _check_after(self, orders: Sequence[Order]) -> None:
        """Every name that a job of the batch waits for is that of another one, or of a job that is there."""
        members = {one.name for one in orders}
        places = {
            name: f"{one.new.at}/after/{place}"
            for one in orders
            for place, name in enumerate(one.new.after)
            if name not in members
        }

        def there(name: str) -> None:
            try:
                self._client.get(self._jobs.named(name))
            except NotFound:
                detail = f"there is no job {name} to wait for"
                raise InvalidRequest(f"{places[name]}: {detail}",
                                     errors=[{"pointer": places[name], "detail": detail}]) from None  # fmt: skip

        _raise_first(_each(list(places), there))

    def _create(self, one: Order) -> Submitted:
        try:
            return Submitted(one.name, True, job_doc(self._post(one)))
        except AlreadyExists:
            return self._existing(one)

    def _try(self, one: Order) -> None:
        """Create it on trial."""
        try:
            self._post(one, dryRun="All")
        except AlreadyExists:
            self._existing(one)

    def _post(self, one: Order, **params: object) -> Resource:
        try:
            # Again is harmless: the name makes the second request find the first one's job.
            return self._client.post(self._jobs, one.resource(), again=True, fieldValidation="Strict", **params)
        except InvalidRequest as error:
            raise _where(error, one.new.at) from error

    def _existing(self, one: Order) -> Submitted:
        """The job that has the name: the same one asked for again, or another."""
        found = self._client.get(self._jobs.named(one.name))
        if not one.fingerprint:  # 80 random bits: our own first request, whose answer got lost
            return Submitted(one.name, True, job_doc(found))
        if _asks_the_same(found, one):
            return Submitted(one.name, False, job_doc(found))
        raise KeyReused if one.keyed else Conflict(f"there is another job named {one.name}")

    def _create_all(self, orders: Sequence[Order]) -> list[Submitted]:
        _raise_first(_each(orders, self._try))
        made: list[Submitted | Exception | None] = [None] * len(orders)
        for places in _waves(orders):  # the operator fails a job whose dependency is not there when it looks
            for place, answer in zip(places, _each([orders[at] for at in places], self._create), strict=True):
                made[place] = answer
            if any(isinstance(answer, Exception) for answer in made):
                break
        try:
            _raise_first(made)
        except Exception as error:  # whatever it was: all or none
            self._undo([found for found in made if isinstance(found, Submitted) and found.created], error)
            raise
        return [found for found in made if isinstance(found, Submitted)]

    def _undo(self, made: Sequence[Submitted], why: Exception) -> None:
        """Take back what was created; raises StoreUnavailable that says so when that cannot be done."""
        left = [found for found in _each(made, self._remove, to_the_end=True) if isinstance(found, Exception)]
        _log.warning("a batch was taken back: %s; %d jobs made, %d left", why, len(made), len(left))
        if left:
            text = f"the batch broke off ({why}); {len(left)} of its jobs are kept and could not be taken back"
            raise StoreUnavailable(f"{text}: send it again under the same Idempotency-Key", retry_after=5) from why

    def _remove(self, made: Submitted) -> None:
        assert made.job is not None
        try:
            self._client.delete(self._jobs.named(made.id), uid=str(made.job["uid"]))
        except NotFound:
            pass  # somebody else was faster


def _waves(orders: Sequence[Order]) -> list[list[int]]:
    """Places of the jobs that can be created together: each wave waits only for jobs of earlier ones."""
    places = {one.name: place for place, one in enumerate(orders)}
    after = {one.name: [name for name in one.new.after if name in places] for one in orders}
    depth: dict[str, int] = {}
    waves: list[list[int]] = []
    for name in in_order(after):
        depth[name] = max((depth[other] + 1 for other in after[name]), default=0)
        if depth[name] == len(waves):
            waves.append([])
        waves[depth[name]].append(places[name])
    return waves


def _asks_the_same(found: Resource, one: Order) -> bool:
    """By the digest that we left; a job that came through another door, such as kubectl, is compared field by field."""
    if digest := (found["metadata"].get("annotations") or {}).get(FINGERPRINT):
        return bool(digest == one.fingerprint)
    return (
        not one.keyed
        and (found["metadata"].get("labels") or {}) == one.new.labels
        and _asked_for(orjson.dumps(found["spec"])) == _asked_for(one.new.spec)
    )


def _asked_for(spec: bytes) -> dict[str, Any] | None:
    """With all defaults, and without what may change later; None for what is no specification of this release."""
    try:
        return parse_spec(spec).model_dump(exclude=set(MUTABLE_FIELDS))
    except ValidationError:
        return None


def _where(error: InvalidRequest, at: str) -> InvalidRequest:
    """The same complaint about the fields of the request, where the resource's are not."""
    labels = f"{at.removesuffix('/spec')}/metadata/labels" if at.endswith("/spec") else f"{at}/labels"
    errors = []
    for found in error.errors:
        place = found.get("pointer", "")
        if place == "/spec" or place.startswith("/spec/"):
            found = {**found, "pointer": at + place.removeprefix("/spec")}
        elif place.startswith("/metadata/labels"):
            found = {**found, "pointer": labels + place.removeprefix("/metadata/labels")}
        errors.append(found)
    return type(error)(error.message, errors=errors)


def _each(
    things: Sequence[T], act: Callable[[T], Submitted | None], *, to_the_end: bool = False
) -> list[Submitted | Exception | None]:
    """Do it to all, several at a time, in the order of the things; unless ``to_the_end``, until one fails."""
    failed: list[Exception] = []

    def one(thing: T) -> Submitted | Exception | None:
        if failed and not to_the_end:
            return failed[0]
        try:
            return act(thing)
        except Exception as error:  # handed to whoever asked for all of them
            failed.append(error)
            return error

    return list(_pool.map(one, things))


def _raise_first(found: Sequence[object]) -> None:
    for answer in found:
        if isinstance(answer, Exception):
            raise answer
