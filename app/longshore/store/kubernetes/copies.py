"""Copies of a namespace's resources with how its jobs ended, and making them anew: ``longshore backup --namespace``.

A copy is a file of lines of JSON: what it is, then queues, schedules and jobs as the API server has them, without what it
gives anew. A status is a subresource, so a job that had ended is made in three steps: the resource with an annotation by
which no operator starts it, its status, and the annotation's end. A restore that was cut off goes on where it was.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from longshore.errors import StoreCorrupt, StoreUnsupported
from longshore.job.dependencies import in_order
from longshore.job.spec import API_VERSION
from longshore.job.status import RESTORING, TERMINAL
from longshore.store.kubernetes.client import KubeClient, Target, longshore
from longshore.store.kubernetes.measures import Measures
from longshore.store.kubernetes.refusals import AlreadyExists

FORMAT = {"copyOf": API_VERSION, "version": 1}
KINDS = {"Queue": "queues", "Schedule": "schedules", "Job": "jobs"}
PAGE, THREADS = 500, 8
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Json = dict[str, Any]


def connect(kubeconfig: Path | None) -> KubeClient:
    """Whoever has the kubeconfig, else the pod's account; raises SettingsError when no cluster is named."""
    return KubeClient(kubeconfig, Measures())


def back_up(client: KubeClient, namespace: str, target: Path) -> Counter[str]:
    """Write a copy that its owner alone can read; returns how many of each kind. The namespace may be in use.

    Raises StoreUnsupported when the target is there or cannot be written, and what the API server refuses.
    """
    partial = target.with_name(f"{target.name}.partial")
    counts: Counter[str] = Counter()
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(orjson.dumps(FORMAT | {"namespace": namespace}) + b"\n")
            for kind, plural in KINDS.items():
                for page in client.pages(longshore(plural, namespace), limit=PAGE):
                    file.writelines(orjson.dumps({"kind": kind, **_lasting(found)}) + b"\n" for found in page["items"])
                    counts[kind] += len(page["items"])
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, target)  # never in the place of a file that is there
    except FileExistsError:
        raise StoreUnsupported(f"{target} is there already; choose another name for the copy") from None
    except OSError as error:
        raise StoreUnsupported(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return counts


def restore(client: KubeClient, namespace: str, source: Path) -> tuple[Counter[str], Counter[str]]:
    """Make what is in a copy, in this namespace; returns how many of each kind were made, and how many were there already.

    Ended jobs stay ended, with their results; the others run from the beginning, behind those that they wait for.
    Raises StoreCorrupt, which names the line, and what the API server refuses.
    """
    made, there = Counter[str](), Counter[str]()
    waiting: dict[str, Json] = {}
    schedules: list[Json] = []

    def make(resources: Iterable[Json]) -> None:
        for kind, new in threads.map(lambda one: (one["kind"], _make(client, namespace, one)), resources):
            (made if new else there)[kind] += 1

    with ThreadPoolExecutor(THREADS) as threads:
        chunk: list[Json] = []
        for resource in _read(source):  # ended jobs first: who waits for one of them is not to find it missing
            if resource["kind"] == "Job" and not _has_ended(resource):
                waiting[resource["metadata"]["name"]] = resource
            elif resource["kind"] == "Schedule":
                schedules.append(resource)
            else:
                chunk.append(resource)
            if len(chunk) == PAGE:
                make(chunk)
                chunk = []
        make(chunk)
        order = in_order({name: list(one["spec"].get("after") or ()) for name, one in waiting.items()})
        for name in [*order, *(waiting.keys() - set(order))]:
            make([waiting[name]])
        make(schedules)
    return made, there


def _make(client: KubeClient, namespace: str, resource: Json) -> bool:
    """Whether it was not there yet, or not wholly."""
    target = longshore(KINDS[resource["kind"]], namespace)
    ended = resource["kind"] == "Job" and _has_ended(resource)
    metadata = dict(resource["metadata"]) | {"namespace": namespace}
    if ended:
        metadata["annotations"] = (metadata.get("annotations") or {}) | {RESTORING: "true"}
    body = {"apiVersion": API_VERSION, "kind": resource["kind"], "metadata": metadata, "spec": resource["spec"]}
    one = target.named(metadata["name"])
    try:
        client.post(target, body)
    except AlreadyExists:
        begun = (client.get(one)["metadata"].get("annotations") or {}).get(RESTORING) if ended else None
        if not begun:
            return False
    if ended:
        status = Target(one.resource, f"{one.path}/status", namespace)
        client.patch(status, {"status": resource["status"]})
        client.patch(one, {"metadata": {"annotations": {RESTORING: None}}})
    return True


def _lasting(resource: Json) -> Json:
    """What is not given anew by an API server."""
    meta = resource["metadata"]
    annotations = {name: text for name, text in (meta.get("annotations") or {}).items() if name != _APPLIED}
    kept = {"name": meta["name"], "labels": meta.get("labels") or {}, "annotations": annotations}
    return {"metadata": kept, "spec": resource.get("spec") or {}, "status": resource.get("status") or {}}


def _has_ended(resource: Json) -> bool:
    return resource["status"].get("phase") in TERMINAL


def _read(source: Path) -> Iterator[Json]:
    """The resources of a copy; the first line says that it is one."""
    number = 0
    try:
        with source.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield from _checked(source, number, line)
    except OSError as error:
        raise StoreUnsupported(f"{source} cannot be read: {error.strerror or error}") from error
    if not number:
        raise StoreCorrupt(f"{source}: line 0 is no copy of a namespace: the file is empty")


def _checked(source: Path, number: int, line: bytes) -> Iterator[Json]:
    try:
        found = orjson.loads(line)
        if number == 1:
            known = FORMAT.items() <= found.items()
        else:
            known = found["kind"] in KINDS and isinstance(found["metadata"]["name"], str)
            known = known and isinstance(found["spec"], dict) and isinstance(found["status"], dict)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        what = f"no copy of a namespace by `longshore backup`, {FORMAT}" if number == 1 else "no resource of ours"
        raise StoreCorrupt(f"{source}: line {number} is {what}")
    if number > 1:
        yield found
