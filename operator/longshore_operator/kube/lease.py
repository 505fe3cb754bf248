"""Who leads: a ``coordination.k8s.io/v1`` Lease, held by one operator at a time.

The rules are client-go's: a challenger takes over when it has seen no change for the lease's duration on *its own* monotonic clock,
so clocks that differ do no harm; every write carries the resourceVersion, so of two only one succeeds. Leading ends ``renew_seconds``
after the last renewal was *sent*, before anybody else may begin. Nothing relies on it alone: records carry uid and attempt number.
"""

import asyncio
import logging
import math
import os
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from longshore.job.spec import rfc3339
from longshore_operator.errors import ConfigError, KubeError, KubeUnavailable
from longshore_operator.kube.client import Json, KubeClient, path_of

API: Final = "/apis/coordination.k8s.io/v1"
REQUEST_SECONDS = 5.0  # a renewal that takes longer is tried again; the version in it keeps the late one harmless
VERBS: Final = {"GET": "get", "POST": "create", "PUT": "update"}

log = logging.getLogger("longshore.operator.lease")


def identity_of(pod: str, address: str) -> str:
    """Who holds the lease and where its HTTP port is; ``address`` is ``ip:port``, ``[ip]:port`` for IPv6.

    The api takes it apart at the first underscore; no pod's name has one.
    """
    return f"{pod}_{address}"


