"""A job as the operator holds it: what was asked for, what has been decided, what runs."""

import math
from contextlib import suppress
from datetime import datetime
from typing import Any

import orjson
from pydantic import ValidationError

from longshore.job import trace_context
from longshore.job.items import ArrayState
from longshore.job.lifecycle import Course, conditions
from longshore.job.spec import JobSpec, parse_spec, rfc3339_at
from longshore.job.status import MAX_HISTORY, ItemsStatus, Phase
from longshore.job.wording import sentence
from longshore_operator import restored

Json = dict[str, Any]
MAX_GRACE_SECONDS = 3600.0  # as a worker takes it
TTL = "ttlSecondsAfterFinished"
GRACE = "longshore.dev/cancel-grace-seconds"  # annotation that the api sets with a cancel
TRACEPARENT = "longshore.dev/traceparent"  # annotation that the api sets
TRACESTATE = "longshore.dev/tracestate"  # the same


class Attempt:
    """One run of a job on a worker, as far as the operator knows it."""

    __slots__ = (
        "due_at",
        "index",
        "number",
        "over",
        "stale",
        "started_at",
        "stopping",
        "worker",
        "worker_name",
    )

    def __init__(self, number: int, index: int | None, now: float) -> None:
        self.number, self.index = number, index
        self.worker = self.worker_name = ""
        """Uid and name of its worker's pod; empty while nobody is known to have it (after a restart of the operator)."""
        self.started_at = now
        self.due_at = math.inf
        """Monotonic time: what its worker tells when it is asked later shows it, or its end; infinite while the answer to the offer
        is awaited."""
        self.stopping = False
        self.over = False
        """Whether its worker has told how it ended, which may be sooner than the answer to the offer is read."""
        self.stale = False
        """Whether its worker has seen this number, or a later one, before: it is used up."""


