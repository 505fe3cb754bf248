"""One request to the API server and its answer as plain JSON; failures as the project's errors.

The official client knows kubeconfig files, service accounts, certificates and token rotation; its typed models cost more
than the request itself, so only its connection pool is used.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config
from urllib3.exceptions import HTTPError, ProtocolError

from longshore.errors import SettingsError
from longshore.job.nesting import SHOWN_DEPTH, cut
from longshore.job.numerals import whole
from longshore.store.kubernetes.measures import Measures
from longshore.store.kubernetes.refusals import Status, away, refusal
from longshore.version import __version__

GROUP = "/apis/longshore.dev/v1alpha1"
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 10.0  # a create takes milliseconds; a page of large jobs, half a second
POOL_SIZE = 32  # connections kept: as many as there are threads that ask
JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """Something that the API server serves."""

    resource: str
    """In the words of a role: ``jobs.longshore.dev``."""
    path: str
    namespace: str = ""

    def named(self, name: str) -> "Target":
        """One of them."""
        return Target(self.resource, f"{self.path}/{name}", self.namespace)


def longshore(plural: str, namespace: str) -> Target:
    """Resources of ours in a namespace, or in all of them when it is empty."""
    where = f"/namespaces/{namespace}" if namespace else ""
    return Target(f"{plural}.longshore.dev", f"{GROUP}{where}/{plural}", namespace)


def configuration(kubeconfig: Path | None) -> Configuration:
    """Where the cluster is: a kubeconfig file, or the pod's service account; raises SettingsError."""
    found = Configuration()
    found.connection_pool_maxsize = POOL_SIZE
    try:
        if kubeconfig is not None:
            load_kube_config(str(kubeconfig), client_configuration=found, persist_config=False)
        else:
            load_incluster_config(found)
    except (ConfigException, OSError) as error:
        hint = f"kubeconfig: {kubeconfig}: {error}" if kubeconfig else (
            f"this is no pod of a cluster ({error}); name a cluster with LONGSHORE_KUBECONFIG or --kubeconfig")  # fmt: skip
        raise SettingsError(hint) from error
    return found


class KubeClient:
    """Used by all threads; errors are StoreUnavailable and those of ``refusals``."""

    def __init__(self, kubeconfig: Path | None, measures: Measures) -> None:
        self._configuration = configuration(kubeconfig)
        self._pool: urllib3.PoolManager = ApiClient(self._configuration).rest_client.pool_manager
        self._measures = measures

    def get(self, target: Target, *, accept: str = JSON, list_: bool = False, **params: object) -> Json:
        """An object, or a list of them."""
        verb = "list" if list_ else "get"
        return self._exchange("GET", target, params=params, verb=verb, accept=accept, again=True)

    def pages(self, target: Target, *, limit: int, accept: str = JSON, **params: object) -> Iterator[Json]:
        """A whole list, page by page; each page is the List object, or the Table."""
        following = ""
        while True:
            page = self.get(target, accept=accept, list_=True, limit=limit, **params, **{"continue": following})
            yield page
            following = page["metadata"].get("continue") or ""
            if not following:
                return

    def post(self, target: Target, body: object, *, again: bool = False, **params: object) -> Json:
        """Create; ``again`` when a second request does no harm should the first one's answer get lost."""
        return self._exchange("POST", target, body, params=params, again=again)

    def put(self, target: Target, body: object, **params: object) -> Json:
        """Replace an object as a whole; raises Changed when it is no longer of the version in ``body``."""
        return self._exchange("PUT", target, body, params=params)

    def patch(self, target: Target, body: object, **params: object) -> Json:
        """A merge patch."""
        return self._exchange("PATCH", target, body, params=params, content_type=MERGE_PATCH)

    def delete(self, target: Target, *, uid: str, version: str | None = None) -> None:
        """Delete exactly this object; with ``version`` only as it was then. Raises Changed, NotFound."""
        only = {"uid": uid} | ({"resourceVersion": version} if version else {})
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": only, "propagationPolicy": "Background"}
        self._exchange("DELETE", target, body)

    def watch(self, target: Target, *, silence_seconds: float, **params: object) -> Iterator[Json]:
        """Open a stream of events, which ends when the server says so; StoreUnavailable after too much silence."""
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=silence_seconds)
        return _events(self._send("GET", target, None, {"watch": "true", **params}, "watch", {"Accept": JSON}, timeout))

    def _exchange(
        self, method: str, target: Target, body: object = None, *, params: Mapping[str, object] | None = None,
        verb: str = "", accept: str = JSON, content_type: str = JSON, again: bool = False,
    ) -> Json:  # fmt: skip
        verb = verb or VERBS[method]
        headers = {"Accept": accept, **({"Content-Type": content_type} if body is not None else {})}
        data = None if body is None else orjson.dumps(body)
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
        began = time.perf_counter()
        answer = self._send(method, target, data, params or {}, verb, headers, timeout, again=again, began=began)
        return _object(answer.data)

    def _send(
        self, method: str, target: Target, data: bytes | None, params: Mapping[str, object], verb: str,
        headers: Mapping[str, str], timeout: urllib3.Timeout, *, again: bool = False, began: float | None = None,
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        query = urlencode({name: value for name, value in params.items() if value not in ("", None)})
        url = f"{self._configuration.host}{target.path}" + (f"?{query}" if query else "")
        headers = {**headers, "User-Agent": f"longshore/{__version__}", **self._credentials()}
        code = "away"
        try:
            # ``began`` tells an answer that is read as a whole from a stream.
            answer = self._try(method, url, data, headers, timeout, preload=began is not None, again=again)
            code = str(answer.status)
        except HTTPError as error:
            raise away(type(error).__name__) from error
        finally:
            seconds = None if began is None else time.perf_counter() - began
            self._measures.count(verb, target.resource, code, seconds)
        if answer.status >= 300:
            wanted = answer.headers.get("Retry-After", "")
            raise refusal(answer.status, _object(answer.data), verb=verb, resource=target.resource,
                          namespace=target.namespace, retry_after=whole(wanted))  # fmt: skip
        return answer

    def _try(
        self, method: str, url: str, data: bytes | None, headers: Mapping[str, str], timeout: urllib3.Timeout, *,
        preload: bool, again: bool,
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        for last in (not again, True):
            try:
                return self._pool.request(
                    method, url, body=data, headers=headers, timeout=timeout, retries=False, preload_content=preload
                )
            except ProtocolError:  # a kept connection whose other end has been restarted meanwhile
                if last:
                    raise
        raise AssertionError("unreachable")

    def _credentials(self) -> dict[str, str]:
        # Asked every time: the hook behind it reads a service account's token again when it has been rotated.
        found = self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return {"Authorization": found} if found else {}


def _events(answer: urllib3.BaseHTTPResponse) -> Iterator[Json]:
    try:
        rest = b""
        for chunk in answer.stream(decode_content=True):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from map(_parsed, lines)
    except HTTPError as error:
        raise away(type(error).__name__) from error
    finally:
        answer.close()


def _object(data: bytes) -> Json:
    try:
        found: Status = _parsed(data)
    except orjson.JSONDecodeError:
        return {}
    return dict(found) if isinstance(found, dict) else {}


def _parsed(data: bytes) -> Json:
    """Whatever somebody has put into one resource: the others of a list or a watch can be read."""
    try:
        found: Json = orjson.loads(data)
    except orjson.JSONDecodeError:
        found = orjson.loads(cut(data, SHOWN_DEPTH))
    return found
