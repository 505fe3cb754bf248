"""A failed job goes round again, alone or with the jobs that failed because of it: one raised counter each."""

from collections.abc import Callable
from typing import TypeVar

from longshore.errors import Conflict, NotFound
from longshore.job.dependencies import chain, obstructed, redrive_refusal
from longshore.job.idempotency import name_from_key
from longshore.job.preconditions import NONE, Precondition
from longshore.job.status import Phase
from longshore.store.kubernetes import documents
from longshore.store.kubernetes.client import KubeClient, Target
from longshore.store.kubernetes.lists import failed_dependents
from longshore.store.kubernetes.refusals import Changed
from longshore.store.port import JobDoc, Key

TRIES = 5  # of a change to a job that others change at the same time
T = TypeVar("T")


class Redriver:
    """Of the jobs of one namespace."""

    def __init__(self, client: KubeClient, jobs: Target) -> None:
        self._client, self._jobs = client, jobs

    def redrive(
        self, id: str, read: Callable[[str], documents.Resource], *, dependents: bool, key: Key | None,
        only: Precondition = NONE,
    ) -> JobDoc:  # fmt: skip
        """As ``JobStore.redrive``; ``read`` finds a job or raises NotFound with the sentence that callers get."""
        mark = name_from_key(key.key) if key is not None else ""
        # Looked for before anything changes: what is sent round again is failed no more.
        behind = chain(id, failed_dependents(self._client, self._jobs)) if dependents else []
        doc = self._raise_counter(id, mark, read, only)
        if not dependents:
            return doc
        # One after the other, each behind those that it waits for: the operator sees them in this order.
        return {**doc, "redriven": [id, *(name for name in behind if self._dependent(name, mark, read))]}

    def _dependent(self, id: str, mark: str, read: Callable[[str], documents.Resource]) -> bool:
        """False when it is left as it is: it is failed no more, or waits for another job that has failed too."""
        try:
            self._raise_counter(id, mark, read)
        except (Conflict, NotFound):
            return False
        return True

    def _raise_counter(
        self, id: str, mark: str, read: Callable[[str], documents.Resource], only: Precondition = NONE
    ) -> JobDoc:
        def change() -> JobDoc:
            job = read(id)
            metadata, spec = job["metadata"], job["spec"]
            if mark and (metadata.get("annotations") or {}).get(documents.REDRIVE_KEY) == mark:
                return documents.job_doc(job)  # this very request was here before
            documents.check(only, job)
            self._check(id, job)
            known: dict[str, object] = {"resourceVersion": metadata["resourceVersion"]}
            if mark:
                known["annotations"] = {documents.REDRIVE_KEY: mark}
            raised = {"redrive": spec.get("redrive", 0) + 1, "cancel": False}
            return documents.job_doc(self._client.patch(self._jobs.named(id), {"metadata": known, "spec": raised}))

        return against_others(change)

    def _check(self, id: str, job: documents.Resource) -> None:
        spec, status = job["spec"], job["status"]
        if status["phase"] != Phase.FAILED or not documents.ended(job):
            state = status["phase"] if status["phase"] != Phase.FAILED else "being redriven"
            raise Conflict(f"only a failed job can be redriven; {id} is {state}")
        ran = status.get("attempts", 0) > 0
        if (found := obstructed(spec.get("after") or (), self._phase_of, ran=ran)) is not None:
            raise Conflict(redrive_refusal(id, *found))

    def _phase_of(self, id: str) -> tuple[Phase | None, bool]:
        """Phase of a job and whether it is about to be sent round again; no phase when there is none."""
        try:
            job = self._client.get(self._jobs.named(id))
        except NotFound:
            return None, False
        spec, status = job.get("spec") or {}, job.get("status") or {}
        return Phase(status.get("phase", Phase.PENDING.value)), documents.redriving(spec, status)


def against_others(change: Callable[[], T]) -> T:
    """Read and change, again when somebody else was between."""
    for _ in range(TRIES - 1):
        try:
            return change()
        except Changed:
            continue
    return change()
