"""A pool as its Deployment describes it. Pure: an object of the API server in, what it says out."""

import hashlib
from dataclasses import dataclass, fields
from typing import Any

import orjson

from longshore.job.numerals import whole
from longshore_operator.pool_namespaces import PoolNamespaces
from longshore_operator.recover import NAMESPACES, POOL, QUEUES
from longshore_operator.scaling.decide import Knobs

PREFIX = "longshore.dev/"
MIN, MAX = f"{PREFIX}min-workers", f"{PREFIX}max-workers"
DESIRED, REASON, STATE = f"{PREFIX}desired-replicas", f"{PREFIX}reason", f"{PREFIX}scaling"
"""Written by the operator, on change."""
HANDLERS = f"{PREFIX}handlers"
"""The same, for the leaders that follow: what its workers run, with the template that they were made from."""
MAX_WORKERS = 10_000
MAX_SECONDS = 86_400.0
MAX_REFUSAL = 500  # characters of the API server's message: a Pod Security refusal names each field
MAX_SLOTS = 10**6  # more is no number of slots
MAX_HANDLERS_BYTES = 16 * 1024  # of the annotation; all annotations of an object together may have 256 KiB

Json = dict[str, Any]
Key = tuple[str, str]

ANNOTATIONS = {
    "min_workers": (MIN, int, 0, MAX_WORKERS),
    "max_workers": (MAX, int, 0, MAX_WORKERS),
    "target_wait_seconds": (f"{PREFIX}target-wait-seconds", float, 0.1, MAX_SECONDS),
    "headroom_slots": (f"{PREFIX}headroom-slots", int, 0, MAX_WORKERS),
    "window_seconds": (f"{PREFIX}scale-down-window-seconds", float, 0.0, MAX_SECONDS),
    "idle_seconds": (f"{PREFIX}idle-seconds", float, 0.0, MAX_SECONDS),
    "up_workers": (f"{PREFIX}scale-up-workers", int, 1, MAX_WORKERS),
    "up_percent": (f"{PREFIX}scale-up-percent", int, 0, 1000),
    "down_percent": (f"{PREFIX}scale-down-percent", int, 1, 100),
    "prewarm_seconds": (f"{PREFIX}prewarm-seconds", float, 0.0, MAX_SECONDS),
    "unschedulable_seconds": (f"{PREFIX}unschedulable-seconds", float, 1.0, MAX_SECONDS),
}
"""By knob: annotation, type, least, most."""


class BadAnnotation(ValueError):
    """An annotation that cannot be used; says which and why."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A Deployment with the label ``longshore.dev/pool``."""

    namespace: str
    name: str
    """Of the pool: the label's value."""
    deployment: str
    """Name of the Deployment."""
    uid: str
    replicas: int
    """What its specification asks for."""
    paused: bool
    rolling: bool
    """Whether pods of an earlier template are being replaced, or a change has not been looked at."""
    ending: bool
    knobs: Knobs | None
    """None for a pool that somebody else scales: no ``max-workers``, or annotations that were never good."""
    bad: str
    """What is wrong with its annotations; empty when nothing is."""
    queues: frozenset[str]
    """Queues that its pods serve; all when empty."""
    namespaces: frozenset[str]
    """Namespaces whose jobs they run; ``*`` means all."""
    template: str
    """Changes with the pods' template: what was learnt of the workers of another one is worth nothing."""
    slots: int
    """Of a pod, by LONGSHORE_SLOTS in its template; 1 when that says nothing."""
    written: tuple[str, str, str]
    """Its annotations desired-replicas, reason and scaling."""
    handlers: str = ""
    """Its annotation handlers."""
    refused: int = 0
    """Pods that it asks for and that the API server refuses to make."""
    refusal: str = ""
    """Why, in the API server's words; empty while it refuses none."""

    @property
    def key(self) -> Key:
        """Namespace and name of the pool."""
        return self.namespace, self.name

    def serves(self, namespace: str, queue: str) -> bool:
        """Whether its pods may run jobs of that queue; as ``recover.Pod.serves``."""
        return (not self.queues or queue in self.queues) and not self.namespaces.isdisjoint({namespace, "*"})