class Job:
    """One Job resource that has not ended, or failed and may be redriven."""

    __slots__ = (
        "array", "attempts", "budgets", "cancel", "concurrency_key", "created_at", "disruptions", "error", "fairness_key",
        "finished_at", "grace", "handler", "history", "invalid", "labels", "log_tail", "message", "name", "namespace", "not_before", "numbers", "phase",
        "priority", "queue", "ready_at", "reason", "redrive", "redrives", "restored", "result", "result_ref", "retries", "running", "saved", "seen",
        "spec_json", "start_after", "start_deadline", "started_at", "suspend", "traceparent", "tracestate", "uid", "unconfirmed", "version", "worker",
    )  # fmt: skip

    def __init__(self, resource: Json) -> None:
        """From the API server's object; raises ValueError (pydantic's included) for a specification that is none."""
        meta, spec = resource["metadata"], resource["spec"]
        self.namespace, self.name, self.uid = str(meta["namespace"]), str(meta["name"]), str(meta["uid"])
        self.created_at = seconds(meta["creationTimestamp"]) or 0.0
        self.labels: dict[str, str] = meta.get("labels") or {}
        annotations = meta.get("annotations") or {}
        # Anybody may write an annotation, and a worker refuses every attempt of a request with a wrong one.
        self.traceparent = trace_context.traceparent(str(annotations.get(TRACEPARENT, "")))
        self.tracestate = trace_context.tracestate(str(annotations.get(TRACESTATE, "")), self.traceparent)
        self.grace = grace(meta)
        # A copy of its own size: orjson's buffer is larger, and waiting jobs are many.
        self.spec_json = bytes(memoryview(orjson.dumps(spec)))
        whole = self.spec()
        self.queue, self.handler, self.priority = whole.queue, whole.handler or "", whole.priority
        self.fairness_key, self.concurrency_key = whole.fairness_key or "", whole.concurrency_key or ""
        self.start_after = whole.start_after.timestamp() if whole.start_after else 0.0
        self.start_deadline = whole.start_deadline_seconds
        self.invalid = ""
        """What is wrong with a specification that the API server took and we do not; such a job never runs."""
        self.unconfirmed = restored.obstacle(meta)
        """Why it waits for consent or for its status, in words: a restore made it. Empty otherwise."""
        self.cancel, self.suspend, self.redrive = whole.cancel, whole.suspend or bool(self.unconfirmed), whole.redrive
        self.restored = restored.ended_as(meta)
        """How it had ended in the copy that it was made from; such a job does not run again."""
        self.array = ArrayState(whole.size, whole.parallelism) if whole.is_array else None
        self.budgets: dict[int, tuple[int, int]] = {}
        """Retries and disruptions of items that have spent any; forgotten with the operator."""
        self.numbers: dict[int, int] = {}
        """Numbers of the latest attempts of the same items."""
        self.running: dict[int | None, Attempt] = {}
        self.version = 0
        """Grows with everything that has to be written down."""
        self.seen = 0
        """resourceVersion of the latest object that we have looked at."""
        self._take(resource.get("status") or {})
        self.ready_at = max(self.created_at, self.start_after)

    @classmethod
    def unreadable(cls, resource: Json, error: Exception) -> "Job":
        """One that can only fail, because what it says is refused. As much of it is kept as can be read."""
        spec, status = resource.get("spec") or {}, resource.get("status") or {}
        plain = {name: status[name] for name in ("phase", "attempts", "redrives") if name in status}
        for fields, state in (
            (("cancel", "redrive", "webhook", TTL), status), (("cancel", "redrive", TTL), status), (("redrive",), plain),
        ):  # fmt: skip
            kept = {name: spec[name] for name in fields if name in spec}
            with suppress(Exception):  # the webhook was it, or the status, which somebody wrote by hand
                job = cls({**resource, "spec": {"handler": "none", **kept}, "status": state})
                job.invalid = refusal(error)
                return job
        raise error

    def _take(self, status: Json) -> None:
        self.phase = Phase(status.get("phase", "Pending"))
        self.reason, self.message = str(status.get("reason", "")), str(status.get("message", ""))
        self.attempts, self.retries = int(status.get("attempts", 0)), int(status.get("retries", 0))
        self.disruptions, self.redrives = int(status.get("disruptions", 0)), int(status.get("redrives", 0))
        self.worker = str(status.get("worker", ""))
        self.not_before, self.started_at = seconds(status.get("notBefore")), seconds(status.get("startedAt"))
        self.finished_at = seconds(status.get("finishedAt"))
        self.error: Json | None = status.get("error")
        self.log_tail: str = status.get("logTail", "")
        self.result: Any = status.get("result")
        self.result_ref = str(status.get("resultRef") or "")
        self.history: list[Json] = list(status.get("history") or ())
        if self.array is not None and status.get("items"):
            self.array.restore(ItemsStatus.model_validate_json(orjson.dumps(status["items"]), by_alias=True))
        self.saved = (self.phase, self.attempts, self.redrives)
        """Phase, attempts and redrives as the API server has them."""

    @property
    def redriving(self) -> bool:
        """Whether it has failed and is about to be sent round again."""
        return self.phase is Phase.FAILED and self.redrive > self.redrives and not self.cancel and not self.invalid

    def spec(self) -> JobSpec:
        """The specification; parsed anew, because most jobs wait most of their life."""
        return parse_spec(self.spec_json)

    def resource(self) -> Json:
        """As the API server has it when the status is written, as far as anybody here asks."""
        metadata = {
            "namespace": self.namespace, "name": self.name, "uid": self.uid, "labels": self.labels,
            "resourceVersion": str(self.seen),
        }  # fmt: skip
        return {"metadata": metadata, "spec": orjson.loads(self.spec_json), "status": self.status()}

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and queue: its line."""
        return self.namespace, self.queue

    def has(self, index: int | None) -> bool:
        """Whether an attempt of that item (None: of the job) may be told of: it has not ended, and there is such an item."""
        if self.array is None or index is None:
            return self.array is None and index is None and not self.phase.terminal
        ended = index in self.array.succeeded or index in self.array.failed
        return index < self.array.size and not ended and not self.phase.terminal

    def latest(self, index: int | None) -> int:
        """The highest attempt number that it is known to have used. Items use numbers of the whole job, in any order."""
        return self.attempts if index is None else self.numbers.get(index, 0)

    def course(self, number: int, budgets: tuple[int, int] | None = None) -> Course:
        """For the rules of ``longshore.job.lifecycle``: attempt ``number`` runs; budgets are an item's own."""
        retries, disruptions = budgets if budgets is not None else (self.retries, self.disruptions)
        return Course(Phase.RUNNING, number, retries, disruptions, self.redrives, self.cancel)

    def remember(self, entry: Json) -> None:
        """One more ended attempt; the last ten are kept."""
        self.history = [*self.history, entry][-MAX_HISTORY:]

    @property
    def counted(self) -> int:
        """Attempts as they are written down: a number that is there is used up, and never taken back.

        While the phase says that nothing runs, one that has just begun is not among them: who reads the record could not
        tell its worker's word from that of an attempt that was given up.
        """
        if self.array is None and self.phase is Phase.PENDING and self.running:
            return self.attempts - 1
        return max(self.attempts, self.saved[1])

    def status(self) -> Json:
        """The whole status as it should be written: ``longshore.job.status.JobStatus`` in camelCase."""
        whole: Json = {
            "phase": self.phase.value, "attempts": self.counted, "redrives": self.redrives, "retries": self.retries,
            "disruptions": self.disruptions,
        }  # fmt: skip
        texts = {"reason": self.reason, "message": self.message, "worker": self.worker, "logTail": self.log_tail,
                 "resultRef": self.result_ref}  # fmt: skip
        whole |= {name: text for name, text in texts.items() if text}
        times = {"notBefore": self.not_before, "startedAt": self.started_at, "finishedAt": self.finished_at}
        whole |= {name: rfc3339_at(when) for name, when in times.items() if when is not None}
        rest = {"error": self.error, "result": self.result, "history": self.history}
        whole |= {name: value for name, value in rest.items() if value not in (None, [])}
        if self.array is not None:
            whole["items"] = self.array.status().model_dump(mode="json", by_alias=True, exclude_defaults=True)
            if not self.phase.terminal:
                whole["progress"] = self.array.progress().model_dump(mode="json", by_alias=True)
        if self.phase.terminal:
            whole["conditions"] = [
                condition.model_dump(mode="json", by_alias=True)
                for condition in conditions(self.phase, self.reason, self.message, finished_at=self.finished_at)
            ]
        return whole


def refusal(error: Exception) -> str:
    """What is wrong with a specification, beginning with the field."""
    if not isinstance(error, ValidationError):
        return f"spec: {error}"
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(["spec", *map(str, first["loc"])])
    return f"{field} {sentence(first['type'], first['msg'])}"


def grace(metadata: Json) -> float | None:
    """Seconds between SIGTERM and SIGKILL of a cancel; None where nobody said so, or what he said is no such time."""
    try:
        found = float((metadata.get("annotations") or {}).get(GRACE, "nan"))
    except ValueError:
        return None
    return found if 0 <= found <= MAX_GRACE_SECONDS else None


def seconds(text: object) -> float | None:
    """RFC 3339 as seconds since the epoch; None for nothing."""
    return datetime.fromisoformat(str(text)).timestamp() if text else None
