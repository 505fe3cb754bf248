"""Tells receivers of the ends of jobs, after the record; what came of it becomes a condition of the job.

A delivery that fails says so at once, in the log and in the condition, and is tried again for three days.

The record is the outbox: a sweep over ended jobs brings what a former leader has left. So a job that is removed
before its delivery succeeded (a short time to live) takes the delivery with it when the leader changes.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakValueDictionary

import aiohttp
from yarl import URL

from longshore.addresses import is_own
from longshore.job import webhook
from longshore.job.receiver import Refused, check_address, receiver
from longshore.job.spec import rfc3339_at
from longshore.job.status import TERMINAL
from longshore.job.webhook import Delivered
from longshore_operator.contain import named, one_object
from longshore_operator.errors import KubeError, KubeUnavailable
from longshore_operator.job import Json
from longshore_operator.kube.client import JSON_PATCH, KubeClient, path_of
from longshore_operator.tasks import spawn

CONDITION = "WebhookDelivered"
RETRYING, GIVEN_UP = "Retrying", "GivenUp"  # reasons of the condition, beside those of a settled try
REASONS = {Delivered.DELIVERED: "Delivered", Delivered.REFUSED: "Refused"}
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
    told: str = ""
    """Reason of the condition that the job has already."""
    place: int | None = None
    """Where in the list of conditions that stands."""
    detail: str = ""
    """Message of that condition."""

    @property
    def message(self) -> str:
        return webhook.message_id(self.uid, self.redrives)


class Webhooks:
    """Of the leader. ``secrets_dir`` has a folder for each namespace, and in it a file for each ``secretRef``."""

    def __init__(self, client: KubeClient, *, secrets_dir: Path | None, allow_local: bool,
                 ours: Callable[[str], bool], log: Callable[..., None]) -> None:  # fmt: skip
        """``ours``: whether a namespace is this operator's; of another's nothing is sent."""
        self._client, self._secrets_dir, self._allow_local, self._log = client, secrets_dir, allow_local, log
        self._ours = ours
        self._pending: set[str] = set()
        self._places = asyncio.Semaphore(webhook.MAX_IN_FLIGHT)
        self._receivers: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._pauses: dict[str, asyncio.Event] = {}
        """Deliveries that wait for their next try, by message; each is set to try at once."""

    def __len__(self) -> int:
        """How many are not settled."""
        return len(self._pending)

    def ended(self, job: Json) -> None:
        """A Job resource with its end; nothing happens when nobody asked, or when it has been told."""
        hook = None
        with one_object("webhook", *named(job)):
            hook = _hook(job)
        if hook is None or hook.message in self._pending or len(self._pending) >= MAX_PENDING:
            return
        self._pending.add(hook.message)
        spawn(self._tell(hook))

    async def retry(self, namespace: str, name: str) -> bool:
        """Try the delivery about a job again now, also one that was given up; False when there is none.

        Raises KubeError and KubeUnavailable. That it is tried again is on record first, so that the next leader goes on.
        """
        if not self._ours(namespace):
            return False
        try:
            job = await self._client.request("GET", path_of("jobs", namespace, name))
        except KubeError as error:
            if error.status in (403, 404):  # a namespace that this operator does not have, or no such job
                return False
            raise
        hook = _hook(job, settled_too=True)
        if hook is None:
            return False
        if (pause := self._pauses.get(hook.message)) is not None:
            pause.set()
        elif hook.message not in self._pending:
            self._pending.add(hook.message)
            hook = await self._reopened(hook)
            spawn(self._tell(hook))
        return True

    async def _reopened(self, hook: _Hook) -> _Hook:
        try:
            return await self._settle(hook, RETRYING, hook.detail) if hook.told else hook
        except BaseException:
            self._pending.discard(hook.message)
            raise

    async def _tell(self, hook: _Hook) -> None:
        """Whatever happens here is this one delivery's own trouble; the next sweep finds the job again."""
        try:
            with one_object("webhook", hook.namespace, hook.name):
                await self._until_settled(hook)
        finally:
            self._pending.discard(hook.message)

    async def _until_settled(self, hook: _Hook) -> None:
        host, attempts = webhook.receiver_of(hook.url), 0
        receivers = self._receivers.setdefault(host, asyncio.Semaphore(webhook.MAX_PER_RECEIVER))
        while True:
            async with receivers, self._places:
                result, detail, asked = await self._try(hook)
            attempts += 1
            failed = result is Delivered.FAILED
            pause = webhook.next_attempt(attempts, 0.0, random.random, asked=asked) if failed else None
            if pause is None:
                break
            if attempts == 1:
                self._log("webhook_failed", level="warning", job=hook.name, namespace=hook.namespace, detail=detail)
                hook = await self._settle(hook, RETRYING, detail)
            await self._pause(hook, pause)
        if result is not Delivered.DELIVERED:
            self._log("webhook_given_up", level="warning", job=hook.name, namespace=hook.namespace, detail=detail)
        await self._settle(hook, REASONS.get(result, GIVEN_UP), detail)

    async def _pause(self, hook: _Hook, seconds: float) -> None:
        """Until the next try: so many seconds, or less when somebody asks for it."""
        now = self._pauses[hook.message] = asyncio.Event()
        try:
            await asyncio.wait_for(now.wait(), seconds)
        except TimeoutError:
            pass  # nobody asked
        finally:
            del self._pauses[hook.message]

    async def _try(self, hook: _Hook) -> tuple[Delivered, str, float]:
        """What came of it, in words too, and for how many seconds the receiver asked to be left alone."""
        try:
            async with asyncio.timeout(webhook.TIMEOUT_SECONDS):
                status, asked = await self._post(hook)
        except Refused as error:
            return Delivered.REFUSED, str(error), 0.0
        except Exception as error:  # a receiver is a stranger; what it makes a library raise is in no list
            return Delivered.FAILED, f"{type(error).__name__}: {error}", 0.0
        return webhook.outcome(status), f"HTTP {status}", asked

    async def _post(self, hook: _Hook) -> tuple[int, float]:
        """Connects to the very address that was checked, and follows no redirect; of the answer only the headers are read."""
        try:
            to = receiver(hook.url)
        except ValueError as error:  # the API server took it under an older definition
            raise Refused(f"the url {error}") from None
        keys = self._keys(hook)
        found = await asyncio.get_running_loop().getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
        for address in addresses:  # all that the name stands for, so that none can be slipped in
            check_address(address, allow_local=self._allow_local, own=is_own)
        headers = webhook.headers(hook.message, int(time.time()), hook.body, keys, AGENT)
        host = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        connector = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
            session.post(
                URL(f"{to.scheme}://{host}:{to.port}{to.target}", encoded=True), data=hook.body,
                headers=headers | {"Host": to.origin}, allow_redirects=False,
                server_hostname=to.host if to.scheme == "https" else None,
            ) as answer,
        ):  # fmt: skip
            return answer.status, webhook.retry_after(answer.headers.get("Retry-After", ""), time.time())

    def _keys(self, hook: _Hook) -> list[bytes]:
        if not hook.secret:
            return []
        if self._secrets_dir is None:
            raise Refused("the job names a secret, but secrets_dir is not set")
        try:
            with (self._secrets_dir / hook.namespace / hook.secret).open(encoding="utf-8") as file:
                text = file.read(webhook.MAX_SECRET_BYTES)
        except (OSError, ValueError) as error:
            raise Refused(f"secret {hook.secret} cannot be read: {type(error).__name__}") from error
        return webhook.signing_keys(hook.secret, text)

    async def _settle(self, hook: _Hook, reason: str, detail: str) -> _Hook:
        """Write the condition, unless the job is gone or sent round again; the hook as it stands then."""
        if hook.told == reason == RETRYING:
            return hook
        condition = {
            "type": CONDITION, "status": "True" if reason == REASONS[Delivered.DELIVERED] else "False", "reason": reason,
            "message": detail[:1024], "lastTransitionTime": rfc3339_at(time.time()),
        }  # fmt: skip
        patch: list[Json] = [
            {"op": "test", "path": "/metadata/uid", "value": hook.uid},
            {"op": "test", "path": "/status/phase", "value": hook.phase},
            {"op": "test", "path": "/status/redrives", "value": hook.redrives},
        ]
        if hook.place is not None:
            at = f"/status/conditions/{hook.place}"
            patch += [
                {"op": "test", "path": f"{at}/type", "value": CONDITION},
                {"op": "replace", "path": at, "value": condition},
            ]
        else:
            patch.append({"op": "add", "path": "/status/conditions/-", "value": condition})
        path = path_of("jobs", hook.namespace, hook.name, "status")
        while True:
            try:
                found = await self._client.request("PATCH", path, patch, kind="webhook", content_type=JSON_PATCH)
                return replace(hook, told=reason, place=_place(found))
            except KubeUnavailable as error:
                await asyncio.sleep(max(1.0, error.retry_after))
            except KubeError as error:
                self._log("condition_refused", level="info", job=hook.name, detail=error.message)
                return hook


