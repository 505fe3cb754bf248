"""Tells receivers of the ends of jobs, after the record; what came of it becomes a condition of the job.

The record is the outbox: a sweep over ended jobs brings what a former leader has left. So a job that is removed
before its delivery succeeded (a short time to live) takes the delivery with it when the leader changes.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import aiohttp
from yarl import URL

from longshore.job import webhook
from longshore.job.spec import rfc3339_at
from longshore.job.status import TERMINAL
from longshore.job.webhook import Delivered, Refused
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.job import Json
from longshore_operator.kube.client import JSON_PATCH, KubeClient, path_of
from longshore_operator.tasks import spawn

CONDITION = "WebhookDelivered"
MAX_PENDING = 5000  # more wait for the next sweep: their bodies take 20 KB each at most
AGENT = "longshore-operator"
COPIED = ("phase", "reason", "message", "attempts", "finishedAt", "result")


@dataclass(frozen=True, slots=True)
class _Hook:
    """One end that has to be told."""

    namespace: str
    name: str
    uid: str
    phase: str
    redrives: int
    url: str
    secret: str
    body: bytes

    @property
    def message(self) -> str:
        return webhook.message_id(self.uid, self.redrives)


class Webhooks:
    """Of the leader. ``secrets_dir`` has a folder for each namespace, and in it a file for each ``secretRef``."""

    def __init__(self, client: KubeClient, *, secrets_dir: Path | None, allow_local: bool,
                 log: Callable[..., None]) -> None:  # fmt: skip
        self._client, self._secrets_dir, self._allow_local, self._log = client, secrets_dir, allow_local, log
        self._pending: set[str] = set()
        self._places = asyncio.Semaphore(webhook.MAX_IN_FLIGHT)
        self._receivers: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def __len__(self) -> int:
        """How many are not settled."""
        return len(self._pending)

    def ended(self, job: Json) -> None:
        """A Job resource with its end; nothing happens when nobody asked, or when it has been told."""
        hook = _hook(job)
        if hook is None or hook.message in self._pending or len(self._pending) >= MAX_PENDING:
            return
        self._pending.add(hook.message)
        spawn(self._tell(hook))

    async def _tell(self, hook: _Hook) -> None:
        host, attempts = webhook.receiver_of(hook.url), 0
        receiver = self._receivers.setdefault(host, asyncio.Semaphore(webhook.MAX_PER_RECEIVER))
        while True:
            async with receiver, self._places:
                result, detail = await self._try(hook)
            attempts += 1
            pause = webhook.next_attempt(attempts, 0.0, random.random) if result is Delivered.FAILED else None
            if pause is None:
                break
            await asyncio.sleep(pause)
        if result is not Delivered.DELIVERED:
            self._log("webhook_given_up", level="warning", job=hook.name, namespace=hook.namespace, detail=detail)
        await self._settle(hook, result, detail)
        self._pending.discard(hook.message)

    async def _try(self, hook: _Hook) -> tuple[Delivered, str]:
        try:
            async with asyncio.timeout(webhook.TIMEOUT_SECONDS):
                status = await self._post(hook)
        except Refused as error:
            return Delivered.REFUSED, str(error)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Delivered.FAILED, f"{type(error).__name__}: {error}"
        return webhook.outcome(status), f"HTTP {status}"

    async def _post(self, hook: _Hook) -> int:
        """Connects to the very address that was checked, and follows no redirect."""
        url = URL(hook.url).with_user(None)
        host, port = url.host or "", url.port or 80
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
        for address in addresses:  # all that the name stands for, so that none can be slipped in
            webhook.check_address(address, allow_local=self._allow_local)
        headers = webhook.headers(hook.message, int(time.time()), hook.body, self._keys(hook), AGENT)
        headers["Host"] = url.host_port_subcomponent or host
        connector = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
            session.post(
                url.with_host(addresses[0]), data=hook.body, headers=headers, allow_redirects=False,
                server_hostname=host if url.scheme == "https" else None,
            ) as answer,
        ):  # fmt: skip
            return answer.status

    def _keys(self, hook: _Hook) -> list[bytes]:
        if not hook.secret:
            return []
        if self._secrets_dir is None:
            raise Refused("the job names a secret, but secrets_dir is not set")
        try:
            text = (self._secrets_dir / hook.namespace / hook.secret).read_text()
        except (OSError, ValueError) as error:
            raise Refused(f"secret {hook.secret} cannot be read: {type(error).__name__}") from error
        return webhook.signing_keys(hook.secret, text)

    async def _settle(self, hook: _Hook, result: Delivered, detail: str) -> None:
        """Write the condition, unless the job is gone or sent round again."""
        reason = {Delivered.DELIVERED: "Delivered", Delivered.REFUSED: "Refused"}.get(result, "GivenUp")
        condition = {
            "type": CONDITION, "status": "True" if result is Delivered.DELIVERED else "False", "reason": reason,
            "message": detail[:1024], "lastTransitionTime": rfc3339_at(time.time()),
        }  # fmt: skip
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": hook.uid},
            {"op": "test", "path": "/status/phase", "value": hook.phase},
            {"op": "test", "path": "/status/redrives", "value": hook.redrives},
            {"op": "add", "path": "/status/conditions/-", "value": condition},
        ]
        path = path_of("jobs", hook.namespace, hook.name, "status")
        while True:
            try:
                await self._client.request("PATCH", path, patch, kind="webhook", content_type=JSON_PATCH)
                return
            except KubeUnavailable as error:
                await asyncio.sleep(max(1.0, error.retry_after))
            except KubeError as error:
                self._log("condition_refused", level="info", job=hook.name, detail=error.message)
                return


def _hook(job: Json) -> _Hook | None:
    spec, status, meta = job["spec"].get("webhook"), job.get("status") or {}, job["metadata"]
    if spec is None or status.get("phase") not in (spec.get("on") or TERMINAL):
        return None
    if any(condition["type"] == CONDITION for condition in status.get("conditions") or ()):
        return None
    about = {"id": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"], "labels": meta.get("labels") or {}}
    data = about | {"reason": "", "message": "", "result": None} | {k: status[k] for k in COPIED if k in status}
    if "resultRef" in status:  # it is no part of the resource: whoever wants it asks the api
        data["resultOmitted"] = True
    body = webhook.body(status["phase"], status.get("finishedAt") or rfc3339_at(time.time()), data)
    return _Hook(meta["namespace"], meta["name"], meta["uid"], status["phase"], int(status.get("redrives", 0)),
                 spec["url"], spec.get("secretRef") or "", body)  # fmt: skip