class Elector:
    """One candidate. Give it a client of its own: a renewal must not queue behind other requests."""

    def __init__(
        self, client: KubeClient, namespace: str, name: str, identity: str, *, lease_seconds: float = 15,
        renew_seconds: float = 10, retry_seconds: float = 2, clock: Callable[[], float] = time.monotonic,
        end: Callable[[], None] = lambda: os._exit(1),
    ) -> None:  # fmt: skip
        """``end`` ends the process when the event loop is too busy to notice that leading is over."""
        if not 0 < retry_seconds < renew_seconds < lease_seconds or not identity:
            raise ConfigError("a lease needs an identity and retry < renew < lease seconds")
        self.identity, self.epoch = identity, 0
        self._client, self._namespace, self._name = client, namespace, name
        self._path = path_of("leases", namespace, name, api=API)
        self._lease_seconds, self._renew, self._retry = lease_seconds, renew_seconds, retry_seconds
        self._clock, self._end = clock, end
        self._lease: Json = {}
        self._allowed: set[str] = set()
        """Methods that were once not refused."""
        self._seen_at = self._renewed_at = 0.0
        self._held = False
        self._writing = asyncio.Lock()
        self._watchdog: _Watchdog | None = None

    @property
    def leading(self) -> bool:
        """Whether this process may act as the leader at this moment."""
        return self._held and self._left() > 0

    def holder(self) -> str:
        """The identity of the leader as last seen; empty when there is none, or it has not renewed in time."""
        spec = self._lease.get("spec") or {}
        limit = self._seen_at + float(spec.get("leaseDurationSeconds") or self._lease_seconds)
        return str(spec.get("holderIdentity") or "") if self._clock() < limit else ""

    async def acquire(self) -> None:
        """Return when leading; call ``hold`` next. ConfigError when a right is missing."""
        while not await self._take():
            await asyncio.sleep(self._pause())
        self._watchdog = _Watchdog(self._overdue, self._stop_process, self._retry / 2)
        self._watchdog.start()
        log.info("leading", extra={"action": "lease_taken", "identity": self.identity, "epoch": self.epoch})

    async def hold(self, lost: Callable[[], None]) -> None:
        """Renew until ``release``; ``lost`` is called once when the renewal came too late or somebody else leads."""
        while self._held:
            await asyncio.sleep(max(0.0, min(self._pause(), self._left())))
            async with self._writing:
                if self._held and not await self._renewed():
                    self._let_go()
                    log.error("no longer leading", extra={"action": "lease_lost", "holder": self.holder()})
                    lost()

    async def release(self) -> None:
        """Hand over; when the API server cannot be asked the lease simply runs out."""
        async with self._writing:
            if not self._held:
                return
            self._let_go()
            try:
                await self._write("")
            except (KubeError, KubeUnavailable) as error:
                log.warning("the lease could not be released: %s", error, extra={"action": "lease_release_failed"})

    async def _take(self) -> bool:
        try:
            await self._look()
            if self.holder() not in ("", self.identity):
                return False
            self._renewed_at = await self._write(self.identity, taking=True)
        except KubeUnavailable as error:
            log.warning("the lease cannot be reached: %s", error, extra={"action": "lease_unreachable"})
            return False
        except KubeError as error:
            if error.status == 409:  # somebody was faster
                return False
            raise
        self._held, self.epoch = True, int(self._lease["spec"]["leaseTransitions"])
        return True

    async def _renewed(self) -> bool:
        """Whether this process leads on; False when its time is over or another one leads."""
        try:
            async with asyncio.timeout(max(0.0, self._left())):
                await self._renew_or_look()
        except (KubeUnavailable, ConfigError, KubeError, TimeoutError) as error:
            log.warning("the lease was not renewed: %s", error, extra={"action": "lease_not_renewed"})
        # The epoch too: the same identity with another epoch is another process, started in our place.
        spec = self._lease.get("spec")
        ours = spec is None or (spec.get("holderIdentity"), spec.get("leaseTransitions")) == (self.identity, self.epoch)
        return ours and self._left() > 0

    async def _renew_or_look(self) -> None:
        try:
            self._renewed_at = await self._write(self.identity)
        except KubeError as error:
            if error.status not in (404, 409):
                raise
            # Somebody labelled, took or deleted it, or our last write arrived and its answer did not. What is read
            # here decides; if it is still ours the next try is with the new version.
            await self._look()

    async def _look(self) -> None:
        try:
            self._observe(await self._ask("GET", self._path))
        except KubeError as error:
            if error.status != 404:
                raise
            self._lease = {}

    async def _write(self, holder: str, *, taking: bool = False) -> float:
        """Create or update the lease; returns when that was sent."""
        sent, now = self._clock(), rfc3339(datetime.now(UTC))
        before = self._lease.get("spec") or {}
        epoch = int(before.get("leaseTransitions") or 0) + 1 if taking else self.epoch
        spec = before | {
            "holderIdentity": holder, "renewTime": now, "leaseTransitions": epoch,
            "acquireTime": now if taking else before.get("acquireTime", now),
            "leaseDurationSeconds": math.ceil(self._lease_seconds) if holder else 1,
        }  # fmt: skip
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._name}}
        if self._lease:
            self._observe(await self._ask("PUT", self._path, body | self._lease | {"spec": spec}))
        else:
            path = path_of("leases", self._namespace, api=API)
            self._observe(await self._ask("POST", path, body | {"spec": spec}))
        return sent

    def _observe(self, lease: Json) -> None:
        """Only a change of what the holder writes counts as a sign of life, not somebody's label."""
        if lease.get("spec") != self._lease.get("spec"):
            self._seen_at = self._clock()
        self._lease = lease

    async def _ask(self, method: str, path: str, body: object = None) -> Json:
        try:
            async with asyncio.timeout(min(REQUEST_SECONDS, self._renew / 2)):
                answer = await self._client.request(method, path, body, kind="lease")
        except TimeoutError as error:
            raise KubeUnavailable(f"{method} {path}: no answer in time") from error
        except KubeError as error:
            if error.status == 403 and method in self._allowed:
                # An API server that has just started refuses everybody until it has read the roles.
                raise KubeUnavailable(f"{method} {path}: refused, which it was not before: {error.message}") from error
            if error.status == 403:
                raise ConfigError(
                    f"the operator's Role in {self._namespace} lacks the verb {VERBS[method]!r} on"
                    f" leases.coordination.k8s.io: {error.message}"
                ) from error
            raise
        self._allowed.add(method)
        return answer

    def _pause(self) -> float:
        return self._retry * random.uniform(0.8, 1.2)  # so that candidates started together do not stay together

    def _left(self) -> float:
        return self._renewed_at + self._renew - self._clock()

    def _let_go(self) -> None:
        self._held = False
        if self._watchdog is not None:
            self._watchdog.stop()

    def _overdue(self) -> bool:
        # Half of what is left of the lease, so that an event loop that runs comes first, and both before another leader.
        return self._held and self._left() < -(self._lease_seconds - self._renew) / 2

    def _stop_process(self) -> None:
        os.write(2, b"longshore-operator: the event loop was blocked until the lease ran out; ending the process\n")
        self._end()


class _Watchdog(threading.Thread):
    """Looks from outside the event loop, which cannot see that it stands still."""

    def __init__(self, overdue: Callable[[], bool], end: Callable[[], None], every_seconds: float) -> None:
        super().__init__(name="lease-watchdog", daemon=True)
        self._overdue, self._end, self._every = overdue, end, every_seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        """Until stopped."""
        while not self._stopped.wait(self._every):
            if self._overdue():
                self._end()
                return

    def stop(self) -> None:
        """It ends soon; it is not waited for."""
        self._stopped.set()