def _place(job: Json) -> int | None:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((place for place, condition in enumerate(conditions) if condition["type"] == CONDITION), None)


def _hook(job: Json, *, settled_too: bool = False) -> _Hook | None:
    """What has to be told of the end of a job, or None; ``settled_too``: also what was refused or given up."""
    spec, status, meta = job["spec"].get("webhook"), job.get("status") or {}, job["metadata"]
    if spec is None or status.get("phase") not in (spec.get("on") or TERMINAL):
        return None
    place = _place(job)
    condition = status["conditions"][place] if place is not None else {}
    told = str(condition.get("reason", ""))
    if condition.get("status") == "True" or (told not in ("", RETRYING) and not settled_too):
        return None
    about = {"id": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"], "labels": meta.get("labels") or {}}
    data = about | {"reason": "", "message": "", "result": None} | {k: status[k] for k in COPIED if k in status}
    if "resultRef" in status:  # it is no part of the resource: whoever wants it asks the api
        data["resultOmitted"] = True
    body = webhook.body(status["phase"], status.get("finishedAt") or rfc3339_at(time.time()), data)
    return _Hook(meta["namespace"], meta["name"], meta["uid"], status["phase"], int(status.get("redrives", 0)),
                 str(spec["url"]), spec.get("secretRef") or "", body, told, place,
                 str(condition.get("message", "")))  # fmt: skip