def pool(deployment: Json, trust: PoolNamespaces, before: Knobs | None = None) -> Pool:
    """From the API server's object. Knobs that cannot be read stay as they were ``before``."""
    meta, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    annotations = meta.get("annotations") or {}
    template = spec["template"]
    of_pods = (template.get("metadata") or {}).get("annotations") or {}
    bad = ""
    try:
        knobs = read(annotations)
        if QUEUES in of_pods and not _names(of_pods[QUEUES]):
            raise BadAnnotation(f"{QUEUES} names no queue")
    except BadAnnotation as error:
        knobs, bad = before, str(error)
    replicas = int(spec.get("replicas", 1))
    refused, refusal = _refused(replicas, meta, status)
    return Pool(
        namespace=meta["namespace"], name=meta["labels"][POOL], deployment=meta["name"], uid=meta["uid"],
        replicas=replicas, paused=bool(spec.get("paused")), rolling=_rolling(meta, status),
        ending="deletionTimestamp" in meta, knobs=knobs, bad=bad,
        queues=_names(of_pods.get(QUEUES, "")),
        namespaces=trust.narrow(meta["namespace"], _names(of_pods.get(NAMESPACES, ""))),
        template=hashlib.sha256(orjson.dumps(template, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16],
        slots=_slots(template), written=(annotations.get(DESIRED, ""), annotations.get(REASON, ""), annotations.get(STATE, "")),
        handlers=annotations.get(HANDLERS, ""), refused=refused, refusal=refusal,
    )  # fmt: skip


def handlers_text(pool: Pool, handlers: frozenset[str] | None) -> str:
    """What the pool's workers run, for the annotation; as it is while they have told nothing, or too much to be kept."""
    if handlers is None:
        return pool.handlers
    text = orjson.dumps({"template": pool.template, "handlers": sorted(handlers)}).decode()
    return text if len(text) <= MAX_HANDLERS_BYTES else ""


def handlers_kept(pool: Pool) -> frozenset[str] | None:
    """What the annotation says; None when it says nothing of the pods that the pool has now."""
    try:
        kept = orjson.loads(pool.handlers)
        template, handlers = kept["template"], kept["handlers"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return None  # there is none, or somebody else wrote it
    if template != pool.template or not isinstance(handlers, list) or not all(isinstance(one, str) for one in handlers):
        return None
    return frozenset(handlers)


def read(annotations: dict[str, str]) -> Knobs | None:
    """The knobs; None when nothing is said of a maximum. Raises BadAnnotation."""
    if MAX not in annotations:
        if MIN in annotations:
            raise BadAnnotation(f"{MIN} is set without {MAX}")
        return None
    given: Json = {"min_workers": 0}
    for knob, (annotation, kind, least, most) in ANNOTATIONS.items():
        if annotation in annotations:
            given[knob] = _number(annotation, annotations[annotation], kind, least, most)
    knobs = Knobs(**given)
    if knobs.min_workers > knobs.max_workers:
        raise BadAnnotation(f"{MIN} ({knobs.min_workers}) is greater than {MAX} ({knobs.max_workers})")
    return knobs


def _number(annotation: str, text: str, kind: type, least: float, most: float) -> float:
    try:
        number: float = kind(text)
    except ValueError:
        raise BadAnnotation(f"{annotation} is no {'whole ' if kind is int else ''}number: {text[:40]!r}") from None
    if not least <= number <= most:  # nan is not either
        raise BadAnnotation(f"{annotation} is {text[:40]}, not from {least:g} to {most:g}")
    return number


def _observed(meta: Json, status: Json) -> bool:
    """Whether the Deployment controller has seen the specification as it is."""
    return int(status.get("observedGeneration", 0)) >= int(meta.get("generation", 0))


def _rolling(meta: Json, status: Json) -> bool:
    return not _observed(meta, status) or int(status.get("replicas", 0)) > int(status.get("updatedReplicas", 0))


def _refused(replicas: int, meta: Json, status: Json) -> tuple[int, str]:
    """How many of its pods the API server refuses, by the condition that the ReplicaSet's failure becomes, and why."""
    failure: Json = next((c for c in status.get("conditions") or () if c["type"] == "ReplicaFailure"), {})
    missing = replicas - int(status.get("replicas", 0))
    if failure.get("status") != "True" or missing <= 0 or not _observed(meta, status):
        return 0, ""
    words = " ".join(str(failure.get("message", "")).split())
    return missing, (words or str(failure.get("reason", "")))[:MAX_REFUSAL]


def _slots(template: Json) -> int:
    for container in template["spec"].get("containers", ()):
        for variable in container.get("env") or ():
            slots = whole(str(variable.get("value", "")))
            if variable.get("name") == "LONGSHORE_SLOTS" and slots is not None and slots < MAX_SLOTS:
                return slots
    return 1


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


assert ANNOTATIONS.keys() == {field.name for field in fields(Knobs)}
