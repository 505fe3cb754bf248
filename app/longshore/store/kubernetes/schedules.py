"""Schedules of a namespace: resources, which the operator's leader acts on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from longshore.errors import Conflict, InvalidRequest, KeyReused, NotFound, PreconditionFailed
from longshore.job.idempotency import name_from_key
from longshore.job.preconditions import NONE, Precondition, schedule_state_tag
from longshore.job.schedule import SCHEDULE_KIND, ScheduleOrigin, ScheduleSpec
from longshore.job.schedule_rules import LABEL, label_of
from longshore.job.spec import API_VERSION, KIND
from longshore.store.kubernetes import lists
from longshore.store.kubernetes.client import Json, KubeClient, Target, longshore
from longshore.store.kubernetes.documents import FINGERPRINT, SOURCE, job_doc
from longshore.store.kubernetes.refusals import AlreadyExists, Changed
from longshore.store.port import JobDoc, Key
from longshore.store.schedule_port import ScheduleDoc

TRIES = 5  # of a change to a schedule whose status is written at the same time


class Schedules:
    """The part of the store that is about schedules, for those of one namespace."""

    def __init__(self, client: KubeClient, jobs: Target, namespace: str) -> None:
        self._client, self._jobs = client, jobs
        self._schedules = longshore("schedules", namespace)

    def schedules(self, *, cursor: str = "", limit: int = 100) -> tuple[list[ScheduleDoc], str]:
        """See ``ScheduleStore.schedules``."""
        found, following = lists.page(self._client, self._schedules, limit=limit, cursor=cursor)
        return [schedule_doc(schedule) for schedule in found], following

    def schedule(self, name: str) -> ScheduleDoc:
        """See ``ScheduleStore.schedule``."""
        return schedule_doc(self._found(name))

    def _found(self, name: str) -> Json:
        try:
            return self._client.get(self._schedules.named(name))
        except NotFound:
            raise NotFound(f"there is no schedule {name} in the namespace {self._schedules.namespace}") from None

    def put_schedule(
        self, name: str, labels: Mapping[str, str], spec: bytes, *, replace: bool, only: Precondition = NONE
    ) -> tuple[ScheduleDoc, bool]:
        """See ``ScheduleStore.put_schedule``."""
        wanted = orjson.loads(spec)
        for _ in range(TRIES):
            try:
                found = self._found(name)
            except NotFound:
                if only.match is not None:
                    raise PreconditionFailed(f"there is no schedule {name}") from None
                try:
                    return schedule_doc(
                        self._client.post(self._schedules, _new(name, labels, wanted), fieldValidation="Strict")
                    ), True
                except AlreadyExists:
                    continue
                except InvalidRequest as error:
                    raise _where(error) from error
            self._check(found, only)
            if _asks_the_same(found, labels, wanted):
                return schedule_doc(found), False
            if not replace:
                raise Conflict(f"there is another schedule named {name}; PUT replaces it")
            changed = found | {"metadata": found["metadata"] | {"labels": dict(labels)}, "spec": wanted}
            try:
                return schedule_doc(
                    self._client.put(self._schedules.named(name), changed, fieldValidation="Strict")
                ), False
            except Changed:
                continue  # perhaps the operator has only written its status: look again
            except InvalidRequest as error:
                raise _where(error) from error
        raise PreconditionFailed(f"schedule {name} keeps changing; read it again")

    def delete_schedule(self, name: str, *, only: Precondition = NONE) -> None:
        """See ``ScheduleStore.delete_schedule``; the cluster removes its jobs, which it owns."""

        def remove(found: Json) -> None:
            metadata = found["metadata"]
            version = metadata["resourceVersion"] if only.of_a_state else None
            self._client.delete(self._schedules.named(name), uid=metadata["uid"], version=version)

        self._changed(name, only, remove)

    def pause_schedule(self, name: str, *, on: bool, only: Precondition = NONE) -> ScheduleDoc:
        """See ``ScheduleStore.pause_schedule``."""

        def pause(found: Json) -> Json:
            metadata = found["metadata"]
            version = {"resourceVersion": metadata["resourceVersion"]} if only.of_a_state else {}
            patch = {"metadata": {"uid": metadata["uid"], **version}, "spec": {"suspend": on}}
            return self._client.patch(self._schedules.named(name), patch, fieldValidation="Strict")

        return schedule_doc(self._changed(name, only, pause))

    def _changed(self, name: str, only: Precondition, change: Callable[[Json], Any]) -> Any:
        for _ in range(TRIES):
            found = self._found(name)
            self._check(found, only)
            try:
                return change(found)
            except Changed:
                continue
        raise PreconditionFailed(f"schedule {name} keeps changing; read it again")

    def trigger_schedule(self, name: str, id: str, *, key: Key | None = None, only: Precondition = NONE) -> JobDoc:
        """See ``ScheduleStore.trigger_schedule``; the job is owned by the schedule, as those of the clock are."""
        schedule = self._found(name)
        self._check(schedule, only)
        job = _job_of(schedule, id if key is None else name_from_key(key.key), key)
        try:
            return job_doc(self._client.post(self._jobs, job, again=True, fieldValidation="Strict"))
        except AlreadyExists:
            there = self._client.get(self._jobs.named(job["metadata"]["name"]))
        marks = there["metadata"].get("annotations") or {}
        if key is not None and marks.get(FINGERPRINT) != key.fingerprint:
            raise KeyReused
        return job_doc(there)

    @staticmethod
    def _check(found: Json, only: Precondition) -> None:
        if only != NONE:
            only.check(schedule_state_tag(schedule_doc(found)), f"schedule {found['metadata']['name']}")


def schedule_doc(resource: Json) -> ScheduleDoc:
    """A Schedule as everybody reads it; specification and status exactly as in the resource."""
    metadata = resource["metadata"]
    return {
        "name": metadata["name"], "uid": metadata["uid"], "namespace": metadata["namespace"],
        "labels": metadata.get("labels") or {}, "createdAt": metadata["creationTimestamp"],
        "origin": ScheduleOrigin.REQUEST.value, "spec": resource.get("spec") or {}, "status": resource.get("status") or {},
    }  # fmt: skip


def _new(name: str, labels: Mapping[str, str], spec: Json) -> Json:
    metadata = {"name": name, "labels": dict(labels)}
    return {"apiVersion": API_VERSION, "kind": SCHEDULE_KIND, "metadata": metadata, "spec": spec}


def _job_of(schedule: Json, name: str, key: Key | None) -> Json:
    metadata, template = schedule["metadata"], schedule["spec"]["jobTemplate"]
    owner = {
        "apiVersion": API_VERSION,
        "kind": SCHEDULE_KIND,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    marks = {SOURCE: "schedule"} | ({FINGERPRINT: key.fingerprint} if key is not None else {})
    labels = (template.get("labels") or {}) | {LABEL: label_of(metadata["name"])}
    return {
        "apiVersion": API_VERSION, "kind": KIND, "spec": template["spec"],
        "metadata": {"name": name, "labels": labels, "annotations": marks, "ownerReferences": [owner]},
    }  # fmt: skip


def _asks_the_same(found: Json, labels: Mapping[str, str], spec: Json) -> bool:
    """With all defaults: the API server has filled some in."""
    return (found["metadata"].get("labels") or {}) == dict(labels) and _whole(found["spec"]) == _whole(spec)


def _whole(spec: Json) -> object:
    try:
        return ScheduleSpec.model_validate_json(orjson.dumps(spec), by_alias=True, by_name=False)
    except ValueError:  # not of this release
        return spec


def _where(error: InvalidRequest) -> InvalidRequest:
    """The same complaint about the fields of the request, whose specification stands at its top."""
    errors: Sequence[Mapping[str, str]] = [
        {**one, "pointer": one["pointer"].removeprefix("/spec")} if one.get("pointer", "").startswith("/spec/") else one
        for one in error.errors
    ]
    return type(error)(error.message, errors=errors)
