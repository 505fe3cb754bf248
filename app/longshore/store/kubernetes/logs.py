"""Output of jobs: live from the worker that runs them, then from the results directory, else of failures the last lines."""

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3
from urllib3.exceptions import HTTPError

from longshore.errors import Gone, NotFound, StoreUnavailable
from longshore.job.attempts import NAMESPACE_HEADER
from longshore.store.kubernetes.client import KubeClient, Target
from longshore.store.kubernetes.documents import Resource
from longshore.store.kubernetes.kept import Kept
from longshore.store.kubernetes.peer_pool import PeerPool
from longshore.store.kubernetes.worker_pool import worker_pool
from longshore.store.port import LogChunk
from longshore.tls import ClientTls, worker_name

HTTP_PORT, PORT_NAME = 8080, "http"
CONNECT_SECONDS, PATIENCE_SECONDS = 2.0, 5.0
LATELY_SECONDS = 600.0


class Logs:
    """Asks workers of its own namespace with the token of that namespace, which goes nowhere else."""

    def __init__(
        self, client: KubeClient, namespace: str, tokens_file: Path | None, kept: Kept, tls: ClientTls | None = None
    ) -> None:
        self._client, self._namespace, self._tokens, self._kept = client, namespace, tokens_file, kept
        self._pool = PeerPool(worker_pool, 8, tls, worker_name(namespace))

    def read(
        self, job: Resource, *, attempt: int | None, index: int | None, offset: int, wait: float, now: float
    ) -> LogChunk:
        """A piece of output; raises Gone, with the place to look, when nobody has it."""
        status, name = job.get("status") or {}, job["metadata"]["name"]
        # Items have numbers of their own, which a status does not tell.
        number = attempt or (status.get("attempts", 0) if index is None else 1)
        if not number and status.get("phase") == "Pending":
            return LogChunk(b"", 0, 0, complete=False)
        if number and status.get("worker") and _lately(status, now):
            try:
                return self._live(job, status, number, index, offset, wait)
            except (Gone, StoreUnavailable):
                if status["phase"] == "Running":
                    raise
        found = self._kept.output(job, number if index is None else attempt, index, offset)
        if found is not None:
            return found
        tail = status.get("logTail")
        if tail and number == status.get("attempts") and index is None:
            return _tail(str(tail).encode(), number, offset)
        worker = status.get("worker") or "WORKER"
        raise Gone(f"the output of job {name} is not kept here; the worker wrote it to its own log: "
                   f"kubectl logs {worker} | grep {name}, or the log system of the cluster")  # fmt: skip

    def _live(
        self, job: Resource, status: dict[str, Any], number: int, index: int | None, offset: int, wait: float
    ) -> LogChunk:
        pod = str(status["worker"])
        # Never in the job's namespace when that is another one: whoever may make pods there could give one this name,
        # and would be sent the token of these workers.
        address = self._address(self._namespace, pod)
        fields = {"offset": str(offset), "wait": f"{wait:g}", **({} if index is None else {"index": str(index)})}
        path = f"/v1/attempts/{job['metadata']['uid']}/{number}/logs"
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=PATIENCE_SECONDS + wait)
        try:
            answer = self._pool.get(address, path, fields=fields, headers=self._token(), timeout=timeout)
        except HTTPError as error:
            raise StoreUnavailable(
                f"the worker {pod} cannot be asked: {type(error).__name__}", retry_after=2
            ) from error
        if answer.status in (404, 410):
            raise Gone(f"the worker {pod} does not have the output of this attempt (any more)")
        if answer.status != 200:
            raise StoreUnavailable(f"the worker {pod} answered {answer.status} when asked for output", retry_after=5)
        where = {name: answer.headers.get(f"Longshore-{name}", "0") for name in ("Offset", "Next-Offset", "Dropped")}
        return LogChunk(answer.data, int(where["Offset"]), int(where["Next-Offset"]),
                        complete=answer.headers.get("Longshore-Complete") == "true", dropped=int(where["Dropped"]),
                        attempt=number)  # fmt: skip

    def _address(self, namespace: str, pod: str) -> str:
        try:
            found = self._client.get(
                Target("pods", f"/api/v1/namespaces/{namespace}/pods/{quote(pod, safe='')}", namespace)
            )
        except NotFound:
            raise Gone(f"the pod {pod}, where the job ran, is not in the namespace {namespace} (any more); "
                       f"kubectl logs {pod} in its own namespace may have the output") from None  # fmt: skip
        address = (found.get("status") or {}).get("podIP")
        if not address:
            raise StoreUnavailable(f"the pod {pod} has no address", retry_after=2)
        ports = [port for container in found["spec"]["containers"] for port in container.get("ports", ())]
        number = next((port["containerPort"] for port in ports if port.get("name") == PORT_NAME), HTTP_PORT)
        return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"

    def _token(self) -> dict[str, str]:
        if self._tokens is None:
            raise StoreUnavailable("this service has no token for workers (setting worker_tokens_file)", retry_after=30)
        try:
            first = self._tokens.read_text().split()[:1]  # read each time: it is rotated
        except OSError as error:
            raise StoreUnavailable(f"the token for workers cannot be read: {error.strerror}", retry_after=5) from error
        own = {NAMESPACE_HEADER: self._namespace}
        return own | {"Authorization": f"Bearer {first[0]}"} if first else own


def _lately(status: dict[str, Any], now: float) -> bool:
    """Whether a worker may still have the output: it keeps what ended until it needs the room."""
    ended = status.get("finishedAt")
    return not ended or datetime.fromisoformat(ended).timestamp() > now - LATELY_SECONDS


def _tail(data: bytes, number: int, offset: int) -> LogChunk:
    """The last lines are all that there is: whatever lay before them is not counted."""
    start = max(0, len(data) + offset) if offset < 0 else min(offset, len(data))
    return LogChunk(data[start:], start, len(data), complete=True, attempt=number)
