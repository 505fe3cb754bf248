"""The operator's leader, who alone knows lines, free slots and workers: found through its Lease, asked over HTTP."""

from pathlib import Path

import orjson
import urllib3
from urllib3.exceptions import HTTPError

from longshore.errors import NotFound, StoreUnavailable
from longshore.job.attempts import NAMESPACE_HEADER
from longshore.store.kubernetes.client import Json, KubeClient, Target
from longshore.store.kubernetes.peer_pool import PeerPool, plain_pool
from longshore.tls import ClientTls, operator_name

CONNECT_SECONDS, ANSWER_SECONDS = 1.0, 3.0  # it answers from memory, in milliseconds
RETRY_SECONDS = 5


class Leader:
    """Who leads is looked up for every question: they are few, and a leader may have changed."""

    def __init__(
        self, client: KubeClient, namespace: str, lease: str, token_file: Path | None, tls: ClientTls | None = None
    ) -> None:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{lease}"
        self._client, self._lease = client, Target("leases.coordination.k8s.io", path, namespace)
        self._namespace, self._token_file = namespace, token_file
        self._pool = PeerPool(plain_pool, 4, tls, operator_name(namespace))

    def ask(self, path: str, *, change: bool = False) -> Json:
        """What the leader answers; raises NotFound for its 404 and StoreUnavailable when it cannot be asked.

        ``change``: the question asks for something to be done, so it is a POST.
        """
        headers, address = self._token(), self._address()
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
        try:
            send = self._pool.post if change else self._pool.get
            answer = send(address, path, headers=headers, timeout=timeout)
        except HTTPError as error:
            raise _unasked(f"its leader at {address} does not answer ({type(error).__name__})") from error
        if answer.status == 404:
            raise NotFound("the operator does not know it")
        if answer.status != 200:
            raise _unasked(f"its leader at {address} answered {answer.status}")
        found: Json = orjson.loads(answer.data)
        return found

    def workers(self, namespace: str) -> list[dict[str, object]]:
        """Who may run jobs of the namespace, and what of it runs there; the leader knows of others, which is not told."""
        return [
            {**worker, "running": [one for one in worker.get("running", ()) if one.get("namespace") == namespace]}
            for worker in self.ask("/v1/workers")["items"]
            if {worker.get("namespace"), *worker.get("servesNamespaces", ())} & {namespace, "*"}
        ]

    def pool(self, namespace: str, name: str) -> dict[str, object]:
        """How a pool stands; raises NotFound and StoreUnavailable."""
        try:
            return self.ask(f"/v1/pools/{namespace}/{name}")
        except NotFound:
            raise NotFound(f"no Deployment in {namespace} has the label longshore.dev/pool={name}") from None

    def _address(self) -> str:
        try:
            lease = self._client.get(self._lease)
        except NotFound:
            raise _unasked("none has led yet") from None
        # NAME_ADDRESS, as the operator's elector writes it; no name of a pod has an underscore.
        address = str((lease.get("spec") or {}).get("holderIdentity") or "").partition("_")[2]
        if not address:
            raise _unasked("none leads now")
        return address

    def _token(self) -> dict[str, str]:
        if self._token_file is None:
            raise _unasked("this service has no token for it (setting operator_token_file)")
        try:
            words = self._token_file.read_text().split()[:1]  # read each time: it is rotated
        except OSError as error:
            raise _unasked(f"the token for it cannot be read ({error.strerror})") from error
        meant_for = {NAMESPACE_HEADER: self._namespace}
        return meant_for | {"Authorization": f"Bearer {words[0]}"} if words else meant_for


def _unasked(why: str) -> StoreUnavailable:
    return StoreUnavailable(f"the operator could not be asked: {why}", retry_after=RETRY_SECONDS)
