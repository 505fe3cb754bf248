"""``JobStore`` over the API server: a job is accepted when etcd has it, and every verb is one write."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from longshore.app_metrics.totals import Totals
from longshore.errors import Conflict, InvalidRequest, NotFound, StoreUnavailable
from longshore.handlers import Handler
from longshore.job.items import UNKEPT, IndexSet, array_size
from longshore.job.output import check_asked
from longshore.job.preconditions import NONE, Precondition
from longshore.job.status import Phase
from longshore.store.kubernetes import documents
from longshore.store.kubernetes.client import KubeClient, longshore
from longshore.store.kubernetes.explain import explain
from longshore.store.kubernetes.history import ENDS, History, event
from longshore.store.kubernetes.kept import Kept
from longshore.store.kubernetes.leader import Leader
from longshore.store.kubernetes.lists import count, find
from longshore.store.kubernetes.logs import Logs
from longshore.store.kubernetes.measures import Measures
from longshore.store.kubernetes.queues import Queues
from longshore.store.kubernetes.redrive import Redriver, against_others
from longshore.store.kubernetes.refusals import overtaken
from longshore.store.kubernetes.schedules import Schedules
from longshore.store.kubernetes.submit import Submitter
from longshore.store.kubernetes.watch import Changes, JobWatch, Told
from longshore.store.kubernetes.webhooks import Webhooks
from longshore.store.port import Event, JobDoc, Key, LogChunk, NewJob, Page, Query, Submitted
from longshore.version import __version__

LAG_SECONDS = 1.0  # the watch is that late at most, as a rule


@dataclass(frozen=True, slots=True)
class Cluster:
    """What all namespaces of one process share."""

    client: KubeClient
    watch: JobWatch
    history: History
    measures: Measures
    app_metrics: Totals
    logs: Logs
    kept: Kept
    leader: Leader
    handlers: Mapping[str, Handler]
    own_namespace: str
    all_namespaces: bool


class KubernetesStore(Webhooks, Schedules):
    """The jobs of one namespace."""

    backend = "kubernetes"

    def __init__(self, cluster: Cluster, namespace: str = "") -> None:
        self._cluster, self._client = cluster, cluster.client
        self.namespace = namespace or cluster.own_namespace
        self.strict_handlers = bool(cluster.handlers)
        self._jobs = longshore("jobs", self.namespace)
        self._queues = Queues(self._client, self.namespace)
        self._submitter = Submitter(self._client, self._jobs, self._queues)
        Schedules.__init__(self, self._client, self._jobs, self.namespace)
        Webhooks.__init__(self, self._client, self._jobs, cluster.leader, self.namespace)

    def in_namespace(self, namespace: str) -> "KubernetesStore":
        """The same for another namespace; raises InvalidRequest when this service has its own alone."""
        if namespace in ("", self.namespace):
            return self
        if not self._cluster.all_namespaces:
            detail = f"this service has the namespace {self.namespace} alone"
            raise InvalidRequest(f"namespace: {detail}", errors=[{"parameter": "namespace", "detail": detail}])
        return KubernetesStore(self._cluster, namespace)

    def stop_waiting(self) -> None:
        """The service is ending: answer everybody who waits as things are now."""
        self._cluster.watch.stop()
        self._cluster.history.close()

    # -- submit and read -------------------------------------------------------------------------------------

    def submit(self, jobs: Sequence[NewJob], *, key: Key | None = None, wait: float = 0) -> list[Submitted]:
        if not wait or len(jobs) != 1:
            return self._submitter.submit(jobs, key)
        with self._cluster.watch.follow(self.namespace, documents.order(jobs[0], key).name) as changes:
            (answer,) = self._submitter.submit(jobs, key)
            assert answer.job is not None  # always, for one
            try:
                doc = self._until(_has_ended, answer.job, changes, wait)
                return [replace(answer, job=self._cluster.kept.attached(doc))]
            except (StoreUnavailable, NotFound):
                return [answer]  # it was kept, which is the answer; how it went can be read later

    def get(self, id: str, *, wait: float = 0, rev: int | None = None) -> JobDoc:
        if not wait:
            return self._cluster.kept.attached(self._read(id))
        with self._cluster.watch.follow(self.namespace, id) as changes:
            doc = self._until(
                lambda doc: _has_ended(doc) or rev not in (None, doc["rev"]), self._read(id), changes, wait
            )
        return self._cluster.kept.attached(doc)

    def _until(self, done: Callable[[JobDoc], bool], doc: JobDoc, changes: Changes, wait: float) -> JobDoc:
        """The job once ``done``, or after ``wait`` seconds as it is then."""
        end = time.monotonic() + wait
        while not done(doc):
            change = changes.next(end - time.monotonic())
            if change is Told.NOTHING:
                return self._read(str(doc["id"]))
            doc = self._after(change, doc)
        return doc

    def _after(self, change: object, doc: JobDoc) -> JobDoc:
        if not isinstance(change, Mapping):  # deleted, or perhaps made again; or the watch has missed something
            return self._read(str(doc["id"]))
        changed = documents.job_doc(change)
        # The watch may be behind what was read, never ahead of what it tells next.
        return changed if int(str(changed["rev"])) > int(str(doc["rev"])) else doc

    def _resource(self, id: str) -> documents.Resource:
        try:
            return self._client.get(self._jobs.named(id))
        except NotFound:
            raise NotFound(f"there is no job {id} in the namespace {self.namespace}") from None

    def _read(self, id: str) -> JobDoc:
        return documents.job_doc(self._resource(id))

    def find(self, query: Query) -> Page:
        return find(self._client, self._jobs, query)

    def count(self, query: Query) -> dict[str, int]:
        return count(self._client, self._jobs, query)

    def items(self, id: str, *, after: int = -1, limit: int = 100) -> tuple[list[dict[str, object]], bool]:
        """Items that have ended; of running ones a status has only the number."""
        job = self._resource(id)
        found = (job.get("status") or {}).get("items") or {}
        errors = {error["index"]: error["error"] for error in found.get("errors", ())}
        ends = [(index, Phase.SUCCEEDED.value) for index in IndexSet.parse(found.get("succeededIndexes", ""))]
        ends += [(index, Phase.FAILED.value) for index in IndexSet.parse(found.get("failedIndexes", ""))]
        left = [(index, phase) for index, phase in sorted(ends) if index > after]
        unkept = IndexSet.parse(found.get("unkeptIndexes", ""))
        named = [index for index, phase in left[:limit] if phase == Phase.SUCCEEDED and index not in unkept]
        results = self._cluster.kept.items(self.namespace, job["metadata"]["uid"], named)
        items = [
            {"index": index, "phase": phase, **({"error": errors[index]} if index in errors else {}),
             **results.get(index, {}), **({"resultNotKept": UNKEPT} if index in unkept else {})}
            for index, phase in left[:limit]
        ]  # fmt: skip
        return items, len(left) > limit

    def result(self, id: str) -> object:
        job = self._resource(id)
        status = job.get("status") or {}
        if "resultRef" not in status:
            return status.get("result")
        return self._cluster.kept.result(id, self.namespace, job["metadata"]["uid"], status["resultRef"])

    # -- change ----------------------------------------------------------------------------------------------

    def cancel(
        self, id: str, *, grace: float | None = None, key: Key | None = None, only: Precondition = NONE
    ) -> JobDoc:
        note: dict[str, object] = {} if grace is None else {"annotations": {documents.GRACE: f"{grace:g}"}}
        return self._change(id, "cancelled", {"cancel": True}, only, note)

    def suspend(self, id: str, *, key: Key | None = None, only: Precondition = NONE) -> JobDoc:
        return self._change(id, "suspended", {"suspend": True}, only)

    def resume(self, id: str, *, key: Key | None = None, only: Precondition = NONE) -> JobDoc:
        return self._change(id, "resumed", {"suspend": False}, only)

    def _change(
        self,
        id: str,
        verb: str,
        spec: Mapping[str, object],
        only: Precondition,
        note: Mapping[str, object] | None = None,
    ) -> JobDoc:
        job = self._resource(id)
        documents.check(only, job)
        # Only at the caller's wish: each of these is the same however often, and whatever else changes meanwhile.
        version = {"resourceVersion": job["metadata"]["resourceVersion"]} if only.of_a_state else {}
        patch = {"metadata": {**version, **(note or {})}, "spec": spec}
        if documents.ended(job):
            raise Conflict(f"job {id} has ended ({job['status']['phase']}) and cannot be {verb}")
        with overtaken(only, f"job {id}"):
            return documents.job_doc(self._client.patch(self._jobs.named(id), patch))

    def redrive(
        self, id: str, *, dependents: bool = False, key: Key | None = None, only: Precondition = NONE
    ) -> JobDoc:
        return Redriver(self._client, self._jobs).redrive(id, self._resource, dependents=dependents, key=key, only=only)

    def delete(self, id: str, *, only: Precondition = NONE) -> None:
        def remove() -> None:
            job = self._resource(id)
            documents.check(only, job)
            if not documents.ended(job):
                raise Conflict(f"job {id} is {job['status']['phase']}; cancel it first")
            metadata = job["metadata"]
            self._client.delete(self._jobs.named(id), uid=metadata["uid"], version=metadata["resourceVersion"])

        against_others(remove)

    # -- what a job says -------------------------------------------------------------------------------------

    def logs(self, id: str, *, attempt: int | None = None, index: int | None = None,
             offset: int = 0, wait: float = 0) -> LogChunk:  # fmt: skip
        with self._cluster.watch.follow(self.namespace, id) as changes:
            job, end = self._resource(id), time.monotonic() + wait
            while wait and _waits(job) and attempt is None:
                if changes.next(end - time.monotonic()) is Told.NOTHING:
                    break
                job = self._resource(id)
        # A status has the attempts of all items together, and of an array that has not ended it may lag.
        known = index is None or documents.ended(job)
        attempts = (job.get("status") or {}).get("attempts", 0) if known else None
        check_asked(id, size=array_size(job["spec"]), index=index, number=attempt, attempts=attempts, together=True)
        return self._cluster.logs.read(
            job, attempt=attempt, index=index, offset=offset, wait=max(0.0, end - time.monotonic()), now=time.time()
        )

    def events(self, *, job: str | None = None, after: int = 0, wait: float = 0, limit: int = 500,
               progress: int | None = None) -> list[Event]:  # fmt: skip
        """What this process saw; of a job whose end it did not see, the end alone. Reports of progress are in no status."""
        found = self._cluster.history.after(self.namespace, job, after, limit, 0.0 if job is not None else wait)
        if found or job is None:
            return found
        resource = self._resource(job)
        if not documents.ended(resource) or documents.version(resource) <= after:
            return self._cluster.history.after(self.namespace, job, after, limit, wait)
        self._cluster.watch.reach(documents.version(resource), LAG_SECONDS)
        found = self._cluster.history.after(self.namespace, job, after, limit)
        return found or [event(ENDS[resource["status"]["phase"]], resource)]

    def explain(self, id: str) -> dict[str, object]:
        job = self._resource(id)
        return explain(job, self._queues, self._cluster.leader, time.time())

    def pool(self, name: str) -> dict[str, object]:
        return self._cluster.leader.pool(self.namespace, name)

    # -- the service -----------------------------------------------------------------------------------------

    def queues(self) -> list[dict[str, object]]:
        return self._queues.all()

    def queue(self, name: str) -> dict[str, object]:
        return self._queues.one(name)

    def set_queue(self, name: str, changes: Mapping[str, object], *, only: Precondition = NONE) -> dict[str, object]:
        return self._queues.change(name, changes, only)

    def handlers(self) -> list[dict[str, object]]:
        return [self._cluster.handlers[name].describe() for name in sorted(self._cluster.handlers)]

    def workers(self) -> list[dict[str, object]]:
        return self._cluster.leader.workers(self.namespace)

    def status(self, *, details: bool = False) -> dict[str, object]:
        # A read of one key of etcd: proves that both answer, and that our account may read jobs.
        self._client.get(self._jobs, list_=True, fieldSelector="metadata.name=ready")
        watch = {"connected": self._cluster.watch.connected, "waiting": self._cluster.watch.followers()}
        whole: dict[str, object] = {
            "version": __version__, "namespace": self.namespace, "ready": True, "draining": False, "watch": watch,
        }  # fmt: skip
        if details:
            whole["jobs"] = self.count(Query())
        return whole

    def drain(self, *, on: bool) -> dict[str, object]:
        raise Conflict("in a cluster workers are drained, by deleting their pods or by the operator; not the api")

    def reload(self) -> dict[str, object]:
        raise Conflict("in a cluster new code comes with a new image; only `longshore serve` is reloaded")

    def metrics(self) -> list[Mapping[str, object]]:
        measures, watch = self._cluster.measures, self._cluster.watch
        measures.watch_connected.set(watch.connected)
        measures.waiting.set(watch.followers())
        return [*measures.families(), *self._cluster.app_metrics.families()]

    def add_counts(self, changes: Sequence[object]) -> None:
        self._cluster.app_metrics.apply("api", changes)


def _waits(job: documents.Resource) -> bool:
    return bool(job["status"]["phase"] == Phase.PENDING)


def _has_ended(doc: JobDoc) -> bool:
    return documents.ended({"spec": doc["spec"], "status": doc["status"]})
